//! Watches: the command, and handlers of the agent's configuration. And the other command that runs on, `monitor`.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread;

use real::agent::{Agent, Binary, PATIENCE, config_file};
use real::http::{Connection, get_until, request};
use real::pool::until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn put(address: Ipv4Addr, path: &str, body: &str) {
    let mut connection = Connection::open(address).expect("the agent accepts connections");
    let status = connection.request("PUT", path, body.as_bytes()).expect("the agent answers").status;
    assert_eq!(status, 200, "{path}");
}

fn lictor(address: Ipv4Addr, words: &[&str]) -> Command {
    let mut command = Command::new(Binary::Lictor.path());
    command.args(words).env("CONSUL_HTTP_ADDR", format!("{address}:8500"));
    command
}

fn watch(address: Ipv4Addr, words: &[&str]) -> Command {
    lictor(address, &[&["watch"][..], words].concat())
}

fn started() -> Agent {
    let mut agent = Agent::start(Binary::Lictor, &["-dev"]);
    agent.wait_for_leadership();
    agent
}

/// A command that runs on, killed when dropped.
struct Following(Child);

impl Following {
    /// Starts it; its output comes line by line.
    fn start(mut command: Command) -> (Following, Lines<BufReader<ChildStdout>>, Lines<BufReader<ChildStderr>>) {
        let started = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = started.expect("the binary can be started");
        let output = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let errors = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        (Following(child), output, errors)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("our own child can be signalled");
    }

    /// Waits until it ends; its exit code, unless a signal ended it.
    fn code(&mut self) -> Option<i32> {
        self.0.wait().expect("our own child can be waited for").code()
    }
}

fn next(lines: &mut Lines<impl BufRead>) -> String {
    lines.next().expect("a line").expect("text")
}

impl Drop for Following {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_program_is_run_for_every_change() {
    let mut agent = Agent::start(Binary::Lictor, &["-dev"]);
    agent.wait_for_leadership();
    let mut command = watch(agent.address, &["-type=key", "-key=colour", "cat"]);
    let mut following = Following(command.stdout(Stdio::piped()).spawn().expect("the binary can be started"));
    let mut lines = BufReader::new(following.0.stdout.take().expect("it is piped")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert_eq!(next(), "null");
    put(agent.address, "/v1/kv/other", "x");
    for colour in ["red", "blue"] {
        put(agent.address, "/v1/kv/colour", colour);
        let news: Value = serde_json::from_str(&next()).expect("JSON");
        let expected = if colour == "red" { "cmVk" } else { "Ymx1ZQ==" };
        assert_eq!((&news["Key"], &news["Value"]), (&"colour".into(), &expected.into()));
    }
}

#[test]
fn without_a_program_it_prints_what_is_there_and_a_failing_program_ends_it() {
    let mut agent = Agent::start(Binary::Lictor, &["-dev"]);
    agent.wait_for_leadership();
    // The leader puts its service into the catalog after it has said that it leads.
    get_until(agent.address, "/v1/health/service/consul", |found| found[0].is_object());
    let printed = watch(agent.address, &["-type=services"]).output().expect("the binary can be started");
    assert_eq!(String::from_utf8_lossy(&printed.stdout), "{\n    \"consul\": []\n}\n");
    let failed = watch(agent.address, &["-type=nodes", "-shell=false", "false"]).output().expect("it can be started");
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&failed.stderr), "Error executing handler: exit status 1\n");
}

#[test]
fn a_program_is_run_again_when_the_agent_is_back() {
    let agent = started();
    let address = agent.address;
    let (_following, mut output, mut errors) = Following::start(watch(address, &["-type=key", "-key=colour", "cat"]));
    assert_eq!(next(&mut output), "null");
    agent.kill();
    let error = next(&mut errors);
    assert!(error.contains(" [ERROR] watch.watch: Watch errored: type=key error="), "{error}");
    assert!(error.ends_with(" retry=5s"), "{error}");
    let mut agent = Agent::start_at(address, Binary::Lictor, &["-dev"]);
    agent.wait_for_leadership();
    assert_eq!(next(&mut output), "null");
}

#[test]
fn without_a_program_it_waits_until_it_is_answered() {
    let agent = started();
    let words = ["-type=nodes", "-datacenter=dc9"];
    let (mut following, mut output, mut errors) = Following::start(watch(agent.address, &words));
    let error = next(&mut errors);
    let expected = "Watch errored: type=nodes error=\"Unexpected response code: 500 (No path to datacenter)\" retry=5s";
    assert!(error.ends_with(expected), "{error}");
    following.signal(Signal::TERM);
    assert_eq!(following.code(), Some(0));
    assert!(output.next().is_none(), "it has nothing to print");
}

#[test]
fn it_ends_well_when_it_is_asked_to() {
    let agent = started();
    for signal in [Signal::INT, Signal::TERM] {
        let words = ["-type=key", "-key=colour", "cat"];
        let (mut following, mut output, _errors) = Following::start(watch(agent.address, &words));
        assert_eq!(next(&mut output), "null");
        following.signal(Signal::USR1);
        following.signal(signal);
        assert_eq!(following.code(), Some(0), "{signal:?}");
    }
}

#[test]
fn a_program_that_runs_is_asked_to_end_too() {
    // It waits in the background, because a shell hears signals only between its commands.
    const SCRIPT: &str = r#"trap 'echo terminated; kill -KILL $!; exit' TERM
        sleep 1000 >/dev/null 2>&1 &
        echo ready
        wait"#;
    let agent = started();
    let words = ["-type=nodes", "-shell=false", "/bin/sh", "-c", SCRIPT];
    let (mut following, mut output, _errors) = Following::start(watch(agent.address, &words));
    assert_eq!(next(&mut output), "ready");
    following.signal(Signal::TERM);
    assert_eq!(following.code(), Some(0));
    assert_eq!(next(&mut output), "terminated");
}

#[test]
fn the_monitor_ends_well_when_it_is_asked_to() {
    let agent = started();
    for signal in [Signal::INT, Signal::TERM] {
        let command = lictor(agent.address, &["monitor", "-log-level=debug"]);
        let (mut following, mut output, _errors) = Following::start(command);
        let reader = thread::spawn(move || next(&mut output));
        until(PATIENCE, "line of the log", || {
            request(agent.address, "GET", "/v1/status/leader", b"");
            reader.is_finished().then_some(())
        });
        following.signal(signal);
        assert_eq!(following.code(), Some(0), "{signal:?}");
    }
}

#[test]
fn the_agent_runs_a_script_for_an_event_and_posts_a_change() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/news", listener.local_addr().expect("it is bound"));
    let text = format!(
        r#"watches = [
            {{ type = "event", name = "deploy", args = ["cat"] }},
            {{ type = "key", key = "colour", handler_type = "http", http_handler_config {{ path = "{url}" }} }}
        ]"#
    );
    let file = config_file(folder.path(), "watches.hcl", &text);
    let mut agent = Agent::start(Binary::Lictor, &["-dev", "-config-file", &file]);
    agent.wait_for_leadership();

    let (mut stream, _) = listener.accept().expect("it posts what is there at first");
    let mut request = vec![0; 4096];
    let mut said = String::new();
    while !said.ends_with("\r\n\r\nnull") {
        let size = stream.read(&mut request).expect("the request goes on");
        said.push_str(&String::from_utf8_lossy(&request[..size]));
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("it listens");
    let lower = said.to_ascii_lowercase();
    assert!(said.starts_with("POST /news HTTP/1.1\r\n") && lower.contains("x-consul-index: "), "{said}");

    put(agent.address, "/v1/event/fire/deploy", "1.2.3");
    agent.wait_for_line("MS4yLjM=");
}

#[test]
fn a_watch_that_makes_no_sense_is_named_at_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = config_file(
        folder.path(),
        "watches.hcl",
        r#"data_dir = "/x" bind_addr = "127.0.0.1" watches = [{ type = "key", args = ["cat"] }]"#,
    );
    let output = Command::new(Binary::Lictor.path()).args(["validate", &file]).output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("watches[0]: Must specify a single key to watch"), "{said}");
}
