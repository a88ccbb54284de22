//! The command `lock`: one holder at a time, and a program whose lock is lost is ended.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Output, Stdio};

use real::agent::{Agent, Binary};
use real::http::{self, get_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn started() -> Agent {
    let mut agent = Agent::start(Binary::Lictor, &["-dev"]);
    agent.wait_for_leadership();
    // A session needs its node in the catalog, where the leader puts it after it has said that it leads.
    get_until(agent.address, "/v1/health/service/consul", |found| found[0].is_object());
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
    http::request(address, method, path, b"").text()
}

/// A program that holds what it was given until its input ends.
struct Holder(Child);

impl Holder {
    /// Starts it with these flags at this prefix; returns once it runs.
    fn start(address: Ipv4Addr, flags: &[&str], prefix: &str) -> Holder {
        let words = [&["-pass-stdin"][..], flags, &[prefix, "echo held; read line; echo done"]].concat();
        let mut command = lock(address, &words);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary can be started");
        let output = child.stdout.as_mut().expect("it is piped");
        let mut said = [0; 5];
        output.read_exact(&mut said).expect("the program runs");
        assert_eq!(&said, b"held\n");
        Holder(child)
    }

    /// Lets it end; returns what else it said.
    fn end(mut self) -> String {
        self.0.stdin.take().expect("it is piped").write_all(b"go\n").expect("the program reads");
        let ended = self.0.wait_with_output().expect("our own child can be waited for");
        assert!(ended.status.success(), "{}", ended.status);
        String::from_utf8_lossy(&ended.stdout).into_owned()
    }
}

#[test]
fn one_holds_it_and_nothing_is_left_afterwards() {
    let agent = started();
    let holder = Holder::start(agent.address, &[], "jobs/backup");
    let late = output(agent.address, &["-timeout=100ms", "jobs/backup", "echo never"]);
    assert_eq!(late.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&late.stderr), "Shutdown triggered or timeout during lock acquisition\n");

    assert_eq!(holder.end(), "done\n");
    assert_eq!(request(agent.address, "GET", "/v1/session/list").trim(), "[]");
    let next = output(agent.address, &["-n=2", "jobs/backup", "echo $CONSUL_LOCK_HELD"]);
    assert_eq!(String::from_utf8_lossy(&next.stdout), "true\n");
    assert_eq!(request(agent.address, "GET", "/v1/kv/?keys").trim(), "[]", "no key is left");
}

#[test]
fn a_key_of_another_use_is_left_alone() {
    let agent = started();
    http::request(agent.address, "PUT", "/v1/kv/jobs/.lock", b"precious");
    let cases: [(&[&str], &str); 2] = [(&[], "lock"), (&["-n=2"], "semaphore")];
    for (flags, ours) in cases {
        let refused = output(agent.address, &[flags, &["jobs", "echo never"]].concat());
        let expected = format!("Lock acquisition failed: Existing key does not match {ours} use\n");
        assert_eq!(String::from_utf8_lossy(&refused.stderr), expected);
        assert_eq!((refused.status.code(), &*refused.stdout), (Some(1), &b""[..]));
    }
    assert_eq!(request(agent.address, "GET", "/v1/kv/jobs/.lock?raw"), "precious");
    let keys: Value = serde_json::from_str(&request(agent.address, "GET", "/v1/kv/?keys")).expect("there is a key");
    assert_eq!(keys, serde_json::json!(["jobs/.lock"]), "nothing is left of who was refused");
}

#[test]
fn a_lock_and_a_semaphore_do_not_take_each_other_s_keys() {
    let agent = started();
    let cases: [(&[&str], &[&str], &str); 2] = [(&["-n=2"], &[], "lock"), (&[], &["-n=2"], "semaphore")];
    for (flags, others, ours) in cases {
        let holder = Holder::start(agent.address, flags, "jobs");
        let refused = output(agent.address, &[others, &["jobs", "echo never"]].concat());
        let expected = format!("Lock acquisition failed: Existing key does not match {ours} use\n");
        assert_eq!(String::from_utf8_lossy(&refused.stderr), expected);
        assert_eq!((refused.status.code(), &*refused.stdout), (Some(1), &b""[..]));
        assert_eq!(holder.end(), "done\n", "it held on");
    }
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
    assert_eq!(ended.status.code(), Some(0), "it did not fail by itself");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "Error running handler: signal: terminated\n");
}

#[test]
fn a_program_that_fails_is_told_by_the_exit_code_where_that_is_wanted() {
    let agent = started();
    for (words, code) in [(&["jobs", "exit 3"][..], 0), (&["-child-exit-code", "jobs", "exit 3"], 2)] {
        let failed = output(agent.address, words);
        assert_eq!(failed.status.code(), Some(code), "{words:?}");
        assert_eq!(String::from_utf8_lossy(&failed.stderr), "Error running handler: exit status 3\n");
    }
}

#[test]
fn what_asks_it_to_end_is_passed_on_and_the_lock_given_back() {
    // It waits in the background, because a shell hears signals only between its commands.
    const SCRIPT: &str = r#"trap 'echo interrupted' INT
        trap 'echo terminated; kill -KILL $!; exit 3' TERM
        sleep 1000 >/dev/null 2>&1 &
        echo ready
        while :; do wait $!; done"#;
    let agent = started();
    for (signal, heard) in [(Signal::INT, "interrupted\nterminated\n"), (Signal::TERM, "terminated\n")] {
        let mut command = lock(agent.address, &["-shell=false", "-child-exit-code", "jobs", "/bin/sh", "-c", SCRIPT]);
        let holder = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut holder = holder.expect("the binary can be started");
        let output = holder.stdout.as_mut().expect("it is piped");
        let mut said = [0; 6];
        output.read_exact(&mut said).expect("the program runs");
        assert_eq!(&said, b"ready\n");
        for signal in [Signal::USR1, signal] {
            kill_process(Pid::from_child(&holder), signal).expect("our own child can be signalled");
        }
        let ended = holder.wait_with_output().expect("our own child can be waited for");
        assert_eq!(String::from_utf8_lossy(&ended.stdout), heard);
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "Error running handler: exit status 3\n");
        assert_eq!(ended.status.code(), Some(0), "it did not fail by itself");
        assert_eq!(request(agent.address, "GET", "/v1/session/list").trim(), "[]");
        assert_eq!(request(agent.address, "GET", "/v1/kv/?keys").trim(), "[]", "no key is left");
    }
}
