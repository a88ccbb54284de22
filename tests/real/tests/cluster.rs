//! Three servers that form a cluster, lose their leader, take it back, and let one leave.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use real::agent::{Agent, Binary, PATIENCE, config_file, own_address};
use real::http::{Connection, get, request};
use real::pool::until;
use serde_json::Value;
use tempfile::TempDir;

/// A server of a cluster of three that listens on `address` and looks for the others on `seeds`.
fn server(folder: &Path, name: &str, address: Ipv4Addr, seeds: &[Ipv4Addr]) -> Agent {
    let quick = config_file(folder, "quick.hcl", "performance { raft_multiplier = 1 }");
    let data_dir = format!("-data-dir={}", folder.join(name).display());
    let mut arguments = vec![format!("-node={name}"), format!("-config-file={quick}"), data_dir];
    arguments.extend(["-server", "-bootstrap-expect=3", "-retry-interval=1s"].map(str::to_owned));
    arguments.extend(seeds.iter().map(|seed| format!("-retry-join={seed}")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Agent::start_at(address, Binary::Lictor, &arguments)
}

/// Three servers that each have seen a leader.
fn three(folder: &Path) -> Vec<Agent> {
    let addresses = [own_address(), own_address(), own_address()];
    let names = ["one", "two", "three"];
    let mut servers: Vec<Agent> =
        names.iter().zip(addresses).map(|(name, address)| server(folder, name, address, &addresses)).collect();
    for server in &mut servers {
        server.wait_for_line("New leader elected");
    }
    servers
}

fn put(address: Ipv4Addr, key: &str, value: &str) {
    let answer = request(address, "PUT", &format!("/v1/kv/{key}"), value.as_bytes());
    assert_eq!((answer.status, answer.text().trim_end()), (200, "true"), "{key}");
}

fn value(address: Ipv4Addr, key: &str) -> String {
    request(address, "GET", &format!("/v1/kv/{key}?raw"), b"").text()
}

/// Waits, by blocking queries, until the health of the servers is as wanted: `(node, status)` by name.
fn wait_for_health(address: Ipv4Addr, wanted: &[(&str, &str)]) {
    let mut connection = Connection::open(address).expect("the agent accepts connections");
    let mut index = "0".to_owned();
    loop {
        let path = format!("/v1/health/service/consul?wait=30s&index={index}");
        let answer = connection.request("GET", &path, b"").expect("the agent answers");
        let found: Value = serde_json::from_str(&answer.text()).expect("JSON");
        let mut seen: Vec<(&str, &str)> = found
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| (text(&one["Node"]["Node"]), text(&one["Checks"][0]["Status"])))
            .collect();
        seen.sort_unstable();
        if seen == wanted {
            return;
        }
        let next = answer.header("x-consul-index").expect("a read has an index").to_owned();
        assert_ne!(next, index, "nothing changes any more: {seen:?}, not {wanted:?}");
        index = next;
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn leader(address: Ipv4Addr) -> Option<Ipv4Addr> {
    let leader = get(address, "/v1/status/leader");
    text(&leader).split(':').next()?.parse().ok()
}

/// Splits the agents into the one that leads and the others, once all agree who that is.
fn split(mut servers: Vec<Agent>) -> (Agent, Vec<Agent>) {
    let leading = until(PATIENCE, "servers that agree on a leader", || {
        let leading = leader(servers[0].address)?;
        servers.iter().all(|server| leader(server.address) == Some(leading)).then_some(leading)
    });
    let place = servers.iter().position(|server| server.address == leading).expect("the leader is one of them");
    (servers.remove(place), servers)
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

const ALL_WELL: [(&str, &str); 3] = [("one", "passing"), ("three", "passing"), ("two", "passing")];

#[test]
fn three_servers_form_a_cluster_and_any_of_them_answers() {
    let folder = folder();
    let (leading, others) = split(three(folder.path()));
    wait_for_health(others[0].address, &ALL_WELL);

    put(others[0].address, "by/a/follower", "1");
    put(leading.address, "by/the/leader", "2");
    for server in others.iter().chain([&leading]) {
        assert_eq!(value(server.address, "by/a/follower"), "1");
        let consistent = request(server.address, "GET", "/v1/kv/by/the/leader?raw&consistent", b"").text();
        assert_eq!(consistent, "2");
        assert_eq!(get(server.address, "/v1/status/peers").as_array().map(Vec::len), Some(3));
    }
    let mut peers = Command::new(Binary::Lictor.path());
    peers.args(["operator", "raft", "list-peers"]).env("CONSUL_HTTP_ADDR", format!("{}:8500", others[1].address));
    // A server that has heard nobody for a second knows no leader.
    until(PATIENCE, "list of a leader and two followers", || {
        let printed = String::from_utf8(peers.output().expect("the binary can be started").stdout).expect("text");
        (printed.lines().filter(|line| line.contains("follower")).count() == 2).then_some(())
    });
}

#[test]
fn a_session_renewed_through_a_follower_is_renewed() {
    let folder = folder();
    let (leading, others) = split(three(folder.path()));
    wait_for_health(others[0].address, &ALL_WELL);
    let created: Value = serde_json::from_str(
        &request(others[0].address, "PUT", "/v1/session/create", br#"{"TTL": "10s", "Node": "one"}"#).text(),
    )
    .expect("JSON");
    let renew = format!("/v1/session/renew/{}", text(&created["ID"]));
    let renewed = request(others[1].address, "PUT", &renew, b"");
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    drop(leading);
}

#[test]
fn a_cluster_survives_its_leader_and_takes_it_back() {
    let folder = folder();
    let (leading, others) = split(three(folder.path()));
    wait_for_health(others[0].address, &ALL_WELL);
    put(others[0].address, "before", "1");
    let address = leading.address;
    let lost = text(&get(address, "/v1/agent/self")["Config"]["NodeName"]).to_owned();

    leading.kill();

    // A read is held until another server leads. A write that was on its way to the dead one would have no known outcome.
    assert_eq!(value(others[0].address, "before"), "1");
    put(others[0].address, "after", "2");
    assert_eq!(value(others[1].address, "before"), "1");
    let with_lost = |status| ALL_WELL.map(|(name, passing)| (name, if name == lost { status } else { passing }));
    wait_for_health(others[1].address, &with_lost("critical"));

    let seeds: Vec<Ipv4Addr> = others.iter().map(|other| other.address).collect();
    let mut back = server(folder.path(), &lost, address, &seeds);
    back.wait_for_line("New leader elected");
    wait_for_health(others[1].address, &ALL_WELL);
    assert_eq!(value(address, "after"), "2");
}

#[test]
fn a_server_that_leaves_is_no_longer_a_peer() {
    let folder = folder();
    let (leading, mut others) = split(three(folder.path()));
    wait_for_health(others[0].address, &ALL_WELL);
    let leaver = others.remove(0);

    assert_eq!(request(leaver.address, "PUT", "/v1/agent/leave", b"").status, 200);

    assert_eq!(leaver.wait().0, 0, "leaving is a success");
    for server in [&leading, &others[0]] {
        assert_eq!(get(server.address, "/v1/status/peers").as_array().map(Vec::len), Some(2));
    }
    put(others[0].address, "with/two", "1");
}

#[test]
fn servers_of_two_clusters_leave_each_other_alone() {
    let start = |name: &str, more: &[String]| {
        let name = format!("-node={name}");
        let arguments: Vec<&str> = ["-dev", &name].into_iter().chain(more.iter().map(String::as_str)).collect();
        let mut agent = Agent::start(Binary::Lictor, &arguments);
        agent.wait_for_line("agent running!");
        agent
    };
    let mut one = start("one", &[]);
    let two = start("two", &[format!("-retry-join={}", one.address)]);
    one.wait_for_line("EventMemberJoin: two");
    put(one.address, "whose", "one");
    put(two.address, "whose", "two");
    assert_eq!((value(one.address, "whose"), value(two.address, "whose")), ("one".to_owned(), "two".to_owned()));
    assert_eq!(get(one.address, "/v1/status/peers").as_array().map(Vec::len), Some(1));
}
