//! Two of three servers are lost for good: the third is recovered by one command, and new ones join it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output};

use real::agent::{Agent, Binary, PATIENCE, config_file, own_address};
use real::http::{Response, request};
use real::pool::until;
use serde_json::{Value, json};

/// A server of a cluster of three that listens on `address` and looks for the others on `seeds`.
fn server(folder: &Path, name: &str, address: Ipv4Addr, seeds: &[Ipv4Addr]) -> Agent {
    // The time to a vote is not what is tested here.
    let text = r#"performance { raft_multiplier = 1 } autopilot { server_stabilization_time = "1s" }"#;
    let quick = config_file(folder, "quick.hcl", text);
    let data_dir = format!("-data-dir={}", folder.join(name).display());
    let mut arguments = vec![format!("-node={name}"), format!("-config-file={quick}"), data_dir];
    arguments.extend(["-server", "-bootstrap-expect=3", "-retry-interval=1s"].map(str::to_owned));
    arguments.extend(seeds.iter().map(|seed| format!("-retry-join={seed}")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Agent::start_at(address, Binary::Lictor, &arguments)
}

/// Servers called `one`, `two` and `three` that agree on a leader and have the beginning of its log on their disks: who is
/// killed with an empty log was never a member, and is one of another cluster later.
fn three(folder: &Path, addresses: [Ipv4Addr; 3]) -> [Agent; 3] {
    let [one, two, three] = addresses;
    let mut servers =
        [("one", one), ("two", two), ("three", three)].map(|(name, address)| server(folder, name, address, &addresses));
    for server in &mut servers {
        server.wait_for_line("New leader elected");
    }
    wait_for_health(addresses[0], "a log on every server", |health| {
        let found: Value = serde_json::from_str(&health.text()).unwrap_or_default();
        let have_log =
            |servers: &Vec<Value>| servers.iter().filter(|server| server["LastIndex"].as_u64() > Some(0)).count();
        found["Servers"].as_array().is_some_and(|servers| have_log(servers) == addresses.len())
    });
    servers
}

fn put(address: Ipv4Addr, key: &str) {
    let answer = request(address, "PUT", &format!("/v1/kv/{key}"), key.as_bytes());
    assert_eq!((answer.status, answer.text().trim_end()), (200, "true"), "{key}");
}

/// Returns once somebody leads who is there: a write that meets a dead leader may end with an unknown outcome, a read does not.
fn wait_for_leader(address: Ipv4Addr) {
    let read = request(address, "GET", "/v1/kv/nothing?consistent", b"");
    assert_eq!(read.status, 404, "{}", read.text());
}

fn recover(folder: &Path, name: &str, more: &[&str]) -> (Output, String) {
    let mut command = Command::new(Binary::Lictor.path());
    let data_dir = format!("-data-dir={}", folder.join(name).display());
    let output = command.args(["operator", "raft", "recover", &data_dir]).args(more).output();
    let output = output.expect("the binary can be started");
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output, String::from_utf8(said).expect("text"))
}

/// How many voters a server's answer lists.
fn voters(answer: &Response) -> usize {
    let found: Value = serde_json::from_str(&answer.text()).unwrap_or_default();
    found["Servers"].as_array().map_or(0, |servers| servers.iter().filter(|server| server["Voter"] == true).count())
}

/// Asks the leader how its servers are, until its answer is as wanted.
fn wait_for_health(address: Ipv4Addr, what: &str, is_wanted: impl Fn(&Response) -> bool) {
    let mut last = String::new();
    for _ in 0..30 {
        let health = request(address, "GET", "/v1/operator/autopilot/health", b"");
        if is_wanted(&health) {
            return;
        }
        last = health.text();
        // A query that nothing answers earlier: the time between two looks.
        request(address, "GET", "/v1/kv/nothing?wait=1s&index=1000000000", b"");
    }
    panic!("no {what}: {last}");
}

/// Waits until every server has its vote and is well, and all of them know: the first of them leads, and may die then.
fn wait_until_healthy(addresses: [Ipv4Addr; 3]) {
    let all = addresses.len();
    let knows = |address| voters(&request(address, "GET", "/v1/operator/raft/configuration", b"")) == all;
    wait_for_health(addresses[0], "three healthy voters", |health| {
        health.status == 200 && voters(health) == all && addresses.into_iter().all(knows)
    });
}

#[test]
fn the_last_of_three_servers_is_recovered_and_new_ones_join_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let addresses = [own_address(), own_address(), own_address()];
    let [one, two, three] = three(folder, addresses);
    let keys: Vec<String> = (0..20).map(|number| format!("key/{number}")).collect();
    // Two are left, so what is acknowledged now is on both their disks.
    two.kill();
    wait_for_leader(addresses[0]);
    keys.iter().for_each(|key| put(addresses[0], key));

    three.kill();
    let refused = request(addresses[0], "PUT", "/v1/kv/without/quorum", b"");
    assert_eq!(refused.status, 500, "{}", refused.text());
    let is_alone = || request(addresses[0], "GET", "/v1/status/leader", b"").text().trim_end() == r#""""#;
    until(PATIENCE, "server that knows no leader", || is_alone().then_some(()));
    let about: Value = serde_json::from_str(&request(addresses[0], "GET", "/v1/agent/self", b"").text()).expect("JSON");
    assert_eq!(
        (&about["Stats"]["raft"]["state"], &about["Stats"]["consul"]["leader"]),
        (&json!("Candidate"), &json!("false"))
    );
    let (output, said) = recover(folder, "one", &["-yes"]);
    assert!(!output.status.success() && said.contains("in use by another agent"), "{said}");
    one.kill();

    let (output, said) = recover(folder, "one", &[]);
    assert!(!output.status.success() && said.contains("Nothing was changed"), "{said}");
    let (output, said) = recover(folder, "one", &["-yes"]);
    assert!(output.status.success() && said.contains("Without     three"), "{said}");

    let mut one = server(folder, "one", addresses[0], &addresses);
    one.wait_for_leadership();
    for key in &keys {
        assert_eq!(request(addresses[0], "GET", &format!("/v1/kv/{key}?raw"), b"").text(), *key);
    }
    put(addresses[0], "after");

    for name in ["two", "three"] {
        fs::remove_dir_all(folder.join(name)).expect("the folder of a dead server can be removed");
    }
    let _two = server(folder, "two", addresses[1], &addresses);
    let _three = server(folder, "three", addresses[2], &addresses);
    wait_until_healthy(addresses);
    assert_eq!(request(addresses[1], "GET", "/v1/kv/key/7?raw", b"").text(), "key/7");
    one.kill();
    wait_for_leader(addresses[1]);
    assert_eq!(request(addresses[1], "GET", "/v1/kv/after?raw&consistent", b"").text(), "after");
    put(addresses[1], "without/the/survivor");
}

#[test]
fn a_lost_server_that_comes_back_is_not_let_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let addresses = [own_address(), own_address(), own_address()];
    let [one, two, three] = three(folder, addresses);
    // Two are left, so what is acknowledged now is on both their disks.
    two.kill();
    wait_for_leader(addresses[0]);
    put(addresses[0], "before");
    [one, three].into_iter().for_each(Agent::kill);
    let (output, said) = recover(folder, "one", &["-yes"]);
    assert!(output.status.success(), "{said}");

    let mut one = server(folder, "one", addresses[0], &addresses);
    one.wait_for_leadership();
    let _two = server(folder, "two", addresses[1], &addresses);
    let mut three = server(folder, "three", addresses[2], &addresses);
    // The old servers are a quorum of the old cluster, and stay among themselves.
    three.wait_for_line("New leader elected");
    one.wait_for_line("EventMemberJoin: three");

    put(addresses[0], "whose");
    let peers: Value =
        serde_json::from_str(&request(addresses[0], "GET", "/v1/status/peers", b"").text()).expect("JSON");
    assert_eq!(peers.as_array().map(Vec::len), Some(1));
    assert_eq!(request(addresses[2], "GET", "/v1/kv/whose", b"").status, 404);
}
