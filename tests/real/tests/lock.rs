//! The command `lock`: one holder at a time, and a program whose lock is lost is ended.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Command, Output, Stdio};

use real::agent::{Agent, Binary};
use real::http::Connection;
use serde_json::Value;

fn started() -> Agent {
    let mut agent = Agent::start(Binary::Lictor, &["-dev"]);
    agent.wait_for_leadership();
    agent
}

fn lock(address: Ipv4Addr, words: &[&str]) -> Command {
    let mut command = Command::new(Binary::Lictor.path());
    command.arg("lock").args(words).env("CONSUL_HTTP_ADDR", format!("{address}:8500"));
    command
}

fn output(address: Ipv4Addr, words: &[&str]) -> Output {
    lock(address, words).output().expect("the binary can be started")
}

fn request(address: Ipv4Addr, method: &str, path: &str) -> String {
    let mut connection = Connection::open(address).expect("the agent accepts connections");
    connection.request(method, path, b"").expect("the agent answers").text()
}

#[test]
fn one_holds_it_and_nothing_is_left_afterwards() {
    let agent = started();
    let words = ["-pass-stdin", "jobs/backup", "echo held; read line"];
    let mut command = lock(agent.address, &words);
    let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary can be started");
    let mut said = String::new();
    BufReader::new(holder.stdout.take().expect("it is piped")).read_line(&mut said).expect("the program runs");

    let late = output(agent.address, &["-timeout=100ms", "jobs/backup", "echo never"]);
    assert_eq!(late.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&late.stderr), "Shutdown triggered or timeout during lock acquisition\n");

    holder.stdin.take().expect("it is piped").write_all(b"go\n").expect("the program reads");
    assert!(holder.wait().expect("our own child can be waited for").success());
    assert_eq!(request(agent.address, "GET", "/v1/session/list").trim(), "[]");
    let next = output(agent.address, &["-n=2", "jobs/backup", "echo $CONSUL_LOCK_HELD"]);
    assert_eq!(String::from_utf8_lossy(&next.stdout), "true\n");
}

#[test]
fn a_program_whose_lock_is_lost_is_ended() {
    let agent = started();
    let mut command = lock(agent.address, &["-shell=false", "-child-exit-code", "jobs/backup", "sleep", "1000"]);
    let holder = command.stderr(Stdio::piped()).spawn().expect("the binary can be started");
    // The index of a missing key is at least one, so this waits for the lock to be taken.
    let held = request(agent.address, "GET", "/v1/kv/jobs/backup/.lock?index=1&wait=30s");
    let held: Value = serde_json::from_str(&held).expect("somebody has taken the lock");
    let session = held[0]["Session"].as_str().expect("a session holds it");
    request(agent.address, "PUT", &format!("/v1/session/destroy/{session}"));
    let ended = holder.wait_with_output().expect("our own child can be waited for");
    assert_eq!(ended.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "Error running handler: signal: terminated\n");
}
