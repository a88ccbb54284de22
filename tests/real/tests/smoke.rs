//! What every build must do, on whatever it runs: start, register, check, answer DNS, keep its word after `kill -9`,
//! run a plugin, and join others as a client.
//!
//! Part of the test command like any other; `just cross` runs the same for each binary in `dist/`, by the variables
//! `LICTOR` (the build to try), `LICTOR_PEER` (the one it joins) and `LICTOR_PLUGIN` (a plugin that it can load).

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::{env, fs};

use real::agent::{Agent, Binary, config_file, own_address};
use real::guests::guest;
use real::http::Connection;
use serde_json::{Value, json};

fn put(address: Ipv4Addr, path: &str, body: &Value) {
    let mut connection = Connection::open(address).expect("the agent accepts connections");
    let answer = connection.request("PUT", path, body.to_string().as_bytes()).expect("the agent answers");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
}

/// Asks for the checks of a service, by blocking queries, until the first one has this status.
fn wait_for_status(address: Ipv4Addr, service: &str, status: &str) -> Value {
    let mut connection = Connection::open(address).expect("the agent accepts connections");
    let mut index = "0".to_owned();
    loop {
        let path = format!("/v1/health/checks/{service}?wait=30s&index={index}");
        let answer = connection.request("GET", &path, b"").expect("the agent answers");
        let mut found: Value = serde_json::from_str(&answer.text()).expect("JSON");
        if found[0]["Status"] == status {
            return found[0].take();
        }
        let next = answer.header("x-consul-index").expect("a read has an index").to_owned();
        assert_ne!(next, index, "nothing changes any more: {found}");
        index = next;
    }
}

/// What DNS says to a question of one type, a line for each record.
fn dig(address: Ipv4Addr, name: &str, kind: &str) -> String {
    let arguments = ["+short", "+tries=1", "-p", "8600", &format!("@{address}"), name, kind];
    let output = Command::new("dig").args(arguments).output().expect("dig can be started: run tests/setup");
    assert!(output.status.success(), "dig: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_service_is_registered_checked_and_found_by_name() {
    let mut agent = Agent::start(Binary::Lictor, &["-dev"]);
    agent.wait_for_leadership();
    let server = TcpListener::bind((agent.address, 0)).expect("a free port");
    let port = server.local_addr().expect("it listens").port();
    let target = format!("{}:{port}", agent.address);
    let check = json!({ "TCP": target, "Interval": "1s", "Timeout": "5s" });
    put(agent.address, "/v1/agent/service/register", &json!({ "Name": "web", "Port": port, "Check": check }));

    wait_for_status(agent.address, "web", "passing");
    assert_eq!(dig(agent.address, "web.service.consul", "A"), format!("{}\n", agent.address));
    assert!(dig(agent.address, "web.service.consul", "SRV").contains(&port.to_string()));

    drop(server);
    wait_for_status(agent.address, "web", "critical");
    assert_eq!(dig(agent.address, "web.service.consul", "A"), "");
}

#[test]
fn what_was_acknowledged_is_there_after_kill_9() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = format!("-data-dir={}", folder.path().display());
    let address = own_address();
    let arguments = ["-server", "-bootstrap", "-node=smoke", &data_dir];
    let mut agent = Agent::start_at(address, Binary::Lictor, &arguments);
    agent.wait_for_leadership();
    for number in 0..50 {
        put(address, &format!("/v1/kv/smoke/{number}"), &json!(number));
    }
    agent.kill();

    let mut agent = Agent::start_at(address, Binary::Lictor, &arguments);
    agent.wait_for_leadership();
    let mut connection = Connection::open(address).expect("the agent accepts connections");
    for number in 0..50 {
        let answer = connection.request("GET", &format!("/v1/kv/smoke/{number}?raw"), b"").expect("an answer");
        assert_eq!(answer.text(), number.to_string());
    }
}

#[test]
fn a_plugin_is_loaded_and_checks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plugin = env::var_os("LICTOR_PLUGIN").map_or_else(
        || {
            let file = folder.path().join("trivial.wasm");
            fs::write(&file, guest("trivial")).expect("a temporary folder is writable");
            file
        },
        Into::into,
    );
    let text = format!(
        "plugin \"trivial\" {{ path = {plugin:?} }}
         service {{ name = \"web\" check {{ plugin = \"trivial\" interval = \"1s\" }} }}"
    );
    let config = format!("-config-file={}", config_file(folder.path(), "agent.hcl", &text));
    let mut agent = Agent::start(Binary::Lictor, &["-dev", &config]);
    agent.wait_for_line("a plugin serves");
    wait_for_status(agent.address, "web", "passing");
}

#[test]
fn a_client_joins_a_server_and_its_services_are_known_there() {
    let mut server = Agent::start(Binary::Peer, &["-dev", "-node=server"]);
    server.wait_for_leadership();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = format!("-data-dir={}", folder.path().display());
    let join = format!("-retry-join={}", server.address);
    let mut client = Agent::start(Binary::Lictor, &["-node=client", &data_dir, &join]);
    client.wait_for_line("agent running!");
    let check = json!({ "TTL": "600s", "Status": "passing" });
    put(client.address, "/v1/agent/service/register", &json!({ "Name": "edge", "Port": 80, "Check": check }));

    let seen = wait_for_status(server.address, "edge", "passing");
    assert_eq!(seen["Node"], "client");
    put(client.address, "/v1/kv/from/client", &json!("said"));
    let mut connection = Connection::open(server.address).expect("the server accepts connections");
    let answer = connection.request("GET", "/v1/kv/from/client?raw", b"").expect("the server answers");
    assert_eq!(answer.text(), "\"said\"");
}
