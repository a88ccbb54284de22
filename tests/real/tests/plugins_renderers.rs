//! The renderers of `plugins/`: what they write is what nginx and HAProxy take, and their templates see the catalog.

use std::fs;
use std::process::Command;

use real::http::get_until;
use real::plugins::PluginAgent;
use real::tools::installed;
use serde_json::{Value, json};

/// An agent that knows itself, a service `web` with two instances, and a key.
fn agent() -> PluginAgent {
    let mut agent = PluginAgent::start(&[]);
    agent.agent.wait_for_leadership();
    // A leader puts itself into the catalog after it has said that it leads.
    get_until(agent.agent.address, "/v1/catalog/service/consul", |found| found[0]["ServiceName"] == "consul");
    let instance = |node: &str, address: &str, zone: &str, weight: u32| {
        let service = json!({"Service": "web", "Port": 8080, "Meta": {"zone": zone}, "Weights": {"Passing": weight, "Warning": 1}});
        json!({"Node": node, "Address": address, "Service": service})
    };
    for body in [instance("edge-1", "10.0.0.1", "a", 3), instance("edge-2", "2001:db8::1", "b", 1)] {
        put(&agent, "/v1/catalog/register", &body);
    }
    put(&agent, "/v1/kv/color", &json!("blue"));
    agent
}

fn put(agent: &PluginAgent, path: &str, body: &Value) {
    let answer = agent.request("PUT", path, body);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
}

#[test]
fn nginx_takes_the_upstreams() {
    let text = agent().render(
        "nginx-upstreams",
        &json!({"services": [{"name": "web", "options": ["least_conn"]}, {"name": "none"}]}),
        "",
    );
    assert!(text.contains("server 10.0.0.1:8080 weight=3;"), "{text}");
    let folder = tempfile::tempdir().expect("a folder");
    let (file, main) = (folder.path().join("upstreams.conf"), folder.path().join("nginx.conf"));
    fs::write(&file, &text).expect("a file");
    let pid = folder.path().join("pid");
    let config =
        format!("pid {};\nevents {{}}\nhttp {{ access_log off; include {}; }}\n", pid.display(), file.display());
    fs::write(&main, config).expect("a file");
    accepted(installed("nginx").args(["-t", "-q", "-e", "stderr", "-c"]).arg(&main), &text);
}

#[test]
fn haproxy_takes_the_backends() {
    let config = json!({"services": [{"name": "web", "options": ["balance leastconn"], "server_options": "check inter 2s"}, {"name": "none"}]});
    let text = agent().render("haproxy-backends", &config, "");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("haproxy.cfg");
    let defaults = "defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n";
    // Without anything to listen on it calls every configuration useless.
    let frontend = "frontend all\n    bind 127.0.0.1:8080\n    default_backend web\n";
    fs::write(&file, format!("{defaults}{frontend}{text}")).expect("a file");
    accepted(installed("haproxy").args(["-c", "-f"]).arg(&file), &text);
}

#[test]
fn templates_see_services_and_keys() {
    let template = "{% for it in service('web') %}\n{{ it.address }}:{{ it.port }} {{ it.node.name }} {{ it.meta.zone }}\n{% endfor %}\n\
                    {{ key('color') }} {{ key('none', 'default') }} {{ greeting }} {{ services()|length }}\n";
    let text = agent().render("minijinja", &json!({"vars": {"greeting": "hello"}}), template);
    assert_eq!(text, "10.0.0.1:8080 edge-1 a\n2001:db8::1:8080 edge-2 b\n\"blue\" default hello 2\n");
}

fn accepted(command: &mut Command, text: &str) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/setup first"));
    assert!(done.status.success(), "{}\n{text}", String::from_utf8_lossy(&done.stderr));
}
