//! Plugins on agents: declared, run as checks, replaced while the agent runs, fetched from servers.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use real::agent::{Agent, Binary, config_file, own_address};
use real::guests::{another_version, guest};
use real::http::{Connection, Response};
use rustix::process::Signal;
use serde_json::Value;

fn request(agent: &Agent, method: &str, path: &str, body: &[u8]) -> Response {
    let mut connection = Connection::open(agent.address).expect("the agent accepts connections");
    connection.request(method, path, body).expect("the agent answers")
}

fn get(agent: &Agent, path: &str) -> Value {
    let answer = request(agent, "GET", path, b"");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    serde_json::from_str(&answer.text()).expect("JSON")
}

/// Asks, by blocking queries, until the answer is as wanted.
fn wait_until(agent: &Agent, path: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let mut connection = Connection::open(agent.address).expect("the agent accepts connections");
    let mut index = "0".to_owned();
    loop {
        let answer = connection.request("GET", &format!("{path}?wait=30s&index={index}"), b"").expect("an answer");
        let found: Value = serde_json::from_str(&answer.text()).expect("JSON");
        if is_wanted(&found) {
            return found;
        }
        let next = answer.header("x-consul-index").expect("a read has an index").to_owned();
        assert_ne!(next, index, "nothing changes any more: {found}");
        index = next;
    }
}

/// Waits until the check of the service `name` has this status; returns its output.
fn wait_for_status(agent: &Agent, name: &str, status: &str) -> String {
    let path = format!("/v1/health/checks/{name}");
    let found = wait_until(agent, &path, |found| found[0]["Status"] == status);
    found[0]["Output"].as_str().unwrap_or_default().to_owned()
}

/// Puts a file in place at once, as a careful operator does.
fn install(file: &Path, component: &[u8]) {
    let draft = file.with_extension("draft");
    fs::write(&draft, component).expect("the folder can be written");
    fs::rename(&draft, file).expect("the file can be renamed");
}

/// A development agent with the plugin `check` from a file, and a service that it checks.
fn agent_with_file(folder: &Path, component: &[u8], config: &str) -> (Agent, PathBuf) {
    let file = folder.join("check.wasm");
    install(&file, component);
    let text = format!(
        "plugin \"check\" {{ path = {file:?} }}
         service {{ name = \"web\" check {{ plugin = \"check\" interval = \"1s\" config {{ {config} }} }} }}"
    );
    let config = config_file(folder, "agent.hcl", &text);
    let mut agent = Agent::start(Binary::Lictor, &["-dev", &format!("-config-file={config}")]);
    agent.wait_for_line("a plugin serves");
    (agent, file)
}

fn plugin(agent: &Agent) -> Value {
    get(agent, "/v1/agent/plugins")[0].take()
}

#[test]
fn a_plugin_runs_as_a_check_and_shows_what_it_measured() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (agent, _) = agent_with_file(folder.path(), &guest("hostile"), "do = \"pass\" with = \"42\"");
    wait_for_status(&agent, "web", "passing");
    assert_eq!(get(&agent, "/v1/agent/checks")["service:web"]["Type"], "plugin");
    let metrics = request(&agent, "GET", "/v1/agent/metrics?format=prometheus", b"").text();
    assert!(metrics.contains("plugin_check_") && metrics.contains(r#"plugin="check""#), "{metrics}");
}

#[test]
fn a_check_is_registered_only_with_a_declared_plugin_and_a_config_that_fits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (agent, _) = agent_with_file(folder.path(), &guest("hostile"), "do = \"pass\"");
    let register = |plugin: &str, config: &str| {
        let body = format!(r#"{{"Name": "again", "Plugin": "{plugin}", "Config": {config}, "Interval": "1s"}}"#);
        let answer = request(&agent, "PUT", "/v1/agent/check/register", body.as_bytes());
        (answer.status, answer.text())
    };
    assert_eq!(register("check", r#"{"do": "pass"}"#).0, 200);
    let (status, text) = register("check", r#"{"do": 7}"#);
    assert!(
        status == 400 && text.contains("Config does not fit plugin \"check\"") && text.contains("/do"),
        "{status} {text}"
    );
    let (status, text) = register("other", "{}");
    assert!(status == 400 && text.contains("Plugin \"other\" is not declared on this agent"), "{status} {text}");
}

#[test]
fn a_changed_file_takes_over_after_its_trials() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trivial = guest("trivial");
    let (mut agent, file) = agent_with_file(folder.path(), &trivial, "");
    wait_for_status(&agent, "web", "passing");
    let before = plugin(&agent)["Serving"]["Digest"].clone();

    install(&file, &another_version(&trivial, 2));

    agent.wait_for_line("a plugin serves");
    let now = plugin(&agent);
    assert_ne!(now["Serving"]["Digest"], before);
    assert_eq!((&now["Swapped"], &now["Refused"]), (&1.into(), &Value::Null));
}

#[test]
fn a_torn_or_worse_version_is_refused_and_the_old_one_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trivial = guest("trivial");
    let (mut agent, file) = agent_with_file(folder.path(), &trivial, "");
    wait_for_status(&agent, "web", "passing");
    let before = plugin(&agent)["Serving"].clone();
    let hostile = guest("hostile");
    for (component, reason) in [(&trivial[..trivial.len() / 2], "component"), (&hostile[..], "in a trial with check")] {
        install(&file, component);
        agent.wait_for_line("a version of a plugin was refused");
        let now = plugin(&agent);
        let said = now["Refused"]["Reason"].as_str().expect("a reason").to_owned();
        assert!(said.contains(reason), "{said}");
        assert_eq!(now["Serving"], before);
    }
    install(&file, &another_version(&trivial, 3));
    agent.wait_for_line("a plugin serves");
    assert_eq!(plugin(&agent)["Refused"], Value::Null, "what came after is good again");
}

#[test]
fn a_plugin_that_does_not_load_is_a_critical_check_that_says_why() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("absent.wasm");
    let text = format!(
        "check_update_interval = \"0s\"
         plugin \"check\" {{ path = {file:?} }}
         service {{ name = \"web\" check {{ plugin = \"check\" interval = \"1s\" }} }}"
    );
    let config = config_file(folder.path(), "agent.hcl", &text);
    let mut agent = Agent::start(Binary::Lictor, &["-dev", &format!("-config-file={config}")]);
    agent.wait_for_line("no version of a plugin could be read");
    let path = "/v1/health/checks/web";
    wait_until(&agent, path, |found| found[0]["Output"].as_str().is_some_and(|said| said.contains("absent.wasm")));

    install(&file, &guest("trivial"));

    wait_for_status(&agent, "web", "passing");
}

#[test]
fn a_reload_changes_grants_and_takes_new_plugins_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut agent, file) = agent_with_file(folder.path(), &guest("hostile"), "do = \"variable\" with = \"PATH\"");
    wait_for_status(&agent, "web", "critical");
    let text = format!(
        "plugin \"check\" {{ path = {file:?} allow {{ environment = [\"PATH\"] }} }}
         plugin \"second\" {{ path = {file:?} }}
         service {{ name = \"web\" check {{ plugin = \"check\" interval = \"1s\" config {{ do = \"variable\" with = \"PATH\" }} }} }}
         service {{ name = \"db\" check {{ plugin = \"second\" interval = \"1s\" config {{ do = \"pass\" }} }} }}"
    );
    config_file(folder.path(), "agent.hcl", &text);

    agent.signal(Signal::HUP);

    agent.wait_for_line("Configuration reload complete");
    wait_for_status(&agent, "web", "passing");
    wait_for_status(&agent, "db", "passing");
}

fn start(folder: &Path, name: &str, address: Ipv4Addr, seeds: &[Ipv4Addr], more: &[&str]) -> Agent {
    let quick = config_file(folder, "quick.hcl", "performance { raft_multiplier = 1 }");
    let data_dir = format!("-data-dir={}", folder.join(name).display());
    let mut arguments = vec![format!("-node={name}"), format!("-config-file={quick}"), data_dir];
    arguments.push("-retry-interval=1s".to_owned());
    arguments.extend(seeds.iter().map(|seed| format!("-retry-join={seed}")));
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Agent::start_at(address, Binary::Lictor, &arguments)
}

/// Runs `lictor` with these words against an agent; returns whether it succeeded, and what it said.
fn command(agent: &Agent, words: &[&str]) -> (bool, String) {
    let address = format!("http://{}:8500", agent.address);
    let ran = Command::new(Binary::Lictor.path()).args(words).env("CONSUL_HTTP_ADDR", address).output();
    let ran = ran.expect("the binary can be started");
    (ran.status.success(), format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr)))
}

#[test]
fn a_client_follows_what_the_cluster_publishes_and_rolls_back_with_a_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let addresses = [own_address(), own_address(), own_address()];
    let names = ["s1", "s2", "s3"];
    let mut servers: Vec<Agent> = names
        .iter()
        .zip(addresses)
        .map(|(name, address)| start(folder.path(), name, address, &addresses, &["-server", "-bootstrap-expect=3"]))
        .collect();
    servers[0].wait_for_line("New leader elected");
    let text = r#"plugin "published" { trials = 2 }
        service { name = "web" check { plugin = "published" interval = "1s" } }"#;
    let config = config_file(folder.path(), "client.hcl", text);
    let mut client = start(folder.path(), "c1", own_address(), &addresses, &[&format!("-config-file={config}")]);
    let trivial = guest("trivial");
    let write = |name: &str, component: &[u8]| {
        let file = folder.path().join(name);
        fs::write(&file, component).expect("the folder can be written");
        file.display().to_string()
    };

    let push = |agent: &Agent, file: &str| {
        let (ok, said) = command(agent, &["plugin", "push", "-name=published", file]);
        assert!(ok, "{said}");
    };
    client.wait_for_line("Adding server");
    push(&client, &write("one.wasm", &trivial));
    wait_for_status(&client, "web", "passing");
    let first = plugin(&client)["Serving"]["Digest"].as_str().expect("it serves").to_owned();

    push(&servers[1], &write("two.wasm", &another_version(&trivial, 2)));
    client.wait_for_line("a plugin serves");
    client.wait_for_line("a plugin serves");
    assert_ne!(plugin(&client)["Serving"]["Digest"], first.as_str());

    push(&client, &write("worse.wasm", &guest("hostile")));
    client.wait_for_line("a version of a plugin was refused");
    assert_eq!(get(&client, "/v1/health/checks/web")[0]["Status"], "passing");

    let (ok, said) = command(&client, &["kv", "put", "lictor/plugins/published", &first]);
    assert!(ok, "{said}");
    client.wait_for_line("a plugin serves");
    assert_eq!(plugin(&client)["Serving"]["Digest"], first.as_str());
}
