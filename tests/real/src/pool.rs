//! Servers and clients of one cluster, each agent on a host of its own that may be killed, paused, cut off or restarted.
//!
//! Every agent keeps its data directory and arguments, so it comes back as what it was. Whoever talks to an agent does
//! so from its host: what happens to the network between hosts does not come between an agent and its user.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::agent::{Agent, PATIENCE, config_file};
use crate::http::Response;
use crate::namespaces::{Host, Network, SmallDisk};

/// How long one answer may take before a test goes on without it.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// A cluster. Dropping it kills its agents and removes its network.
pub struct Pool {
    // Dropped in this order: processes, then what they run on.
    agents: Vec<Option<Agent>>,
    members: Vec<Member>,
    network: Network,
    /// Holds the configuration and the data directories, `s1` and so on.
    _folder: TempDir,
    servers: usize,
}

/// What a cluster consists of.
#[derive(Clone, Copy, Default)]
pub struct Plan<'a> {
    /// How many servers.
    pub servers: usize,
    /// How many clients.
    pub clients: usize,
    /// The configuration of all, in HCL.
    pub config: &'a str,
    /// The agent whose data is on a disk of its own.
    pub disk: Option<(usize, &'a SmallDisk)>,
    /// Whether the agents' wall clocks can be set, see [`Pool::set_clock`].
    pub clocks: bool,
}

/// The configuration file that all agents read.
const CONFIG: &str = "all.hcl";

/// Debian's libfaketime. It answers what a program asks the C library about the wall clock.
const FAKE_TIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Where libfaketime finds how far the clock is off.
const CLOCK: &str = "FAKETIME_TIMESTAMP_FILE";

/// What an agent is started with every time.
struct Member {
    name: String,
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
    /// In its former lives.
    said: Vec<String>,
}

impl Pool {
    /// Starts servers `s1`, `s2`… and then clients `c1`, `c2`…; their places are counted from 0, servers first. Returns
    /// when all servers know each other and every agent a leader.
    pub fn start(plan: &Plan) -> Pool {
        let Plan { servers, clients, .. } = *plan;
        let network = Network::of(servers + clients);
        let folder = tempfile::tempdir().expect("a temporary folder");
        config_file(folder.path(), CONFIG, plan.config);
        let members = (0..servers + clients).map(|place| member(plan, place, &network, folder.path())).collect();
        let agents = (0..servers + clients).map(|_| None).collect();
        let mut pool = Pool { agents, members, network, _folder: folder, servers };
        (0..servers).for_each(|place| pool.begin(place));
        for place in 0..servers {
            pool.wait_for_peers(place, servers);
        }
        (servers..servers + clients).for_each(|place| pool.begin(place));
        for place in servers..servers + clients {
            until(PATIENCE, "client that reaches a leader", || pool.leader_seen_by(place));
        }
        pool
    }

    fn wait_for_peers(&self, place: usize, count: usize) {
        until(PATIENCE, "a cluster with a leader", || {
            let peers = self.get(place, "/v1/status/peers")?;
            (peers.as_array()?.len() == count && self.leader_seen_by(place).is_some()).then_some(())
        });
    }

    /// The places of the servers.
    pub fn servers(&self) -> std::ops::Range<usize> {
        0..self.servers
    }

    /// The places of the clients.
    pub fn clients(&self) -> std::ops::Range<usize> {
        self.servers..self.members.len()
    }

    /// The network the agents are on.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Where an agent runs.
    pub fn host(&self, place: usize) -> &Host {
        self.network.host(place)
    }

    /// What an agent is called.
    pub fn name(&self, place: usize) -> &str {
        &self.members[place].name
    }

    /// An agent that runs.
    ///
    /// # Panics
    /// When it does not.
    pub fn agent(&mut self, place: usize) -> &mut Agent {
        self.agents[place].as_mut().expect("the agent runs")
    }

    /// Starts an agent that does not run.
    pub fn begin(&mut self, place: usize) {
        assert!(self.agents[place].is_none(), "{} runs already", self.members[place].name);
        let Member { arguments, variables, .. } = &self.members[place];
        self.agents[place] = Some(Agent::start_on(self.network.host(place), variables, arguments));
    }

    /// Sets the wall clock of an agent, relative to the real one: `+1d`, `-30s`, `+0`.
    ///
    /// # Panics
    /// When the pool was made without such clocks.
    pub fn set_clock(&self, place: usize, offset: &str) {
        let clock = self.members[place].variables.iter().find(|(name, _)| *name == CLOCK);
        fs::write(&clock.expect("the plan has clocks").1, offset).expect("a temporary folder is writable");
    }

    /// Whether an agent was started and not taken down since; it may have ended by itself.
    pub fn is_up(&self, place: usize) -> bool {
        self.agents[place].is_some()
    }

    fn take(&mut self, place: usize) -> Agent {
        self.agents[place].take().expect("the agent runs")
    }

    /// `kill -9`.
    pub fn kill(&mut self, place: usize) {
        let mut agent = self.take(place);
        self.members[place].said.extend_from_slice(agent.said());
        agent.kill();
    }

    /// SIGTERM; returns its exit code and all it said in this life.
    pub fn terminate(&mut self, place: usize) -> (i32, String) {
        self.agent(place).signal(Signal::TERM);
        self.wait(place)
    }

    /// Waits until an agent exits by itself; returns its exit code and all it said in this life.
    pub fn wait(&mut self, place: usize) -> (i32, String) {
        let (code, said) = self.take(place).wait();
        self.members[place].said.extend(said.lines().map(str::to_owned));
        (code, said)
    }

    /// Writes all that each agent said in all its lives into this folder, a file each.
    ///
    /// # Panics
    /// When the folder can't be written.
    pub fn write_logs(&mut self, folder: &Path) {
        fs::create_dir_all(folder).expect("the folder can be made");
        for (member, agent) in self.members.iter().zip(&mut self.agents) {
            let now = agent.as_mut().map(Agent::said).unwrap_or_default();
            let all = [&member.said, now].concat().join("\n");
            fs::write(folder.join(format!("{}.log", member.name)), all).expect("the folder can be written");
        }
    }

    /// Sends a signal to an agent. One that is stopped is so when this returns: a thread that still ran would answer.
    pub fn signal(&mut self, place: usize, signal: Signal) {
        let agent = self.agent(place);
        agent.signal(signal);
        if signal == Signal::STOP {
            let id = agent.id();
            until(PATIENCE, "agent that stands still", || is_stopped(id).then_some(()));
        }
    }

    /// Asks an agent over a connection of its own.
    ///
    /// # Errors
    /// It does not answer in time, or not at all.
    pub fn request(&self, place: usize, method: &str, path: &str, body: &[u8]) -> io::Result<Response> {
        self.host(place).connect()?.with_patience(ANSWER_PATIENCE)?.request(method, path, body)
    }

    /// The JSON that an agent answers with 200; anything else is `None`.
    pub fn get(&self, place: usize, path: &str) -> Option<Value> {
        let answer = self.request(place, "GET", path, b"").ok().filter(|answer| answer.status == 200)?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// Writes a value through an agent; whether that was acknowledged.
    pub fn put(&self, place: usize, key: &str, value: &str) -> bool {
        let answer = self.request(place, "PUT", &format!("/v1/kv/{key}"), value.as_bytes());
        answer.is_ok_and(|answer| answer.status == 200 && answer.text().trim() == "true")
    }

    /// What an agent answers when asked for a value with these parameters (`&stale`, say); `None` without an answer.
    pub fn value(&self, place: usize, key: &str, parameters: &str) -> Option<String> {
        let answer = self.request(place, "GET", &format!("/v1/kv/{key}?raw{parameters}"), b"").ok()?;
        (answer.status == 200).then(|| answer.text())
    }

    /// Which server leads, as this agent sees it.
    pub fn leader_seen_by(&self, place: usize) -> Option<usize> {
        let leader = self.get(place, "/v1/status/leader")?;
        let address: Ipv4Addr = leader.as_str()?.split(':').next()?.parse().ok()?;
        self.servers().find(|server| self.host(*server).address == address)
    }

    /// Which server leads, once all running servers agree.
    pub fn leader(&self) -> usize {
        until(PATIENCE, "servers that agree on a leader", || {
            let mut running = self.servers().filter(|place| self.agents[*place].is_some());
            let leader = self.leader_seen_by(running.next()?)?;
            (self.agents[leader].is_some() && running.all(|place| self.leader_seen_by(place) == Some(leader)))
                .then_some(leader)
        })
    }

    /// How a member looks to an agent: `alive`, `failed`, `left`…; `None` when it is not known.
    pub fn status_of(&self, member: usize, seen_by: usize) -> Option<&'static str> {
        let members = self.get(seen_by, "/v1/agent/members")?;
        let found = members.as_array()?.iter().find(|found| found["Name"] == self.name(member))?;
        // serf's numbers.
        const NAMES: [&str; 5] = ["none", "alive", "leaving", "left", "failed"];
        NAMES.get(usize::try_from(found["Status"].as_u64()?).ok()?).copied()
    }
}

fn member(plan: &Plan, place: usize, network: &Network, folder: &Path) -> Member {
    let is_server = place < plan.servers;
    let name = if is_server { format!("s{}", place + 1) } else { format!("c{}", place - plan.servers + 1) };
    let data = match plan.disk {
        Some((full, disk)) if full == place => disk.path().join("data"),
        Some(_) | None => folder.join(&name),
    };
    let mut arguments = vec![format!("-node={name}"), format!("-config-file={}", folder.join(CONFIG).display())];
    arguments.extend([format!("-data-dir={}", data.display()), "-retry-interval=1s".to_owned()]);
    if is_server {
        arguments.extend(["-server".to_owned(), format!("-bootstrap-expect={}", plan.servers)]);
    }
    let seeds = (0..plan.servers).map(|server| network.host(server).address);
    arguments.extend(seeds.map(|seed| format!("-retry-join={seed}")));
    let mut variables = Vec::new();
    if plan.clocks {
        assert!(Path::new(FAKE_TIME).exists(), "{FAKE_TIME} is not there: run tests/setup");
        let clock = config_file(folder, &format!("{name}.clock"), "+0");
        let only_the_wall_clock = ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned());
        let at_once = ("FAKETIME_NO_CACHE", "1".to_owned());
        variables.extend([("LD_PRELOAD", FAKE_TIME.to_owned()), (CLOCK, clock), only_the_wall_clock, at_once]);
    }
    Member { name, arguments, variables, said: Vec::new() }
}

/// Looks until there is something to see, and returns it.
///
/// # Panics
/// When there is nothing within `patience`.
#[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "processes run in real time")]
pub fn until<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < patience, "no {what} within {patience:?}");
        sleep(Duration::from_millis(20));
    }
}

/// Whether every thread of a process is stopped (proc(5): the state behind the name, which may contain anything).
fn is_stopped(id: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{id}/task")).expect("our own child has threads");
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}

/// Does something over and over until this much time has passed.
#[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "processes run in real time")]
pub fn throughout(time: Duration, mut act: impl FnMut()) {
    let began = std::time::Instant::now();
    while began.elapsed() < time {
        act();
        sleep(Duration::from_millis(20));
    }
}
