//! Agents that find each other by gossip, lose each other, and keep strangers out.

use std::fs;
use std::net::Ipv4Addr;
use std::process::{Command, Output};

use real::agent::{Agent, Binary, PATIENCE};
use real::http::get;
use real::pool::until;
use serde_json::Value;

const KEY: &str = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=";
const OTHER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// An agent with the quick gossip of `-dev`.
fn start(node: &str, more: &[&str]) -> Agent {
    let node = format!("-node={node}");
    let mut agent = Agent::start(Binary::Lictor, &[&["-dev", &node], more].concat());
    agent.wait_for_line("agent running!");
    agent
}

/// Three agents of one pool: the second joins by `-retry-join`, the third by command.
fn three(more: &[&str]) -> [Agent; 3] {
    let mut one = start("one", more);
    let seed = format!("-retry-join={}", one.address);
    let mut two = start("two", &[&[seed.as_str()], more].concat());
    two.wait_for_line("Join cluster completed. Synced with initial agents: cluster=LAN num_agents=1");
    let mut three = start("three", more);
    let joined = lictor(three.address, &["join", &two.address.to_string()]);
    assert_eq!(text(&joined), "Successfully joined cluster by contacting 1 nodes.\n");
    one.wait_for_line("EventMemberJoin: three");
    two.wait_for_line("EventMemberJoin: three");
    three.wait_for_line("EventMemberJoin: one");
    [one, two, three]
}

fn lictor(address: Ipv4Addr, words: &[&str]) -> Output {
    let mut command = Command::new(Binary::Lictor.path());
    command.args(words).env("CONSUL_HTTP_ADDR", format!("{address}:8500"));
    command.output().expect("the binary can be started")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Name and status of every member, as `members` prints them.
fn members(address: Ipv4Addr) -> Vec<String> {
    let printed = text(&lictor(address, &["members"]));
    let columns = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!("{} {}", words[0], words[2])
    };
    printed.lines().skip(1).map(columns).collect()
}

fn refused(address: Ipv4Addr, reason: &str) -> u64 {
    let metrics = get(address, "/v1/agent/metrics");
    let gauges = metrics["Gauges"].as_array().expect("a list").iter();
    let mut ours =
        gauges.filter(|gauge| gauge["Name"].as_str().is_some_and(|name| name.contains("memberlist.refused")));
    let found = ours.find(|gauge| gauge["Labels"]["reason"] == reason).expect("the gauge is there");
    found["Value"].as_f64().expect("a number") as u64
}

#[test]
fn a_killed_agent_fails_and_one_that_leaves_has_left() {
    let [mut one, two, three] = three(&[]);
    assert_eq!(members(one.address), ["one alive", "three alive", "two alive"]);

    three.kill();
    one.wait_for_line("EventMemberFailed: three");
    assert_eq!(members(one.address), ["one alive", "three failed", "two alive"]);

    assert_eq!(text(&lictor(two.address, &["leave"])), "Graceful leave complete\n");
    assert_eq!(two.wait().0, 0, "leaving is a success");
    one.wait_for_line("EventMemberLeave: two");
    assert_eq!(members(one.address), ["one alive", "three failed", "two left"]);

    assert!(lictor(one.address, &["force-leave", "-prune", "three"]).status.success());
    one.wait_for_line("EventMemberReap: three");
    assert_eq!(members(one.address), ["one alive", "two left"]);
}

#[test]
fn an_event_reaches_every_agent() {
    let agents = three(&[]);
    let fired = lictor(agents[1].address, &["event", "-name=deploy", "1.2.3"]);
    assert!(text(&fired).starts_with("Event ID: "), "{fired:?}");
    for agent in &agents {
        // Nothing was heard before, and that has index 1.
        let heard = get(agent.address, "/v1/event/list?name=deploy&index=1&wait=30s");
        assert_eq!((&heard[0]["Name"], &heard[0]["Payload"]), (&"deploy".into(), &"MS4yLjM=".into()));
    }
    let elsewhere = lictor(agents[0].address, &["event", "-name=other", "-node=^thr"]);
    assert!(elsewhere.status.success());
    let heard = get(agents[2].address, "/v1/event/list?name=other&index=1&wait=30s");
    assert_eq!(heard[0]["NodeFilter"], "^thr");
    assert_eq!(get(agents[0].address, "/v1/event/list?name=other"), Value::Array(Vec::new()));
}

#[test]
fn a_key_is_rotated_in_every_agent() {
    let agents = three(&["-encrypt", KEY]);
    for (action, key) in [("-install", OTHER_KEY), ("-use", OTHER_KEY), ("-remove", KEY)] {
        let changed = lictor(agents[0].address, &["keyring", action, key]);
        assert!(changed.status.success(), "{action}: {changed:?}");
    }
    let listed = text(&lictor(agents[2].address, &["keyring", "-list"]));
    assert_eq!(listed, format!("==> Gathering installed encryption keys...\n\ndc1 (LAN):\n  {OTHER_KEY} [3/3]\n"));
}

#[test]
fn a_stranger_with_another_key_is_refused_and_counted() {
    let [mut one, _two, _three] = three(&["-encrypt", KEY]);
    let stranger = start("stranger", &["-encrypt", OTHER_KEY]);
    let joined = lictor(stranger.address, &["join", &one.address.to_string()]);
    assert!(!joined.status.success());
    one.wait_for_line("packets that no key opens are refused");
    assert!(refused(one.address, "key") > 0);
    assert_eq!(members(one.address), ["one alive", "three alive", "two alive"]);
    assert_eq!(members(stranger.address), ["stranger alive"]);
}

#[test]
fn a_stranger_with_our_name_or_of_another_data_centre_is_refused_and_counted() {
    let mut one = start("one", &[]);
    for (node, more, reason, said) in [
        ("one", [].as_slice(), "name", "two members claim one name"),
        ("two", &["-datacenter=dc2"], "pool", "packets of another pool are refused"),
    ] {
        let stranger = start(node, more);
        for _ in 0..3 {
            assert!(!lictor(stranger.address, &["join", &one.address.to_string()]).status.success());
        }
        one.wait_for_line(said);
        assert_eq!(refused(one.address, reason), 3);
    }
    assert_eq!(members(one.address), ["one alive"]);
    one.signal(rustix::process::Signal::INT);
    let (_, said) = one.wait();
    assert_eq!((said.matches("two members claim").count(), said.matches("packets of another pool").count()), (1, 1));
}

#[test]
fn peers_and_keys_are_known_after_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = format!("-data-dir={}", folder.path().display());
    let durable = ["-server", "-bootstrap", "-node=one", &data_dir, "-encrypt", KEY];
    let mut two = start("two", &["-encrypt", KEY]);
    let mut one = Agent::start(Binary::Lictor, &durable);
    one.wait_for_line("agent running!");
    assert!(lictor(one.address, &["join", &two.address.to_string()]).status.success());
    two.wait_for_line("EventMemberJoin: one");
    // Peers are gathered for half a second before they are written, and an agent that ends waits only so long for that.
    let kept = folder.path().join("serf/local.snapshot");
    until(PATIENCE, "peer on disk", || fs::read_to_string(&kept).ok().filter(|peers| peers.contains("two")));
    let address = one.address;
    one.signal(rustix::process::Signal::INT);
    one.wait();

    let mut one = Agent::start_at(address, Binary::Lictor, &durable[..4]);
    one.wait_for_line("Re-joined to previously known nodes");
    assert_eq!(members(one.address), ["one alive", "two alive"]);
}

#[test]
fn an_agent_that_finds_nobody_in_time_exits() {
    let nobody = real::agent::own_address().to_string();
    let more = ["-retry-join", &nobody, "-retry-interval=10ms", "-retry-max=2", "-dev"];
    let (code, said) = Agent::start(Binary::Lictor, &more).wait();
    assert!(code == 1 && said.contains("max join LAN retry exhausted, exiting"), "{code}: {said}");
}
