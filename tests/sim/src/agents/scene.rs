//! What the clients of a world share: the doors of the agents, randomness, and the invariants.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::Plan;
use super::net::Net;
use super::streams::HostNetwork;
use crate::client::Client;
use crate::invariants::durability::Durability;
use crate::invariants::index::IndexOrder;
use crate::invariants::leader::Leaders;
use crate::invariants::prefix::Prefixes;
use crate::outside::SimRandom;
use crate::trace::Trace;
use linear::Histories;

/// Where all clients live.
pub const CLIENTS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, 1));

/// What everybody shares. Cheap to clone.
#[derive(Clone)]
pub struct Scene {
    /// How the run goes.
    pub plan: Plan,
    /// What happened.
    pub trace: Trace,
    /// Whether clients write.
    pub writing: Arc<AtomicBool>,
    /// Whether clients do anything.
    pub running: Arc<AtomicBool>,
    network: Arc<HostNetwork>,
    random: SimRandom,
    doors: Vec<SocketAddr>,
    sessions: Arc<OnceLock<Vec<String>>>,
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
    pub asleep: Vec<(u64, Asleep)>,
    /// Which agents believe that they lead.
    pub leading: Vec<bool>,
    /// Which life each agent lives; zero while it has none.
    pub lives: Vec<u64>,
    /// What was broken.
    pub broken: Vec<String>,
    values: u64,
}

/// A blocking query that has no answer yet.
#[derive(Clone, Copy, Debug)]
pub struct Asleep {
    /// Which agent was asked.
    pub door: usize,
    /// The index it knows.
    pub seen: u64,
    /// In which of its lives.
    pub life: u64,
    /// How long the agent had run when its own state was first found to be past the index.
    pub overdue_since_ms: Option<u64>,
}

impl Scene {
    /// The scene of a world whose agents listen at `doors`.
    pub fn new(seed: u64, plan: Plan, net: &Net, trace: &Trace, doors: Vec<SocketAddr>) -> Self {
        Scene {
            plan,
            trace: trace.clone(),
            writing: Arc::new(AtomicBool::new(true)),
            running: Arc::new(AtomicBool::new(true)),
            network: Arc::new(HostNetwork { net: net.clone(), host: CLIENTS }),
            random: SimRandom::new(!seed),
            doors,
            sessions: Arc::default(),
            checks: Arc::default(),
        }
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

    /// Whether clients still write.
    pub fn is_writing(&self) -> bool {
        self.writing.load(Ordering::Relaxed)
    }

    /// A number below `end`.
    pub fn below(&self, end: usize) -> usize {
        usize::try_from(self.random.below(end as u64)).expect("a small number")
    }

    /// Waits for a random number of milliseconds.
    pub async fn pause(&self, ms_min: u64, ms_max: u64) {
        tokio::time::sleep(Duration::from_millis(ms_min + self.random.below(ms_max - ms_min + 1))).await;
    }

    /// A client of one agent.
    pub fn client(&self, name: &str, door: usize) -> Client {
        Client::new(&format!("{name}@{door}"), self.doors[door], self.network.clone(), &self.trace)
    }

    /// A client of any agent, which may be down.
    pub fn any(&self, name: &str) -> (usize, Client) {
        let door = self.below(self.doors.len());
        (door, self.client(name, door))
    }

    /// A value that nobody has written.
    pub fn next_value(&self) -> u64 {
        let mut checks = self.checks();
        checks.values += 1;
        checks.values
    }

    /// The sessions that lock keys.
    pub fn sessions(&self) -> &[String] {
        self.sessions.get().map_or(&[], Vec::as_slice)
    }

    /// Says once which they are.
    pub fn set_sessions(&self, sessions: Vec<String>) {
        // A world prepares once.
        let _ = self.sessions.set(sessions);
    }

    /// Whether an agent believes that it leads.
    pub fn leads(&self, door: usize) -> bool {
        self.checks().leading.get(door).copied().unwrap_or(false)
    }

    /// A watcher asks an agent for what comes after `seen`, and goes to sleep.
    pub fn sleeps(&self, door: usize, seen: u64) -> u64 {
        let number = self.next_value();
        let mut checks = self.checks();
        let life = checks.lives.get(door).copied().unwrap_or(0);
        checks.asleep.push((number, Asleep { door, seen, life, overdue_since_ms: None }));
        number
    }

    /// It was answered, or gave up.
    pub fn wakes(&self, number: u64) {
        self.checks().asleep.retain(|(known, _)| *known != number);
    }
}
