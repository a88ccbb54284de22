//! One agent process: started, waited for, killed, started again.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, thread};

use rustix::process::{Pid, Signal, kill_process};

use crate::namespaces::Host;
use crate::pool::until;
use crate::tools::programs_folder;

/// The longest an agent may take to lead, to stop, or to say an expected line.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Which agent to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// The one built from this tree, or the build that the variable `LICTOR` names (a program that runs it will do).
    Lictor,
    /// The same, but for the build that `LICTOR_PEER` names: what a build of another architecture is tried with.
    Peer,
    /// The real Consul 1.8.7.
    Consul,
}

impl Binary {
    /// Where the binary is.
    ///
    /// # Panics
    /// When it is not there, with the command that puts it there.
    pub fn path(self) -> PathBuf {
        let path = match self {
            Binary::Lictor | Binary::Peer => {
                let named = if self == Binary::Peer { "LICTOR_PEER" } else { "LICTOR" };
                env::var_os(named).map_or_else(|| programs_folder().join("lictor"), PathBuf::from)
            }
            Binary::Consul => {
                let home = PathBuf::from(env::var_os("HOME").expect("HOME is set"));
                let cache = env::var_os("PEERS_CACHE").map_or(home.join(".cache/lictor-peers"), PathBuf::from);
                cache.join("consul/usr/bin/consul")
            }
        };
        let cure = if self == Binary::Consul { "tests/setup" } else { "cargo build --workspace" };
        assert!(path.exists(), "{} is not there: run `{cure}` first", path.display());
        path
    }
}

/// A loopback address no other test of this run uses.
pub fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    // 127.0.x.x is left to everything else on the machine.
    Ipv4Addr::new(127, 64 | (high & 63), low, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A running agent. Dropping it kills the process.
pub struct Agent {
    /// Where it listens, on Consul's usual ports.
    pub address: Ipv4Addr,
    process: Child,
    lines: mpsc::Receiver<String>,
    said: Vec<String>,
}

impl Agent {
    /// Starts `binary agent` on an address of its own with these arguments.
    pub fn start(binary: Binary, arguments: &[&str]) -> Agent {
        Agent::start_at(own_address(), binary, arguments)
    }

    /// Starts `binary agent` on `address` with these arguments.
    pub fn start_at(address: Ipv4Addr, binary: Binary, arguments: &[&str]) -> Agent {
        Agent::spawn(Command::new(binary.path()), address, arguments)
    }

    /// Starts `lictor agent` as a member of a cluster whose addresses are `seeds`, with a data directory below `folder`. Elections are quick.
    pub fn start_member(folder: &Path, name: &str, address: Ipv4Addr, seeds: &[Ipv4Addr], more: &[&str]) -> Agent {
        let quick = config_file(folder, "quick.hcl", "performance { raft_multiplier = 1 }");
        let mut arguments =
            vec![format!("-node={name}"), format!("-config-file={quick}"), "-retry-interval=1s".to_owned()];
        arguments.push(format!("-data-dir={}", folder.join(name).display()));
        arguments.extend(seeds.iter().map(|seed| format!("-retry-join={seed}")));
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Agent::start_at(address, Binary::Lictor, &arguments)
    }

    /// The same with these environment variables.
    pub fn start_with(binary: Binary, variables: &[(&str, String)], arguments: &[&str]) -> Agent {
        let mut command = Command::new(binary.path());
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        Agent::spawn(command, own_address(), arguments)
    }

    /// Starts `lictor agent` on a host of a private network, with these environment variables and arguments.
    pub fn start_on(host: &Host, variables: &[(&str, String)], arguments: &[String]) -> Agent {
        let mut command = host.command(&Binary::Lictor.path());
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Agent::spawn(command, host.address, &arguments)
    }

    /// The same, but no file of it may grow past `file_kib_max`: a disk that is full.
    pub fn start_with_full_disk(address: Ipv4Addr, file_kib_max: u32, arguments: &[&str]) -> Agent {
        // With the signal ignored, a write past the limit fails instead of ending the process.
        let script = format!("trap '' XFSZ; ulimit -f {file_kib_max}; exec \"$0\" \"$@\"");
        let mut command = Command::new("bash");
        command.args(["-c", &script]).arg(Binary::Lictor.path());
        Agent::spawn(command, address, arguments)
    }

    /// The same on one processor, whatever the machine has.
    pub fn start_on_one_processor(arguments: &[&str]) -> Agent {
        let status = fs::read_to_string("/proc/self/status").expect("Linux tells a process about itself");
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map(str::trim);
        let first = allowed.and_then(|list| list.split(['-', ',']).next()).expect("it runs somewhere");
        let mut command = Command::new("taskset");
        command.args(["-c", first]).arg(Binary::Lictor.path());
        Agent::spawn(command, own_address(), arguments)
    }

    fn spawn(mut command: Command, address: Ipv4Addr, arguments: &[&str]) -> Agent {
        let mut process = command
            .arg("agent")
            .args([format!("-bind={address}"), format!("-client={address}")])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the binary can be started");
        let output = process.stdout.take().expect("standard output is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Agent { address, process, lines, said: Vec::new() }
    }

    /// Reads its output until a line contains `text`, and returns that line.
    ///
    /// # Panics
    /// When it exits or takes longer than [`PATIENCE`] first; prints all it said.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let found = line.contains(text).then(|| line.clone());
                    self.said.push(line);
                    if let Some(line) = found {
                        return line;
                    }
                }
                Err(error) => panic!("no line with {text:?} ({error}); it said:\n{}", self.said.join("\n")),
            }
        }
    }

    /// Waits until it leads, listens and heeds signals. Consul may elect itself before that; lictor does both before
    /// anything else.
    pub fn wait_for_leadership(&mut self) {
        const RUNS: &str = "Consul agent running!";
        self.wait_for_line("cluster leadership acquired");
        let has_said = |text: &str| self.said.iter().any(|line| line.contains(text));
        if has_said("Starting Consul agent") && !has_said(RUNS) {
            self.wait_for_line(RUNS);
        }
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(mut self) {
        self.process.kill().expect("our own child can be killed");
        self.process.wait().expect("our own child can be waited for");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, signal).expect("our own child can be signalled");
    }

    /// Waits until it exits by itself, and returns its exit code and all it said.
    ///
    /// # Panics
    /// When it ended by a signal, or not within [`PATIENCE`].
    pub fn wait(mut self) -> (i32, String) {
        let status =
            until(PATIENCE, "end of the agent", || self.process.try_wait().expect("our own child can be waited for"));
        let code = status.code().expect("it exited by itself");
        self.said.extend(self.lines.iter());
        (code, self.said.join("\n"))
    }

    /// Whether it has ended without being waited for.
    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().expect("our own child can be waited for").is_some()
    }

    /// All it has said so far.
    pub fn said(&mut self) -> &[String] {
        self.said.extend(self.lines.try_iter());
        &self.said
    }

    /// Runs `lictor` with these words against this agent; returns whether it succeeded, and what it said.
    pub fn command(&self, words: &[&str]) -> (bool, String) {
        let address = format!("http://{}:8500", self.address);
        let ran = Command::new(Binary::Lictor.path()).args(words).env("CONSUL_HTTP_ADDR", address).output();
        let ran = ran.expect("the binary can be started");
        let said = [ran.stdout, ran.stderr].concat();
        (ran.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Writes a configuration file into `folder` and returns its path.
pub fn config_file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).expect("a temporary folder is writable");
    path.to_string_lossy().into_owned()
}
