//! Every command line of `tests/cases/cli`, told to lictor and to Consul: the same output, errors and exit codes.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::{env, fs};

use real::agent::{Agent, Binary, config_file};
use real::command_case::Bench;
use real::http::Connection;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cases/cli");
    let entries = fs::read_dir(folder).expect("the cases are there").map(|entry| entry.expect("readable").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "txt")).collect();
    // After `leave` there is no agent to talk to.
    files.sort_by_key(|path| (path.ends_with("leave.txt"), path.clone()));
    files
}

/// An address of this test's own whose text is always of one length, because it sets the width of columns.
fn address(binary: Binary) -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    // No other test counts its addresses this far.
    let last = if binary == Binary::Consul { 251 } else { 252 };
    Ipv4Addr::new(127, 100 + high % 100, 100 + low % 100, last)
}

/// Waits until the agent has put its node and itself into the catalog.
fn wait_for_registration(address: Ipv4Addr) {
    let mut connection = Connection::open(address).expect("the agent listens");
    let mut index = "0".to_owned();
    for _ in 0..20 {
        let path = format!("/v1/health/service/consul?passing&wait=10s&index={index}");
        let response = connection.request("GET", &path, b"").expect("the agent answers");
        // The network segment is metadata that comes with the agent's own first sync.
        if response.text().contains("consul-network-segment") {
            return;
        }
        index = response.header("X-Consul-Index").expect("every catalog answer has one").to_owned();
    }
    panic!("the agent does not register itself");
}

fn replay(binary: Binary) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let address = address(binary);
    let socket = folder.path().join("agent.sock");
    let config = format!(
        r#"{{"node_name": "n1", "node_id": "6e3d94e1-9c4c-4f0f-9a0b-5b1d3f8b6d11", "ports": {{"grpc": -1}}, "performance": {{"leave_drain_time": "1ms"}},
            "addresses": {{"http": "{address} unix://{}"}}}}"#,
        socket.display()
    );
    let config = config_file(folder.path(), "agent.json", &config);
    let mut agent = Agent::start_at(address, binary, &["-dev", &format!("-config-file={config}")]);
    agent.wait_for_leadership();
    wait_for_registration(address);
    let mut bench = Bench::new(binary, address, folder.path());
    let mut different = String::new();
    for file in files() {
        let text = fs::read_to_string(&file).expect("cases are text");
        let (differences, recorded) = bench.replay(&text);
        if binary == Binary::Consul && env::var_os("RECORD").is_some() {
            fs::write(&file, recorded).expect("the tree is writable");
            continue;
        }
        for difference in differences {
            different.push_str(&format!("{}: {difference}\n", file.file_name().expect("a file").display()));
        }
    }
    assert!(different.is_empty(), "{binary:?} differs:\n{different}");
}

#[test]
fn cli_cases_hold_for_lictor() {
    replay(Binary::Lictor);
}

#[test]
fn cli_cases_hold_for_consul() {
    replay(Binary::Consul);
}
