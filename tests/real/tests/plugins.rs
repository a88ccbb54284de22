//! Plugins on agents: declared, run as checks, replaced while the agent runs, fetched from servers.

use std::fs;
use std::path::{Path, PathBuf};

use real::agent::{Agent, Binary, config_file, own_address};
use real::guests::{another_version, digest, guest, plugin, wait_for_status, write};
use real::http::{get, get_until, request};
use rustix::process::Signal;
use serde_json::Value;

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

#[test]
fn a_plugin_runs_as_a_check_and_shows_what_it_measured() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (agent, _) = agent_with_file(folder.path(), &guest("hostile"), "do = \"pass\" with = \"42\"");
    wait_for_status(agent.address, "web", "passing");
    assert_eq!(get(agent.address, "/v1/agent/checks")["service:web"]["Type"], "plugin");
    let metrics = request(agent.address, "GET", "/v1/agent/metrics?format=prometheus", b"").text();
    assert!(metrics.contains("plugin_check_") && metrics.contains(r#"plugin="check""#), "{metrics}");
}

#[test]
fn a_check_is_registered_only_with_a_declared_plugin_and_a_config_that_fits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (agent, _) = agent_with_file(folder.path(), &guest("hostile"), "do = \"pass\"");
    let register = |plugin: &str, config: &str| {
        let body = format!(r#"{{"Name": "again", "Plugin": "{plugin}", "Config": {config}, "Interval": "1s"}}"#);
        let answer = request(agent.address, "PUT", "/v1/agent/check/register", body.as_bytes());
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
    wait_for_status(agent.address, "web", "passing");
    let before = plugin(agent.address)["Serving"]["Digest"].clone();

    install(&file, &another_version(&trivial, 2));

    agent.wait_for_line("a plugin serves");
    let now = plugin(agent.address);
    assert_ne!(now["Serving"]["Digest"], before);
    assert_eq!((&now["Swapped"], &now["Refused"]), (&1.into(), &Value::Null));
}

#[test]
fn of_many_changes_in_a_row_the_last_one_serves() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trivial = guest("trivial");
    let (mut agent, file) = agent_with_file(folder.path(), &trivial, "");
    wait_for_status(agent.address, "web", "passing");
    let last = write(folder.path(), "last.wasm", &another_version(&trivial, 60));

    // Trials of earlier ones end while later ones are read.
    for version in 1..=60 {
        install(&file, &another_version(&trivial, version));
        std::thread::yield_now();
    }

    agent.wait_for_line(&format!("a plugin serves: plugin=check digest={}", digest(&last)));
}

#[test]
fn a_torn_or_worse_version_is_refused_and_the_old_one_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trivial = guest("trivial");
    let (mut agent, file) = agent_with_file(folder.path(), &trivial, "");
    wait_for_status(agent.address, "web", "passing");
    let before = plugin(agent.address)["Serving"].clone();
    let hostile = guest("hostile");
    for (component, reason) in [(&trivial[..trivial.len() / 2], "component"), (&hostile[..], "in a trial with check")] {
        install(&file, component);
        agent.wait_for_line("a version of a plugin was refused");
        let now = plugin(agent.address);
        let said = now["Refused"]["Reason"].as_str().expect("a reason").to_owned();
        assert!(said.contains(reason), "{said}");
        assert_eq!(now["Serving"], before);
    }
    install(&file, &another_version(&trivial, 3));
    agent.wait_for_line("a plugin serves");
    assert_eq!(plugin(agent.address)["Refused"], Value::Null, "what came after is good again");
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
    get_until(agent.address, path, |found| {
        found[0]["Output"].as_str().is_some_and(|said| said.contains("absent.wasm"))
    });

    install(&file, &guest("trivial"));

    wait_for_status(agent.address, "web", "passing");
}

#[test]
fn a_reload_changes_grants_and_takes_new_plugins_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut agent, file) = agent_with_file(folder.path(), &guest("hostile"), "do = \"variable\" with = \"PATH\"");
    wait_for_status(agent.address, "web", "critical");
    let text = format!(
        "plugin \"check\" {{ path = {file:?} allow {{ environment = [\"PATH\"] }} }}
         plugin \"second\" {{ path = {file:?} }}
         service {{ name = \"web\" check {{ plugin = \"check\" interval = \"1s\" config {{ do = \"variable\" with = \"PATH\" }} }} }}
         service {{ name = \"db\" check {{ plugin = \"second\" interval = \"1s\" config {{ do = \"pass\" }} }} }}"
    );
    config_file(folder.path(), "agent.hcl", &text);

    agent.signal(Signal::HUP);

    agent.wait_for_line("Configuration reload complete");
    wait_for_status(agent.address, "web", "passing");
    wait_for_status(agent.address, "db", "passing");
}

#[test]
fn a_client_follows_what_the_cluster_publishes_and_rolls_back_with_a_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let addresses = [own_address(), own_address(), own_address()];
    let names = ["s1", "s2", "s3"];
    let mut servers: Vec<Agent> = names
        .iter()
        .zip(addresses)
        .map(|(name, address)| {
            Agent::start_member(folder.path(), name, address, &addresses, &["-server", "-bootstrap-expect=3"])
        })
        .collect();
    servers[0].wait_for_line("New leader elected");
    let text = r#"plugin "published" { trials = 2 }
        service { name = "web" check { plugin = "published" interval = "1s" } }"#;
    let config = config_file(folder.path(), "client.hcl", text);
    let mut client =
        Agent::start_member(folder.path(), "c1", own_address(), &addresses, &[&format!("-config-file={config}")]);
    let trivial = guest("trivial");
    let push = |agent: &Agent, file: &str| {
        let (ok, said) = agent.command(&["plugin", "push", "-name=published", file]);
        assert!(ok, "{said}");
    };
    client.wait_for_line("Adding server");
    push(&client, &write(folder.path(), "one.wasm", &trivial));
    wait_for_status(client.address, "web", "passing");
    let first = plugin(client.address)["Serving"]["Digest"].as_str().expect("it serves").to_owned();

    push(&servers[1], &write(folder.path(), "two.wasm", &another_version(&trivial, 2)));
    client.wait_for_line("a plugin serves");
    client.wait_for_line("a plugin serves");
    assert_ne!(plugin(client.address)["Serving"]["Digest"], first.as_str());

    push(&client, &write(folder.path(), "worse.wasm", &guest("hostile")));
    client.wait_for_line("a version of a plugin was refused");
    assert_eq!(get(client.address, "/v1/health/checks/web")[0]["Status"], "passing");

    let (ok, said) = client.command(&["kv", "put", "lictor/plugins/published", &first]);
    assert!(ok, "{said}");
    client.wait_for_line("a plugin serves");
    assert_eq!(plugin(client.address)["Serving"]["Digest"], first.as_str());
}
