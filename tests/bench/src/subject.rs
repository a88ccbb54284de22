//! One process under measurement: an agent with a data folder and a loopback address of its own, or a limit server.
//!
//! Starts it, waits until it is ready, reads its counters, stops it. The process ends with the value, by its
//! handle. What it is asked to do is the parts' affair.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use real::agent::own_address;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::caller::Caller;
use crate::etcd;
use crate::options::{Kind, Options};
use crate::process::{Usage, size_on_disk, usage};
use crate::wire;

/// How an agent is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In memory, with `-dev`.
    Dev,
    /// One durable server with the timing of a fresh installation.
    Durable,
    /// One durable server with `raft_multiplier = 1`, which Consul's guide advises for production.
    Quick,
}

/// Who an agent is among others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A server that is a cluster by itself.
    Alone,
    /// One of this many servers that form a cluster, with the addresses of all.
    Server(Vec<Ipv4Addr>),
    /// A client, with the addresses of servers.
    Client(Vec<Ipv4Addr>),
}

/// What load is put on.
pub trait Target {
    /// Where the HTTP API that is asked listens.
    fn api(&self) -> SocketAddr;

    /// Lets time pass.
    fn pause(&self, length: Duration);

    /// The counters of all that has work from it.
    ///
    /// # Errors
    /// A process is gone.
    fn usage(&self) -> io::Result<Usage>;
}

impl Target for Subject {
    fn api(&self) -> SocketAddr {
        wire::api(self.address)
    }

    fn pause(&self, length: Duration) {
        self.caller.pause(length);
    }

    fn usage(&self) -> io::Result<Usage> {
        usage(self.process.id())
    }
}

/// Both agents take ten thousand watchers from one address, write no log lines, and call nobody. Consul wants
/// room below the limit of open files for more than its connections.
const CONFIGURATION: &str = r#"
log_level = "err"
disable_update_check = true
limits { http_max_conns_per_client = 15000 }
"#;

/// Where its standard output goes, in its folder.
const OUTPUT: &str = "output";

/// What an agent's configuration has beyond what all have, in its folder.
const MORE: &str = "more.hcl";

/// A running process. Dropping it ends the process and removes its folder.
pub struct Subject {
    /// Who it is.
    pub kind: Kind,
    /// When it was started.
    pub started: Instant,
    /// Where it listens.
    pub address: Ipv4Addr,
    /// Asks it questions.
    pub caller: Caller,
    process: Child,
    folder: TempDir,
    mode: Mode,
    role: Role,
}

impl Subject {
    /// Starts one and does not wait.
    ///
    /// # Errors
    /// The binary cannot be started, or no folder be made.
    pub fn start(options: &Options, kind: Kind, mode: Mode) -> io::Result<Subject> {
        Subject::start_below(&[], options, kind, mode)
    }

    /// As [`Subject::start`], with a command before the agent's, such as a tracer that replaces itself with it.
    ///
    /// # Errors
    /// The command cannot be started, or no folder be made.
    pub fn start_below(prefix: &[&str], options: &Options, kind: Kind, mode: Mode) -> io::Result<Subject> {
        Subject::start_at(own_address(), Role::Alone, prefix, options, kind, mode)
    }

    /// As [`Subject::start_below`], at an address of the caller's and with a role.
    ///
    /// # Errors
    /// The command cannot be started, or no folder be made.
    pub fn start_at(
        address: Ipv4Addr,
        role: Role,
        prefix: &[&str],
        options: &Options,
        kind: Kind,
        mode: Mode,
    ) -> io::Result<Subject> {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(data_folder()?)?;
        let mut command = command(prefix, options, kind, mode, &role, address, folder.path())?;
        let caller = Caller::new(address)?;
        let started = Instant::now();
        let process = spawn(&mut command, folder.path(), !prefix.is_empty())?;
        Ok(Subject { kind, started, address, caller, process, folder, mode, role })
    }

    /// Starts one and waits until it leads.
    ///
    /// # Errors
    /// It cannot be started, or does not lead in time.
    pub fn ready(options: &Options, kind: Kind, mode: Mode) -> io::Result<Subject> {
        let mut subject = Subject::start(options, kind, mode)?;
        subject.wait_for_leadership()?;
        Ok(subject)
    }

    /// Waits until it says that it leads.
    ///
    /// # Errors
    /// It does not in time.
    pub fn wait_for_leadership(&mut self) -> io::Result<()> {
        let leads = |body: &[u8]| body.len() > br#""""#.len();
        self.wait_until("/v1/status/leader", leads)
    }

    /// Asks until the answer has the status 200 and satisfies `enough`.
    ///
    /// # Errors
    /// It does not in time, or the process ended; with the last lines it printed.
    pub fn wait_until(&mut self, path: &str, enough: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        let Subject { caller, process, folder, .. } = self;
        let running = || matches!(process.try_wait(), Ok(None));
        caller.get_until(path, running, enough).map_err(|error| {
            let said = fs::read_to_string(folder.path().join(OUTPUT)).unwrap_or_default();
            let from = said.lines().count().saturating_sub(20);
            let last: Vec<_> = said.lines().skip(from).collect();
            io::Error::other(format!("{error}\n{}", last.join("\n")))
        })
    }

    /// Writes what an agent shall have in its configuration beyond what all have, and starts it again with that until it leads.
    ///
    /// # Errors
    /// It does not stop, cannot be started, or does not lead in time.
    pub fn configure(&mut self, options: &Options, more: &str) -> io::Result<()> {
        fs::write(self.folder.path().join(MORE), more)?;
        self.restart(options)?;
        self.wait_for_leadership()
    }

    /// Stops it as an operator does, and starts it again on the same data without waiting.
    ///
    /// # Errors
    /// It does not stop, or cannot be started.
    pub fn restart(&mut self, options: &Options) -> io::Result<()> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        self.process.wait()?;
        self.caller = Caller::new(self.address)?;
        let mut command = command(&[], options, self.kind, self.mode, &self.role, self.address, self.folder.path())?;
        self.started = Instant::now();
        self.process = spawn(&mut command, self.folder.path(), false)?;
        Ok(())
    }

    /// Waits until it has used next to no processor time for a quarter of a second, twice; at most ten seconds.
    ///
    /// # Errors
    /// It is gone.
    pub fn settle(&self) -> io::Result<()> {
        self.settle_within(Duration::from_secs(10))
    }

    /// The same within another time, where nothing but the next step depends on it.
    ///
    /// # Errors
    /// It is gone.
    pub fn settle_within(&self, limit: Duration) -> io::Result<()> {
        const LOOK: Duration = Duration::from_millis(250);
        let deadline = Instant::now() + limit;
        let mut calm = 0;
        let mut before = self.usage()?.cpu;
        while calm < 2 && Instant::now() < deadline {
            self.caller.pause(LOOK);
            let after = self.usage()?.cpu;
            calm = if after - before <= LOOK / 25 { calm + 1 } else { 0 };
            before = after;
        }
        Ok(())
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What its data takes on the disk.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn size_on_disk(&self) -> io::Result<u64> {
        size_on_disk(self.folder.path())
    }

    /// Where it answers DNS over UDP.
    pub fn dns(&self) -> SocketAddr {
        (self.address, 8600).into()
    }

    /// Kills it, and returns what came through its standard error, when that was kept for a tracer.
    ///
    /// # Errors
    /// Reading fails.
    pub fn kill(mut self) -> io::Result<String> {
        self.process.kill()?;
        self.process.wait()?;
        let mut said = String::new();
        if let Some(mut stderr) = self.process.stderr.take() {
            io::Read::read_to_string(&mut stderr, &mut said)?;
        }
        Ok(said)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The folder data goes to: beside the binary, because a temporary folder may be in memory, where fsync is free.
///
/// # Errors
/// This binary has no path.
pub fn data_folder() -> io::Result<std::path::PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().ok_or_else(|| io::Error::other("this binary has no folder"))?;
    Ok(folder.to_owned())
}

fn spawn(command: &mut Command, folder: &Path, keep_errors: bool) -> io::Result<Child> {
    let output = File::create(folder.join(OUTPUT))?;
    let errors = if keep_errors { Stdio::piped() } else { Stdio::from(output.try_clone()?) };
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    command.spawn().map_err(|error| io::Error::other(format!("could not start {command:?}: {error}")))
}

fn command(
    prefix: &[&str],
    options: &Options,
    kind: Kind,
    mode: Mode,
    role: &Role,
    address: Ipv4Addr,
    folder: &Path,
) -> io::Result<Command> {
    let own;
    let binary = match kind {
        Kind::Lictor => &options.lictor,
        Kind::Consul => &options.consul,
        Kind::Etcd => &options.etcd,
        Kind::Limit => {
            own = std::env::current_exe()?;
            &own
        }
    };
    let mut words = prefix.iter().map(std::ffi::OsStr::new).chain([binary.as_os_str()]);
    let mut command = Command::new(words.next().expect("the binary is a word"));
    command.args(words);
    match kind {
        Kind::Limit => command.args(["serve-limit", &address.to_string()]),
        Kind::Lictor | Kind::Consul => command.args(arguments(mode, role, address, folder)?),
        Kind::Etcd => command.args(etcd::arguments(role, address, folder)),
    };
    Ok(command)
}

fn arguments(mode: Mode, role: &Role, address: Ipv4Addr, folder: &Path) -> io::Result<Vec<String>> {
    let file = folder.join("agent.hcl");
    let performance = if mode == Mode::Quick { "performance { raft_multiplier = 1 }\n" } else { "" };
    fs::write(&file, format!("{CONFIGURATION}{performance}"))?;
    let mut words = vec!["agent".to_owned(), format!("-bind={address}"), format!("-client={address}")];
    words.push(format!("-config-file={}", file.display()));
    let more = folder.join(MORE);
    if more.exists() {
        words.push(format!("-config-file={}", more.display()));
    }
    if mode == Mode::Dev {
        words.push("-dev".to_owned());
        return Ok(words);
    }
    words.push(format!("-data-dir={}", folder.join("data").display()));
    words.push(format!("-node=n-{}", address.to_string().replace('.', "-")));
    let seeds = match role {
        Role::Alone => {
            words.extend(["-server".to_owned(), "-bootstrap-expect=1".to_owned()]);
            &Vec::new()
        }
        Role::Server(seeds) => {
            words.extend(["-server".to_owned(), format!("-bootstrap-expect={}", seeds.len())]);
            seeds
        }
        Role::Client(seeds) => seeds,
    };
    words.extend(seeds.iter().map(|seed| format!("-retry-join={seed}")));
    words.push("-retry-interval=1s".to_owned());
    Ok(words)
}
