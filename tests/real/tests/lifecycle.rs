//! The life of an agent process: signals, restarts, reloads, and what it refuses to start on.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use real::agent::{Agent, Binary, PATIENCE, config_file, own_address};
use real::http::Connection;
use real::pool::until;
use rustix::process::Signal;

fn durable(data_dir: &Path, more: &[&str]) -> Agent {
    let data_dir = format!("-data-dir={}", data_dir.display());
    let mut arguments = vec!["-server", "-bootstrap", "-node=life", &data_dir];
    arguments.extend(more);
    let mut agent = Agent::start(Binary::Lictor, &arguments);
    agent.wait_for_leadership();
    agent
}

fn get(agent: &Agent, path: &str) -> String {
    let mut connection = Connection::open(agent.address).expect("the agent accepts connections");
    connection.request("GET", path, b"").expect("the agent answers").text()
}

/// Waits, by blocking queries, until the answer contains `text`.
fn wait_until(agent: &Agent, path: &str, text: &str) {
    let mut connection = Connection::open(agent.address).expect("the agent accepts connections");
    let mut index = 0;
    loop {
        let path = format!("{path}?wait=20s&index={index}");
        let answer = connection.request("GET", &path, b"").expect("the agent answers");
        if answer.text().contains(text) {
            return;
        }
        let now = answer.header("x-consul-index").and_then(|index| index.parse().ok()).expect("a read has an index");
        assert_ne!(now, index, "{path} never says {text:?}");
        index = now;
    }
}

fn put(agent: &Agent, path: &str, body: &str) -> u16 {
    let mut connection = Connection::open(agent.address).expect("the agent accepts connections");
    connection.request("PUT", path, body.as_bytes()).expect("the agent answers").status
}

#[test]
fn interrupt_exits_as_consul_does() {
    for binary in [Binary::Consul, Binary::Lictor] {
        let mut agent = Agent::start(binary, &["-dev"]);
        agent.wait_for_leadership();
        agent.signal(Signal::INT);
        let (code, said) = agent.wait();
        assert_eq!(code, 1, "{binary:?}: an interrupted server has not left; it said:\n{said}");
    }
}

#[test]
fn leaving_is_a_success() {
    for binary in [Binary::Consul, Binary::Lictor] {
        let mut agent = Agent::start(binary, &["-dev"]);
        agent.wait_for_leadership();
        assert_eq!(put(&agent, "/v1/agent/leave", ""), 200);
        assert_eq!(agent.wait().0, 0, "{binary:?}");
    }
}

#[test]
fn services_and_ttl_states_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let agent = durable(folder.path(), &[]);
    let service = r#"{"ID": "db-1", "Name": "db", "Port": 5432, "Check": {"TTL": "1h"}}"#;
    assert_eq!(put(&agent, "/v1/agent/service/register", service), 200);
    assert_eq!(put(&agent, "/v1/agent/check/pass/service:db-1?note=fine", ""), 200);
    agent.signal(Signal::INT);
    agent.wait();

    let agent = durable(folder.path(), &[]);
    let checks: serde_json::Value = serde_json::from_str(&get(&agent, "/v1/agent/checks")).expect("JSON");
    assert_eq!(checks["service:db-1"]["Status"], "passing");
    assert_eq!(checks["service:db-1"]["Output"], "fine");
    assert!(get(&agent, "/v1/agent/services").contains("\"db-1\""));
}

#[test]
fn a_hangup_reads_new_definitions_and_keeps_the_old_ones_when_they_are_wrong() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let config_dir = folder.path().join("config");
    fs::create_dir_all(&config_dir).expect("a temporary folder is writable");
    config_file(&config_dir, "one.hcl", "service { name = \"one\" port = 1 }");
    let mut agent = durable(&data, &[&format!("-config-dir={}", config_dir.display())]);
    assert!(get(&agent, "/v1/agent/services").contains("\"one\""));

    config_file(&config_dir, "two.json", r#"{"service": {"name": "two", "port": 2}}"#);
    agent.signal(Signal::HUP);
    agent.wait_for_line("Configuration reload complete");
    assert!(get(&agent, "/v1/agent/services").contains("\"two\""));

    config_file(&config_dir, "three.json", r#"{"servise": {}}"#);
    assert_eq!(put(&agent, "/v1/agent/reload", ""), 500);
    let services = get(&agent, "/v1/agent/services");
    assert!(services.contains("\"one\"") && services.contains("\"two\""), "{services}");
}

#[test]
fn a_reload_changes_the_metadata_of_the_node() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config_file(folder.path(), "meta.hcl", "node_meta { rack = \"one\" }");
    let mut agent = Agent::start(Binary::Lictor, &["-dev", &format!("-config-file={config}")]);
    agent.wait_for_leadership();
    config_file(folder.path(), "meta.hcl", "node_meta { rack = \"two\" }");
    assert_eq!(put(&agent, "/v1/agent/reload", ""), 200);
    assert!(get(&agent, "/v1/agent/self").contains("\"rack\": \"two\""));
    wait_until(&agent, "/v1/catalog/nodes", "\"rack\": \"two\"");
}

#[test]
fn a_definition_that_cannot_be_registered_stops_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, definition, reason) in [
        (
            "script.hcl",
            "service { name = \"web\" check { args = [\"true\"] interval = \"1s\" } }",
            "Failed to register service \"web\": Scripts are disabled on this agent; to enable, configure \
             'enable_script_checks' or 'enable_local_script_checks' to true",
        ),
        (
            "orphan.hcl",
            "check { name = \"orphan\" ttl = \"1h\" service_id = \"nope\" }",
            "Failed to register check 'orphan': ServiceID \"nope\" does not exist",
        ),
    ] {
        let config = format!("-config-file={}", config_file(folder.path(), name, definition));
        for binary in [Binary::Consul, Binary::Lictor] {
            let (code, said) = Agent::start(binary, &["-dev", &config]).wait();
            // The log writes quotes of a text with or without a backslash.
            let said = said.replace('\\', "");
            assert!(code == 1 && said.contains(reason), "{binary:?} exits with {code} and says:\n{said}");
        }
    }
}

#[test]
fn the_api_answers_on_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("api.sock");
    let config = format!(r#"{{"addresses": {{"http": "unix://{}"}}}}"#, socket.display());
    let config = config_file(folder.path(), "socket.json", &config);
    let mut agent = Agent::start(Binary::Lictor, &["-dev", &format!("-config-file={config}")]);
    agent.wait_for_leadership();
    let mut stream = UnixStream::connect(&socket).expect("the socket is there");
    stream.write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains(":8300"), "{answer}");
}

#[test]
fn a_port_in_use_is_named() {
    let mut first = Agent::start(Binary::Lictor, &["-dev"]);
    first.wait_for_leadership();
    let (code, said) = Agent::start_at(first.address, Binary::Lictor, &["-dev"]).wait();
    assert_eq!(code, 1);
    assert!(said.contains("address already in use") && said.contains(&first.address.to_string()), "{said}");
}

#[test]
fn two_agents_cannot_share_a_data_dir() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = durable(folder.path(), &[]);
    assert_eq!(put(&first, "/v1/kv/a", "kept"), 200);
    let data_dir = format!("-data-dir={}", folder.path().display());
    let (code, said) = Agent::start_at(own_address(), Binary::Lictor, &["-server", "-bootstrap", &data_dir]).wait();
    assert_eq!(code, 1);
    assert!(said.contains("in use by another agent"), "{said}");
    assert_eq!(get(&first, "/v1/kv/a?raw"), "kept");
}

#[test]
fn a_data_dir_that_is_a_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = config_file(folder.path(), "data", "not a folder");
    let (code, said) = Agent::start(Binary::Lictor, &["-server", "-bootstrap", &format!("-data-dir={file}")]).wait();
    assert_eq!(code, 1);
    assert!(said.contains(&file), "{said}");
    assert_eq!(fs::read_to_string(&file).expect("it is still there"), "not a folder");
}

#[test]
fn a_full_disk_acknowledges_nothing_that_it_loses() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = format!("-data-dir={}", folder.path().display());
    let address = own_address();
    let arguments = ["-server", "-bootstrap", "-node=life", &data_dir];
    let mut agent = Agent::start_with_full_disk(address, 4096, &arguments);
    agent.wait_for_leadership();
    let mut connection = Connection::open(address).expect("the agent accepts connections");
    let value = vec![b'x'; 100_000];
    let acknowledged = (0..1000)
        .take_while(|number| {
            let answer = connection.request("PUT", &format!("/v1/kv/full/{number}"), &value);
            answer.is_ok_and(|answer| answer.status == 200)
        })
        .count();
    assert!((1..1000).contains(&acknowledged), "the disk should fill up: {acknowledged} writes went through");
    let (code, said) = agent.wait();
    assert_eq!(code, 1, "an agent that can't write stops; it said:\n{said}");

    let mut agent = Agent::start_at(address, Binary::Lictor, &arguments);
    agent.wait_for_leadership();
    for number in 0..acknowledged {
        assert_eq!(get(&agent, &format!("/v1/kv/full/{number}?raw")).len(), value.len(), "write {number} was lost");
    }
}

#[test]
fn an_idle_server_writes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let agent = durable(folder.path(), &[]);
    wait_until(&agent, "/v1/catalog/node/life", "consul-network-segment");
    wait_until(&agent, "/v1/health/node/life", "serfHealth");
    // The first leader writes the settings of autopilot as well, beside the rest. Until then they have no index.
    until(PATIENCE, "settings of autopilot", || {
        let settings = get(&agent, "/v1/operator/autopilot/configuration");
        let settings: serde_json::Value = serde_json::from_str(&settings).expect("JSON");
        settings["CreateIndex"].as_u64().filter(|index| *index > 0)
    });
    let written = || {
        let io = fs::read_to_string(format!("/proc/{}/io", agent.id())).expect("the agent runs");
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("Linux counts written bytes");
        line.parse::<u64>().expect("a number")
    };
    // A linearizable read answers only after everything before it has been dealt with.
    get(&agent, "/v1/kv/nothing?consistent");
    let before = written();
    // The agent's own clock says when two seconds have passed.
    get(&agent, "/v1/kv/nothing?index=1000000&wait=2s&stale");
    assert_eq!(written() - before, 0);
}
