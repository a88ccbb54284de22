//! The checks of `plugins/` on an agent, against real servers and faithful ones: passing, over a limit, refused, wrong credentials, and noise.

use std::net::SocketAddr;

use real::plugins::{PluginAgent, component, expect};
use real::servers::{self, free_address};
use serde_json::{Value, json};

fn network(address: SocketAddr) -> String {
    format!("network = [\"{address}\"]")
}

/// A config of several fields beside the server's address.
fn with(address: SocketAddr, more: Value) -> Value {
    let mut config = json!({"address": address.to_string()});
    let fields = more.as_object().expect("an object").clone();
    config.as_object_mut().expect("an object").extend(fields);
    config
}

/// Every check that connects, told to connect there, is critical and says this.
fn each_is_critical_at(address: SocketAddr, part: &'static str) {
    let connecting = [
        ("redis", json!({})),
        ("postgres", json!({"user": "postgres"})),
        ("mqtt", json!({})),
        ("modbus", json!({"register": 0})),
        ("tls-expiry", json!({"server_name": "localhost"})),
    ];
    let files = connecting.each_ref().map(|(name, _)| component(name));
    let allow = network(address);
    let plugins: Vec<_> =
        connecting.iter().zip(&files).map(|((name, _), file)| (*name, file.as_path(), allow.as_str())).collect();
    let cases = connecting.map(|(name, more)| (name, (with(address, more), "critical", part)));
    PluginAgent::start(&plugins).expect(&cases);
}

#[test]
fn redis_is_asked_for_a_pong_and_a_field() {
    let server = servers::redis("secret");
    let ask = |more| with(server.address, more);
    let cases = [
        (ask(json!({"password": "secret"})), "passing", "PONG"),
        (ask(json!({"password": "secret", "field": "connected_clients", "warning_above": 0})), "warning", "above 0"),
        (ask(json!({"password": "secret", "field": "used_memory", "critical_above": 1})), "critical", "above 1"),
        (ask(json!({"password": "secret", "field": "role", "equals": "master"})), "passing", "role is master"),
        (ask(json!({"password": "wrong"})), "critical", "could not sign in"),
        (ask(json!({})), "critical", "NOAUTH"),
    ];
    expect("redis", &network(server.address), &cases);
}

#[test]
fn mqtt_sends_itself_a_message() {
    let broker = servers::mosquitto();
    let ask = |more| with(broker.address, more);
    let cases = [
        (ask(json!({"username": "edge", "password": "secret", "topic": "a/b"})), "passing", "a message came through"),
        (ask(json!({"username": "edge", "password": "secret", "warning_seconds": 0})), "warning", "let us in"),
        (ask(json!({"username": "edge", "password": "wrong"})), "critical", "not authorised"),
    ];
    expect("mqtt", &network(broker.address), &cases);
}

#[test]
fn modbus_registers_are_numbers_of_several_kinds() {
    let device = servers::modbus(vec![258, 0xfffe, 0x4148, 0]);
    let ask = |more| with(device, more);
    let cases = [
        (ask(json!({"register": 0})), "passing", "is 258"),
        (ask(json!({"register": 1, "type": "i16", "critical_below": 0})), "critical", "is -2, below 0"),
        (ask(json!({"register": 2, "type": "f32", "warning_above": 12})), "warning", "is 12.5, above 12"),
        (ask(json!({"register": 9, "table": "input", "scale": 0.5})), "passing", "is 3.5"),
        (ask(json!({"register": 9})), "critical", "it has no such register"),
    ];
    expect("modbus", &network(device), &cases);
}

#[test]
fn tls_certificates_are_dated_whichever_version_the_server_speaks() {
    let servers = [(90, "-tls1_3", "passing"), (20, "-tls1_2", "warning"), (3, "-tls1_3", "critical")]
        .map(|(days, version, status)| (servers::tls(days, &[version]), status));
    let cases = servers
        .each_ref()
        .map(|(server, status)| (with(server.address, json!({"server_name": "localhost"})), *status, "more days"));
    expect("tls-expiry", "network = [\"127.0.0.0/8:*\"]", &cases);
}

#[test]
fn json_of_a_server_is_compared() {
    let server = servers::http("200 OK", r#"{"queue": {"depth": 7}}"#);
    let url = format!("http://{server}/status");
    let cases = [
        (json!({"url": url}), "passing", "answered 200"),
        (json!({"url": url, "pointer": "/queue/depth", "warning_above": 5}), "warning", "is 7, above 5"),
        (json!({"url": url, "status": 204}), "critical", "answered 200, not 204"),
        (json!({"url": format!("http://{server}/other")}), "critical", "grant"),
    ];
    expect("http-json", &format!("urls = [\"{url}\"]"), &cases);
}

#[test]
fn a_server_that_is_not_there_is_critical() {
    each_is_critical_at(free_address(), "could not connect");
}

#[test]
fn a_server_that_sends_noise_without_end_is_critical_within_the_limits() {
    each_is_critical_at(servers::noise(), "");
}
