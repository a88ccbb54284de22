//! Simulated clusters: three to seven servers that share a log under faults from a seed.
//!
//! Owns the course of a run: form the cluster, let things go wrong while
//! clients work, heal, converge, check. The servers are [`agent_raft`]'s with
//! its real log and state; network, disks, clocks and randomness are simulated.

pub mod clients;
pub mod gone;
pub mod servers;
pub mod wires;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_core::state::command::Register;
use agent_core::state::snapshot::encode;
use agent_core::state::tables::{Node, Session};
use agent_core::state::{Command, State};
use agent_raft::{Change, ReadMode};
use linear::Histories;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use self::clients::{Asleep, KEYS, SESSIONS};
use self::servers::Life;
pub use self::servers::Servers;
use self::wires::{Weather, Wires};
use crate::disk::Speed;
use crate::invariants::durability::Durability;
use crate::invariants::index::IndexOrder;
use crate::invariants::leader::Leaders;
use crate::invariants::prefix::Prefixes;
use crate::outside::SimRandom;
use crate::trace::Trace;
use crate::world::Report;

/// Things that are wrong on purpose: each must be found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bugs {
    /// Disks acknowledge before they flush.
    pub lying_disks: bool,
    /// Who believes that it leads reads without asking anybody.
    pub stale_leader_reads: bool,
    /// Watchers look first and subscribe afterwards.
    pub late_subscriptions: bool,
}

/// How a run goes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many servers there are.
    pub servers: usize,
    /// How long things go wrong.
    pub chaos: Duration,
    /// What is wrong on purpose.
    pub bugs: Bugs,
}

impl Plan {
    /// The plan of a seed: half of them have three servers, few have seven.
    pub fn of(seed: u64) -> Plan {
        let servers = [3, 5, 3, 4, 3, 5, 3, 7][usize::try_from(seed % 8).expect("below 8")];
        Plan { servers, chaos: Duration::from_secs(8), bugs: Bugs::default() }
    }
}

/// The longest a healed cluster may take to accept a write, and then again until all servers are equal.
const CONVERGE: Duration = Duration::from_secs(15);

/// What everybody in a run shares. Cheap to clone.
#[derive(Clone)]
pub struct Scene {
    /// How the run goes.
    pub plan: Plan,
    /// The seed's randomness.
    pub random: SimRandom,
    /// What happened.
    pub trace: Trace,
    /// The network.
    pub wires: Wires,
    /// The servers.
    pub servers: Servers,
    /// When clients stop to write.
    pub writes_end: Instant,
    /// When everything ends.
    pub ends: Instant,
    checks: Arc<Mutex<Checks>>,
}

/// The invariants.
#[derive(Default)]
pub struct Checks {
    /// One leader per term.
    pub leaders: Leaders,
    /// Equal applied prefixes.
    pub prefixes: Prefixes,
    /// Acknowledged writes survive.
    pub durability: Durability,
    /// An index never goes back on one agent.
    pub index: IndexOrder,
    /// Histories of keys are linearizable.
    pub histories: Histories,
    /// A blocking query never sleeps past a change.
    pub asleep: Vec<Asleep>,
    /// What was broken.
    pub broken: Vec<String>,
    values: u64,
}

impl Scene {
    fn new(seed: u64, plan: Plan) -> Self {
        let random = SimRandom::new(seed);
        let trace = Trace::new();
        let wires = Wires::new(random.clone(), trace.clone());
        let servers = Servers::new(plan.servers, &random, &wires, &trace, plan.bugs.lying_disks);
        let now = Instant::now();
        let checks = Arc::default();
        Scene { plan, random, trace, wires, servers, writes_end: now, ends: now, checks }
    }

    /// The invariants.
    pub fn checks(&self) -> MutexGuard<'_, Checks> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what is broken.
    pub fn judge(&self, verdict: Result<(), String>) {
        if let Err(broken) = verdict {
            self.trace.note(format_args!("BROKEN {broken}"));
            self.checks().broken.push(broken);
        }
    }

    /// Waits for a random number of milliseconds.
    pub async fn pause(&self, ms_min: u64, ms_max: u64) {
        tokio::time::sleep(Duration::from_millis(ms_min + self.random.below(ms_max - ms_min + 1))).await;
    }

    /// A value that nobody has written.
    pub fn next_value(&self) -> u64 {
        let mut checks = self.checks();
        checks.values += 1;
        checks.values
    }

    /// A watcher goes to sleep.
    pub fn sleeps(&self, life: &Life, key: &'static str, seen: u64) -> u64 {
        let number = self.next_value();
        let server = life.id.clone();
        let asleep = Asleep { number, server, key, seen, store: life.store.clone(), overdue_since: None };
        self.checks().asleep.push(asleep);
        number
    }

    /// It woke up.
    pub fn wakes(&self, number: u64) {
        self.checks().asleep.retain(|asleep| asleep.number != number);
    }
}

/// Runs the cluster that follows from `seed`. Call on a paused clock.
///
/// # Panics
/// When a client panics, and when a cluster does not form before anything goes wrong.
pub async fn run(seed: u64, plan: Plan) -> Report {
    agent_raft::runtime::seed(seed);
    let mut scene = Scene::new(seed, plan);
    form(&scene).await;
    scene.writes_end = Instant::now() + plan.chaos;
    scene.ends = scene.writes_end + Duration::from_secs(1);
    let mut clients = JoinSet::new();
    (0..4).for_each(|number| drop(clients.spawn(clients::keys(scene.clone(), number))));
    (0..2).for_each(|number| drop(clients.spawn(clients::ledger(scene.clone(), number))));
    KEYS.iter().for_each(|key| drop(clients.spawn(clients::watcher(scene.clone(), key))));
    clients.spawn(clients::operator(scene.clone()));
    clients.spawn(observe(scene.clone()));
    chaos(&scene).await;
    heal(&scene).await;
    while let Some(ended) = clients.join_next().await {
        ended.expect("clients do not panic");
    }
    converge(&scene).await;
    let verdict = scene.checks().histories.check();
    scene.judge(verdict);
    scene.servers.ids().iter().for_each(|id| scene.servers.crash(id));
    let (operations, leaders) = {
        let checks = scene.checks();
        (checks.histories.count(), checks.leaders.count())
    };
    scene.trace.note(format_args!("{operations} operations were answered, {leaders} terms had a leader"));
    let mut broken = scene.checks().broken.clone();
    broken.append(&mut scene.servers.unreadable());
    Report { digest: scene.trace.digest(), broken, tail: scene.trace.tail() }
}

/// Starts everybody, forms the cluster, and writes what the clients need.
async fn form(scene: &Scene) {
    let ids = scene.servers.ids();
    for id in &ids {
        scene.servers.boot(id).await;
    }
    let servers: Vec<_> = ids.iter().map(|id| Servers::server(id)).collect();
    for (_, life) in scene.servers.up() {
        life.consensus.bootstrap(&servers).await.expect("everybody is among them");
    }
    let (_, life) = scene.servers.any().expect("all are up");
    let node = Node { name: "n".to_owned(), address: "10.1.0.1".to_owned(), ..Node::default() };
    let register = Register { node, ..Register::default() };
    let mut commands = vec![Command::Register(Box::new(register))];
    for number in 0..SESSIONS {
        let session = Session { id: clients::session(number), node: "n".to_owned(), ..Session::default() };
        commands.push(Command::SessionCreate(Box::new(session)));
    }
    for command in commands {
        let formed = Instant::now() + CONVERGE;
        while let Err(error) = life.consensus.write(command.clone()).await {
            assert!(Instant::now() < formed, "the cluster does not form: {error}");
        }
    }
    scene.trace.note(format_args!("the cluster is formed"));
}

/// Lets things go wrong for as long as the plan says.
async fn chaos(scene: &Scene) {
    let Scene { random, wires, servers, .. } = scene;
    let ids = servers.ids();
    let any = || ids[usize::try_from(random.below(ids.len() as u64)).expect("a small number")].clone();
    while Instant::now() < scene.writes_end {
        scene.pause(200, 1_700).await;
        // What was cut is cut for a second or two.
        if random.happens(450) {
            wires.heal();
        }
        let id = leader_or(scene, any());
        let what = random.below(20);
        scene.trace.note(format_args!("chaos {what} {id}"));
        match what {
            0..5 => servers.crash(&id),
            5 => ids.iter().filter(|_| random.happens(600)).for_each(|id| servers.crash(id)),
            6 => wires.cut(&ids, |from, to| from == id || to == id),
            7 => wires.cut(&ids, |from, _| from == id),
            8 => wires.cut(&ids, |_, to| to == id),
            9 => {
                let side: Vec<_> = ids.iter().filter(|_| random.happens(500)).cloned().collect();
                let side_of = |id: &str| side.iter().any(|other| other == id);
                wires.cut(&ids, |from, to| side_of(from) != side_of(to));
            }
            10..14 => wires.pause(&id, Duration::from_millis(random.below(3_000))),
            14 => wires.set_weather(Weather::ROUGH),
            15 => servers.set_speed(&id, Speed::SLOW),
            16 => servers.set_speed(&id, Speed::FAST),
            _ => {
                for (_, life) in servers.up() {
                    life.consensus.compact().await;
                }
            }
        }
        for id in servers.down() {
            if random.happens(750) {
                let servers = servers.clone();
                tokio::spawn(async move { servers.boot(&id).await });
            }
        }
    }
}

/// Half the time whoever leads, else `other`.
fn leader_or(scene: &Scene, other: String) -> String {
    let up = scene.servers.up();
    let leader = up.into_iter().find(|(_, life)| life.consensus.leadership().is_self);
    leader.filter(|_| scene.random.happens(500)).map_or(other, |(id, _)| id)
}

/// Everything works again, and everybody is there.
async fn heal(scene: &Scene) {
    scene.trace.note(format_args!("healed"));
    scene.wires.heal();
    for id in scene.servers.ids() {
        scene.servers.set_speed(&id, Speed::FAST);
        scene.servers.boot(&id).await;
    }
}

/// Looks at everybody again and again.
async fn observe(scene: Scene) {
    while Instant::now() < scene.ends {
        tokio::time::sleep(Duration::from_millis(10)).await;
        for (id, life) in scene.servers.up() {
            let leadership = life.consensus.leadership();
            if leadership.is_self {
                let verdict = scene.checks().leaders.saw(leadership.term, &id);
                scene.judge(verdict);
            }
            if scene.random.happens(100) {
                look_at(&scene, &id, &life.store.snapshot());
            }
        }
        let oversleep = {
            let mut checks = scene.checks();
            let late = checks.asleep.iter_mut().position(Asleep::oversleeps);
            late.map(|place| checks.asleep.remove(place))
        };
        if let Some(Asleep { server, key, seen, .. }) = oversleep {
            scene.judge(Err(format!("wake: a query on {server} sleeps past a change of {key} after {seen}")));
        }
    }
}

fn look_at(scene: &Scene, id: &str, state: &State) {
    let bytes = encode(state);
    let digest = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let verdict = scene.checks().prefixes.saw(id, state.index, digest);
    scene.judge(verdict);
}

/// Everybody is a voter again, takes a write, and ends with the same state that holds all that was acknowledged.
async fn converge(scene: &Scene) {
    for id in scene.servers.ids() {
        for change in [Change::Add(Servers::server(&id)), Change::Promote(id.clone())] {
            let ends = Instant::now() + CONVERGE;
            loop {
                let Some((_, life)) = scene.servers.any() else { return };
                let answer = timeout(CONVERGE, life.consensus.change(&change)).await;
                scene.trace.note(format_args!("converge {change:?} {answer:?}"));
                if matches!(answer, Ok(Ok(()))) {
                    break;
                }
                if Instant::now() > ends {
                    return scene.judge(Err(format!("convergence: {change:?} is not taken: {answer:?}")));
                }
            }
        }
    }
    for (id, life) in scene.servers.up() {
        match timeout(CONVERGE, life.consensus.barrier(ReadMode::Quorum)).await {
            Ok(Ok(())) => {}
            other => return scene.judge(Err(format!("convergence: {id} cannot read: {other:?}"))),
        }
        let state = life.store.snapshot();
        look_at(scene, &id, &state);
        scene.judge(agent_core::state::invariants::check(&state));
        let missing = {
            let checks = scene.checks();
            let records = checks.durability.below("ledger/");
            let found = |record: &str| state.kv.contains_key(record).then_some("1");
            records.iter().find_map(|record| checks.durability.read(record, found(record)).err())
        };
        scene.judge(missing.map_or(Ok(()), Err));
    }
}
