//! The hosts of a world: each with an agent, a disk, and clocks of its own.
//!
//! Every life of an agent has a runtime of its own, so that a crash takes all
//! its tasks at once, and so that its clock can be fast, slow or stand still.
//! A process that is stopped finds its clock far ahead when it goes on, as
//! after SIGSTOP, or where it was, as after a suspended machine.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_core::dns::DnsConfig;
use agent_core::health::spec::{CheckSpec, Outcome};
use agent_core::state::tables::Status;
use agent_core::store::Store;
use agent_daemon::agent::{Agent, Parts, Settings};
use agent_daemon::checks::Prober;
use agent_daemon::dns::{DnsDesk, policy};
use agent_daemon::env::{BoxFuture, Env, ListenAddress};
use agent_daemon::gossip::{self, RetryJoin, keep_joining};
use agent_daemon::rpc::DnsHead;
use agent_raft::Consensus;
use tokio::runtime::{Builder, Runtime};

use super::clock::{Clock, STEP_US, WallClock};
use super::net::Net;
use super::streams::HostNetwork;
use crate::disk::SimDisks;
use crate::outside::SimRandom;
use crate::trace::Trace;

/// What a host is made of.
pub struct Host {
    /// The node's name.
    pub name: String,
    /// Whether it has a server; a client otherwise.
    pub is_server: bool,
    /// Its address.
    pub ip: IpAddr,
    /// What survives its crashes.
    pub disks: SimDisks,
    /// What its clock shows.
    pub wall: WallClock,
    /// How many microseconds its clock counts while a millisecond passes.
    pub rate: u64,
    /// The life of its process, while it has one.
    pub life: Option<Life>,
    settings: Settings,
    random: SimRandom,
    peers: Vec<String>,
    stopped_until: u64,
}

/// One life of an agent's process.
pub struct Life {
    runtime: Runtime,
    seat: Seat,
    /// Which life of the world it is.
    pub number: u64,
    /// How many milliseconds it has run.
    pub ran_ms: u64,
    owed_us: u64,
    stopped: Option<Stopped>,
}

#[derive(Clone, Copy)]
struct Stopped {
    since: u64,
    clock_goes_on: bool,
}

/// Where an agent is put when it has started.
type Seat = Arc<Mutex<Started>>;

#[derive(Default)]
enum Started {
    #[default]
    NotYet,
    /// The agent, and a server's desk for DNS.
    Runs(Box<(Agent, Option<DnsDesk>)>),
    /// Why it ended by itself, or did not start.
    Failed(String),
}

impl Life {
    fn seat(&self) -> MutexGuard<'_, Started> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the agent, if it has started.
    pub fn look<T>(&self, look: impl FnOnce(&Agent) -> T) -> Option<T> {
        match &*self.seat() {
            Started::Runs(running) => Some(look(&running.0)),
            Started::NotYet | Started::Failed(_) => None,
        }
    }

    /// The replicated state it holds, if it has started and is a server.
    pub fn store(&self) -> Option<Arc<Store>> {
        self.look(|agent| agent.server().map(|server| server.store.clone()))?
    }

    /// Its consensus handle, if it has started and is a server.
    pub fn consensus(&self) -> Option<Consensus> {
        self.look(|agent| agent.server().map(|server| server.consensus.clone()))?
    }

    /// What it answers to a client agent's DNS packet over UDP, if it has started and is a server.
    pub fn ask_dns(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let Started::Runs(running) = &*self.seat() else { return None };
        let head = DnsHead { tcp: false, policy: policy::encode(&DnsConfig::default()), resolved: None };
        let reply = running.1.as_ref()?.answer(&head, packet).expect("we ask as clients do");
        Some(reply.packet.to_vec())
    }

    /// Runs something beside the agent, in its time and with its end.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        // Nobody waits for it.
        drop(self.runtime.spawn(work));
    }

    /// Why it ended by itself, or did not start.
    pub fn failure(&self) -> Option<String> {
        match &*self.seat() {
            Started::Failed(why) => Some(why.clone()),
            Started::NotYet | Started::Runs(_) => None,
        }
    }

    /// Whether its process stands still.
    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }
}

/// What all hosts of a world share.
pub struct Ground {
    /// The world's time.
    pub clock: Clock,
    /// The network.
    pub net: Net,
    /// What happened.
    pub trace: Trace,
}

impl Host {
    /// Host `number`, down, with an empty disk. The first `servers` have servers.
    pub fn new(seed: u64, number: usize, servers: usize, ground: &Ground) -> Host {
        let random = SimRandom::new(seed.wrapping_mul(1_000).wrapping_add(number as u64));
        let ip = address(number);
        let is_server = number < servers;
        let name = if is_server { format!("s{number}") } else { format!("c{}", number - servers) };
        let wall = WallClock::new(&ground.clock, 0);
        let others = (0..servers).filter(|other| *other != number);
        Host {
            settings: settings(&name, number, is_server.then_some(servers), seed),
            is_server,
            disks: SimDisks::new(random.clone()),
            rate: 950 + random.below(101),
            wall,
            name,
            ip,
            life: None,
            random,
            peers: others.map(|other| address(other).to_string()).collect(),
            stopped_until: 0,
        }
    }

    /// Where its HTTP API listens.
    pub fn http(&self) -> SocketAddr {
        SocketAddr::new(self.ip, 8500)
    }

    /// Starts its agent on whatever its disk holds.
    ///
    /// # Panics
    /// When the runtime cannot be built.
    pub fn boot(&mut self, ground: &Ground, number: u64) {
        ground.trace.note(format_args!("{} boots", self.name));
        ground.net.boot(self.ip);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without I/O asks nothing of the system");
        let network = HostNetwork { net: ground.net.clone(), host: self.ip };
        let (clock, random, disks) = (Arc::new(self.wall.clone()), Arc::new(self.random.clone()), self.disks.clone());
        let (settings, seat) = (self.settings.clone(), Seat::default());
        let peers = RetryJoin { addresses: self.peers.clone(), interval: Duration::from_secs(1), attempts_max: 0 };
        let taken = seat.clone();
        runtime.spawn(async move {
            let env = Env::new(clock, random, Arc::new(network)).with_disks(Arc::new(disks));
            let parts = Parts { prober: Arc::new(AlwaysPassing), plugins: None, log: None };
            let put = |started| *taken.lock().unwrap_or_else(PoisonError::into_inner) = started;
            let agent = match Agent::start(settings, env.clone(), parts).await {
                Ok(agent) => agent,
                Err(error) => return put(Started::Failed(format!("does not start on what a crash left: {error}"))),
            };
            let (broken, pool) = (agent.broken(), agent.gossip().clone());
            let desk = agent.server().map(|server| DnsDesk::new(server.store.clone(), "dc1", env));
            put(Started::Runs(Box::new((agent, desk))));
            tokio::spawn(async move { keep_joining(pool, peers).await.expect("it never gives up") });
            let why = broken.await;
            put(Started::Failed(format!("stopped: {why}")));
        });
        self.stopped_until = 0;
        self.life = Some(Life { runtime, seat, number, ran_ms: 0, owed_us: 0, stopped: None });
    }

    /// Ends its process, or cuts its power.
    pub fn crash(&mut self, ground: &Ground, power_failed: bool) {
        let Some(life) = self.life.take() else { return };
        ground.trace.note(format_args!("{} crashes, power failed: {power_failed}", self.name));
        ground.net.crash(self.ip, power_failed);
        self.disks.crash();
        let Life { runtime, seat, .. } = life;
        drop(runtime);
        drop(seat);
    }

    /// Stops its process for a while. `clock_goes_on` tells whether it will find its clock ahead.
    pub fn stop(&mut self, ground: &Ground, time: Duration, clock_goes_on: bool) {
        let Some(life) = &mut self.life else { return };
        ground.trace.note(format_args!("{} stands still for {time:?}, its clock goes on: {clock_goes_on}", self.name));
        life.stopped.get_or_insert(Stopped { since: ground.clock.us(), clock_goes_on });
        self.stopped_until = ground.clock.after(time);
    }

    /// Lets a process go on that stands still.
    pub fn go_on(&mut self) {
        self.stopped_until = 0;
    }

    /// Lets its process run for one step of the world.
    pub fn step(&mut self, clock: &Clock) {
        let (now, rate) = (clock.us(), self.rate);
        let Some(life) = &mut self.life else { return };
        if now < self.stopped_until {
            return;
        }
        if let Some(Stopped { since, clock_goes_on: true }) = life.stopped.take() {
            life.runtime.block_on(async { tokio::time::advance(Duration::from_micros(now - since)).await });
        }
        life.owed_us += rate;
        while life.owed_us >= STEP_US {
            life.owed_us -= STEP_US;
            life.ran_ms += 1;
            life.runtime.block_on(async { tokio::time::sleep(Duration::from_micros(STEP_US)).await });
        }
    }
}

fn address(number: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, u8::try_from(number + 1).expect("few hosts")])
}

/// A server that expects so many of its kind, or a client.
fn settings(name: &str, number: usize, expect: Option<usize>, seed: u64) -> Settings {
    let ip = address(number);
    let id = format!("7a1a6d5e-0000-4000-8000-{:012}", number + 1);
    let mut settings = Settings::alone(name, &id, SocketAddr::new(ip, 8500), seed);
    (settings.identity.bootstrap, settings.identity.server) = (false, expect.is_some());
    settings.http = vec![ListenAddress::Tcp(SocketAddr::new(ip, 8500))];
    (settings.rpc_address, settings.rpc_bind) = (SocketAddr::new(ip, 8300), SocketAddr::new(ip, 8300));
    (settings.expect, settings.elects_itself) = (expect.unwrap_or(0), false);
    let who = gossip::Identity {
        bootstrap: false,
        expect: u32::try_from(expect.unwrap_or(0)).expect("few servers"),
        server_port: settings.gossip.identity.server_port.filter(|_| expect.is_some()),
        ..settings.gossip.identity
    };
    settings.gossip = gossip::Settings::lan(who, SocketAddr::new(ip, 8301));
    settings
}

/// Every check passes: what they probe is not part of the world.
struct AlwaysPassing;

impl Prober for AlwaysPassing {
    fn probe<'a>(&'a self, _: &'a CheckSpec) -> BoxFuture<'a, Outcome> {
        Box::pin(async { Outcome { status: Status::Passing, output: String::new() } })
    }
}
