//! Plugins in the care of servers: pushed through a client, kept through the death of a leader, fetched from anywhere.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use real::agent::{Agent, Binary, PATIENCE, own_address};
use real::guests::{another_version, digest, guest, padded, write};
use real::http::{get, request};
use real::pool::until;
use serde_json::Value;

/// As `agent_core::state::plugin::CHUNK_BYTES`.
const CHUNK_BYTES: usize = 256 << 10;

/// Three servers that agree on a leader, and a client that knows them.
fn cluster(folder: &Path) -> (Vec<Agent>, Agent) {
    let addresses = [own_address(), own_address(), own_address()];
    let server = |(name, address): (&&str, Ipv4Addr)| {
        Agent::start_member(folder, name, address, &addresses, &["-server", "-bootstrap-expect=3"])
    };
    let mut servers: Vec<Agent> = ["one", "two", "three"].iter().zip(addresses).map(server).collect();
    for server in &mut servers {
        server.wait_for_line("New leader elected");
    }
    let mut client = Agent::start_member(folder, "client", own_address(), &addresses, &[]);
    for _ in 0..servers.len() {
        client.wait_for_line("Adding server");
    }
    (servers, client)
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn plugin(address: Ipv4Addr, words: &[&str]) -> Command {
    let mut command = Command::new(Binary::Lictor.path());
    command.arg("plugin").args(words).env("CONSUL_HTTP_ADDR", format!("{address}:8500"));
    command
}

/// What a command printed that must succeed.
fn printed(mut command: Command) -> (String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary can be started");
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{out}{err}");
    (out.into_owned(), err.into_owned())
}

/// A plugin of three megabytes.
fn large() -> Vec<u8> {
    padded(&guest("trivial"), 3 << 20)
}

/// A plugin of some ten kilobytes.
fn small() -> Vec<u8> {
    another_version(&guest("trivial"), 2)
}

/// The whole file, chunk by chunk.
fn download(address: Ipv4Addr, digest: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let path = format!("/v1/plugin/chunk/{digest}?offset={}", bytes.len());
        let answer = request(address, "GET", &path, b"");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        bytes.extend_from_slice(&answer.body);
        if answer.header("x-lictor-file-size") == Some(&bytes.len().to_string()) {
            return bytes;
        }
    }
}

#[test]
fn a_push_through_a_client_survives_the_leader_and_is_fetched_from_the_others() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut servers, client) = cluster(folder.path());
    let file = write(folder.path(), "large.wasm", &large());
    // Servers that have elected a leader may elect another one.
    let place = until(PATIENCE, "leader", || {
        let leader = get(client.address, "/v1/status/leader");
        servers.iter().position(|server| text(&leader).starts_with(&format!("{}:", server.address)))
    });
    let leader = servers.remove(place);

    let mut push = plugin(client.address, &["push", &file, "-name=large"]);
    let mut push = push.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary can be started");
    let mut told = BufReader::new(push.stderr.take().expect("standard error is piped")).lines().map_while(Result::ok);
    assert!(told.any(|line| line.starts_with("30 %")), "it tells how far it is");
    leader.kill();
    let told: Vec<String> = told.collect();
    let pushed = push.wait_with_output().expect("our own child can be waited for");
    assert!(pushed.status.success(), "{told:?}");

    let said = String::from_utf8_lossy(&pushed.stdout).into_owned();
    let digest = said.trim_end().strip_prefix("Pushed plugin large: ").expect("it says what it pushed").to_owned();
    for server in &servers {
        assert!(download(server.address, &digest) == large(), "every server has every byte");
    }
    assert!(download(client.address, &digest) == large(), "also through a client");
    let small_file = write(folder.path(), "small.wasm", &small());
    printed(plugin(client.address, &["push", &small_file, "-name=large"]));
    let rolled_back = request(servers[0].address, "PUT", "/v1/kv/lictor/plugins/large", digest.as_bytes());
    assert_eq!(rolled_back.text().trim_end(), "true");
    let shown = get(servers[1].address, "/v1/plugin/name/large");
    assert_eq!((text(&shown["Digest"]), shown["Versions"].as_array().map(Vec::len)), (digest.as_str(), Some(2)));
}

#[test]
fn plugins_outlive_a_restart_and_an_interrupted_push_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let address = own_address();
    let start = || Agent::start_member(folder.path(), "one", address, &[], &["-server", "-bootstrap"]);
    let mut server = start();
    server.wait_for_leadership();
    let small_file = write(folder.path(), "small.wasm", &small());
    let pushed = printed(plugin(address, &["push", &small_file, "-name=small", "-version=1.2.3"])).0;
    let small_digest = pushed.trim_end().rsplit(' ').next().expect("a digest").to_owned();
    let file = write(folder.path(), "large.wasm", &large());
    let digest = digest(&file);
    for (at, piece) in large().chunks(CHUNK_BYTES).take(5).enumerate() {
        let path = format!("/v1/plugin/chunk/{digest}?offset={}&size={}", at * CHUNK_BYTES, 3 << 20);
        assert_eq!(request(address, "PUT", &path, piece).status, 200);
    }

    server.kill();
    let mut server = start();
    server.wait_for_leadership();

    let (out, err) = printed(plugin(address, &["push", "-name=large", &file]));
    assert_eq!(out, format!("Pushed plugin large: {digest}\n"));
    assert!(err.starts_with("40 % of 3145728 bytes\n"), "it goes on where it was: {err}");
    assert!(download(address, &digest) == large());
    let listed = printed(plugin(address, &["list"])).0;
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["Name", "Version", "Digest", "Size", "Signed", "Summary"]);
    let size = small().len().to_string();
    assert_eq!(rows[1], ["large", "1.0.0", &digest[7..19], "3145728", "no", "Passes."]);
    assert_eq!(rows[2], ["small", "1.2.3", &small_digest[7..19], &size, "no", "Passes."]);
    printed(plugin(address, &["remove", "small"]));
    let gone = plugin(address, &["show", "small"]).output().expect("the binary can be started");
    assert_eq!((gone.status.code(), gone.stderr.as_slice()), (Some(1), b"There is no plugin small\n".as_slice()));
}
