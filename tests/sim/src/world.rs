//! One world: an agent, its disk and network, clients, and what goes wrong.
//!
//! First chaos, then healing: everything works again, what was left alone must
//! end, and every acknowledged write is looked for. The agent is a whole one,
//! with everything but DNS; only the outside is simulated.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_core::health::spec::{CheckSpec, Outcome};
use agent_core::state::tables::Status;
use agent_daemon::agent::{Agent, Parts, Settings};
use agent_daemon::checks::Prober;
use agent_daemon::env::{BoxFuture, Env};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clients::watcher::{KEY, PREFIX, QUIET, SERVICE};
use crate::clients::{Scene, catalog, kv, lock, session, watcher};
use crate::disk::{SimDisks, Speed};
use crate::invariants::Oracle;
use crate::network::{SimNetwork, Weather};
use crate::outside::{self, SimRandom};
use crate::trace::Trace;

/// Where the agent listens.
const ADDRESS: ([u8; 4], u16) = ([10, 0, 0, 1], 8500);

/// Its node id.
const NODE_ID: &str = "7a1a6d5e-0000-4000-8000-000000000001";

/// The longest time after healing until the agent takes a write.
const CONVERGE: Duration = Duration::from_secs(10);

/// What a world is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long things go wrong and clients write.
    pub chaos: Duration,
    /// How long things go right afterwards; long enough for sessions to expire.
    pub healing: Duration,
    /// Plants a bug: the disk acknowledges before it flushes.
    pub disk_lies: bool,
}

impl Plan {
    /// A few crashes.
    pub const SHORT: Plan = Plan { chaos: Duration::from_secs(5), healing: Duration::from_secs(2), disk_lies: false };

    /// A few crashes, then long enough for every session to end.
    pub const LONG: Plan = Plan { chaos: Duration::from_secs(8), healing: Duration::from_secs(27), disk_lies: false };

    /// The plan of a seed: every tenth is long.
    pub fn of(seed: u64) -> Plan {
        if seed.is_multiple_of(10) { Plan::LONG } else { Plan::SHORT }
    }
}

/// What came of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The trace as one number, and its length in lines.
    pub digest: (u64, u64),
    /// What was broken.
    pub broken: Vec<String>,
    /// The last lines of the trace.
    pub tail: String,
}

/// Runs the world that follows from `seed`. Call on a paused clock.
///
/// # Panics
/// When a client panics.
pub async fn run(seed: u64, plan: Plan) -> Report {
    agent_raft::runtime::seed(seed);
    let world = World::new(seed, plan);
    let agent = world.boot().await;
    world.prepare().await;
    let mut clients = world.clients();
    let agent = world.chaos(agent, plan).await;
    world.heal();
    while let Some(ended) = clients.join_next().await {
        ended.expect("clients do not panic");
    }
    world.check_the_end(&agent).await;
    drop(agent);
    Report { digest: world.scene.trace.digest(), broken: world.scene.oracle.broken(), tail: world.scene.trace.tail() }
}

struct World {
    started: Instant,
    seed: u64,
    disks: SimDisks,
    scene: Scene,
}

impl World {
    fn new(seed: u64, plan: Plan) -> Self {
        let started = Instant::now();
        let random = SimRandom::new(seed);
        let trace = Trace::new();
        let disks = SimDisks::new(random.clone());
        if plan.disk_lies {
            disks.lie();
        }
        let scene = Scene {
            network: SimNetwork::new(random.clone(), Weather::CALM),
            agent: SocketAddr::from(ADDRESS),
            oracle: Oracle::new(&trace),
            writes_end: started + plan.chaos,
            ends: started + plan.chaos + plan.healing,
            random,
            trace,
        };
        World { started, seed, disks, scene }
    }

    /// Makes what nobody changes afterwards.
    async fn prepare(&self) {
        let mut client = self.scene.client("prepare");
        let service = r#"{"Node":"still","Address":"10.1.0.2","Service":{"Service":"quiet"}}"#;
        for (path, body) in [("/v1/kv/quiet/key", "quiet"), ("/v1/catalog/register", service)] {
            let done = self.scene.write(&mut client, path, body).await;
            assert_eq!(done.as_deref().map(str::trim), Some("true"), "nothing has gone wrong yet");
        }
    }

    fn clients(&self) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        let scene = || self.scene.clone();
        (0..2).for_each(|number| drop(clients.spawn(kv::run(scene(), number))));
        clients.spawn(watcher::write(scene()));
        for (number, subject) in [KEY, PREFIX, SERVICE].into_iter().enumerate() {
            clients.spawn(watcher::watch(scene(), number as u64, subject, false));
        }
        for (number, subject) in QUIET.into_iter().enumerate() {
            clients.spawn(watcher::watch(scene(), 10 + number as u64, subject, true));
        }
        clients.spawn(watcher::leave(scene()));
        clients.spawn(catalog::run(scene()));
        clients.spawn(session::run(scene(), 0));
        (0..2).for_each(|number| drop(clients.spawn(lock::run(scene(), number))));
        clients
    }

    /// Starts the agent on whatever its disk holds.
    async fn boot(&self) -> Agent {
        let env = outside::env(self.started, &self.scene.random, &self.scene.network);
        let env = env.with_disks(Arc::new(self.disks.clone()));
        let settings = Settings::alone("one", NODE_ID, self.scene.agent, self.seed);
        let parts = Parts { prober: Arc::new(AlwaysPassing), plugins: None, log: None };
        let agent = start(settings, env, parts).await;
        self.scene.oracle.checks().booted = Instant::now();
        self.scene.trace.note(format_args!("world: the agent is up"));
        agent
    }

    /// Cuts the power of the agent's host.
    fn crash(&self, agent: Agent) {
        self.scene.trace.note(format_args!("world: crash"));
        self.scene.network.cut_all();
        self.disks.crash();
        drop(agent);
    }

    /// Lets things go wrong until the chaos is over; the agent is up when it returns.
    async fn chaos(&self, mut agent: Agent, plan: Plan) -> Agent {
        let Scene { random, network, trace, .. } = &self.scene;
        let ends = self.started + plan.chaos;
        loop {
            self.scene.pause(100, 2_000).await;
            if Instant::now() > ends {
                return agent;
            }
            match random.below(12) {
                0..=3 => {
                    self.crash(agent);
                    self.scene.pause(1, 800).await;
                    agent = self.boot().await;
                }
                4 => network.cut_all(),
                5 => network.cut_one(),
                6 => self.disks.set_speed(Speed::SLOW),
                7 => self.disks.set_speed(Speed::FAST),
                8 => network.set_weather(Weather::ROUGH),
                9 | 10 => agent.server().expect("it is one").consensus.compact().await,
                _ => network.set_weather(Weather::CALM),
            }
            trace.note(format_args!("world: something went wrong"));
        }
    }

    fn heal(&self) {
        self.scene.trace.note(format_args!("world: healed"));
        self.scene.network.set_weather(Weather::CALM);
        self.disks.set_speed(Speed::FAST);
    }

    /// The agent takes a write, agrees with itself, and has every record that was acknowledged.
    async fn check_the_end(&self, agent: &Agent) {
        let Scene { oracle, .. } = &self.scene;
        let mut client = self.scene.client("end");
        let write = self.scene.write(&mut client, "/v1/kv/end", "end");
        if !matches!(tokio::time::timeout(CONVERGE, write).await, Ok(Some(_))) {
            oracle.judge(Err("convergence: no write was taken after healing".to_owned()));
        }
        let records = oracle.checks().durability.below("kv/");
        for key in records {
            let found = match client.request("GET", &format!("/v1/kv/{key}"), "").await {
                Ok(response) => kv::value(&response.json()[0]),
                Err(error) => return oracle.judge(Err(format!("convergence: {key} cannot be read: {error}"))),
            };
            let verdict = oracle.checks().durability.read(&key, found.as_deref());
            oracle.judge(verdict);
        }
        catalog::read(&self.scene, &mut client).await;
        oracle.judge(agent_core::state::invariants::check(&agent.server().expect("it is one").store.snapshot()));
    }
}

async fn start(settings: Settings, env: Env, parts: Parts) -> Agent {
    match Agent::start(settings, env, parts).await {
        Ok(agent) => agent,
        Err(error) => panic!("the agent did not start on what a crash left: {error}"),
    }
}

/// Every check passes: what they probe is not part of the world.
struct AlwaysPassing;

impl Prober for AlwaysPassing {
    fn probe<'a>(&'a self, _: &'a CheckSpec) -> BoxFuture<'a, Outcome> {
        Box::pin(async { Outcome { status: Status::Passing, output: String::new() } })
    }
}
