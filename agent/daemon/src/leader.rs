//! What only the leader does: registers members, ends sessions, forgets tombstones.
//!
//! The rules are in `agent_core::{reconcile, session_timer, tombstone_timer}`;
//! this loop tells them what happened and proposes what they ask for. While
//! another server leads it only listens.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use agent_core::Instant;
use agent_core::reconcile;
use agent_core::session_timer::{self, Lease, SessionTimer};
use agent_core::state::tables::SessionId;
use agent_core::state::{Command, State};
use agent_core::store::Store;
use agent_core::tombstone_timer::{self, TombstoneTimer};
use agent_core::watch::Topic;
use agent_raft::{Consensus, Leadership};
use imbl::ordmap::DiffItem;
use tokio::sync::mpsc;

use crate::env::Env;
use crate::gossip::GossipHandle;
use crate::propose;
use crate::roster;
use crate::telemetry::{Counter, Metrics, Timer};

/// How often the leader looks whether the catalog still shows the members, and whether keys were deleted.
const LOOK_EVERY: Duration = tombstone_timer::GRANULARITY;

/// How long a new leader keeps nodes of agents it has not heard of: the others need time to find it.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// What the loop works with.
pub struct Deps {
    /// The outside world.
    pub env: Env,
    /// The replicated state.
    pub store: Arc<Store>,
    /// How it is changed.
    pub consensus: Consensus,
    /// The name of this agent's node.
    pub own_name: String,
    /// The data centre.
    pub datacenter: String,
    /// Who is in the pool.
    pub gossip: GossipHandle,
    /// Sessions that clients renewed.
    pub renewed: mpsc::Receiver<SessionId>,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
}

/// What can wake the loop.
enum Event {
    Stop,
    Leadership(Leadership),
    Renewed(SessionId),
    SessionsChanged,
    Due,
    MembersChanged,
    Look,
}

/// Runs until `stop` resolves.
pub async fn run(mut deps: Deps, stop: impl Future<Output = ()>) {
    let mut duties = Duties::default();
    let mut seen = deps.consensus.leadership();
    let mut sessions_changed = deps.store.watch(&[Topic::Sessions]);
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut stop = std::pin::pin!(stop);
    if seen.is_self {
        announce(&seen);
        duties.take_over(&deps).await;
    }
    loop {
        let deadline = duties.sessions.deadline().into_iter().chain(duties.tombstones.deadline()).min();
        let due = async {
            match deadline {
                Some((at, _)) => tokio::time::sleep_until(deps.env.deadline(at)).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            biased;
            () = &mut stop => Event::Stop,
            leadership = deps.consensus.leadership_changed(&seen) => Event::Leadership(leadership),
            Some(id) = deps.renewed.recv() => Event::Renewed(id),
            () = &mut sessions_changed => Event::SessionsChanged,
            () = due => Event::Due,
            _ = deps.gossip.roster_changed(duties.members), if seen.is_self => Event::MembersChanged,
            _ = look.tick(), if seen.is_self => Event::Look,
        };
        match event {
            Event::Stop => return,
            Event::Leadership(now) => {
                announce(&now);
                match (seen.is_self, now.is_self) {
                    (false, true) => duties.take_over(&deps).await,
                    (true, false) => duties.give_up(&deps),
                    (true, true) | (false, false) => {}
                }
                seen = now;
            }
            Event::Renewed(id) => duties.tell_sessions(&deps, session_timer::Input::Renewed(id)).await,
            Event::SessionsChanged => duties.follow_sessions(&deps).await,
            Event::Due => duties.do_what_is_due(&deps).await,
            Event::MembersChanged | Event::Look => timed(&deps, Timer::LeaderReconcile, duties.look(&deps)).await,
        }
    }
}

fn announce(leadership: &Leadership) {
    if let Some(leader) = &leadership.leader {
        tracing::info!(payload = %leader.node, "New leader elected");
    }
}

/// The machines of a leader.
#[derive(Default)]
struct Duties {
    sessions: SessionTimer,
    tombstones: TombstoneTimer,
    /// The state whose sessions the timer knows.
    known: State,
    /// The version of the roster that the catalog was compared with last.
    members: u64,
    /// Since when this server leads.
    leads_since: Instant,
}

impl Duties {
    async fn take_over(&mut self, deps: &Deps) {
        tracing::info!("cluster leadership acquired");
        deps.metrics.count(Counter::RaftLeader);
        self.leads_since = deps.env.now();
        self.known = State::clone(&deps.store.snapshot());
        let leases = self.known.sessions.values().map(|session| Lease::of(session)).collect();
        self.tell_sessions(deps, session_timer::Input::BecameLeader(leases)).await;
        timed(deps, Timer::LeaderReconcile, self.look(deps)).await;
    }

    fn give_up(&mut self, deps: &Deps) {
        tracing::info!("cluster leadership lost");
        let now = deps.env.now();
        // Neither machine asks for anything when leadership is lost.
        drop(self.sessions.step(now, session_timer::Input::LostLeadership));
        drop(self.tombstones.step(now, tombstone_timer::Input::LostLeadership));
    }

    /// Tells the timer which sessions came and went. The difference of two snapshots costs what changed.
    async fn follow_sessions(&mut self, deps: &Deps) {
        let now = State::clone(&deps.store.snapshot());
        let inputs: Vec<session_timer::Input> = self
            .known
            .sessions
            .diff(&now.sessions)
            .filter_map(|change| match change {
                DiffItem::Add(_, session) => Some(session_timer::Input::SessionSeen(Lease::of(session))),
                DiffItem::Remove(id, _) => Some(session_timer::Input::Gone(id.clone())),
                DiffItem::Update { .. } => None,
            })
            .collect();
        self.known = now;
        for input in inputs {
            self.tell_sessions(deps, input).await;
        }
    }

    async fn do_what_is_due(&mut self, deps: &Deps) {
        self.tell_sessions(deps, session_timer::Input::Tick).await;
        self.tell_tombstones(deps, tombstone_timer::Input::Tick).await;
    }

    async fn look(&mut self, deps: &Deps) {
        let state = deps.store.snapshot();
        if !state.tombstones.is_empty() {
            self.tell_tombstones(deps, tombstone_timer::Input::Deleted(state.indexes.kv)).await;
        }
        let roster = deps.gossip.roster();
        self.members = roster.version;
        let members = roster::agents(&roster, &deps.datacenter);
        let forget_unknown = deps.env.now().saturating_since(self.leads_since) >= FORGET_AFTER;
        for command in reconcile::plan(&members, &deps.own_name, forget_unknown, &state) {
            propose(deps, command, "bring the catalog up to date").await;
        }
    }

    async fn tell_sessions(&mut self, deps: &Deps, input: session_timer::Input) {
        for output in self.sessions.step(deps.env.now(), input) {
            match output {
                session_timer::Output::Expire(id) => {
                    tracing::debug!(session = %id, "Session TTL expired");
                    let command = Command::SessionDestroy { id };
                    timed(deps, Timer::SessionInvalidate, propose(deps, command, "end an expired session")).await;
                }
            }
        }
    }

    async fn tell_tombstones(&mut self, deps: &Deps, input: tombstone_timer::Input) {
        for output in self.tombstones.step(deps.env.now(), input) {
            match output {
                tombstone_timer::Output::Reap(up_to) => {
                    let command = Command::TombstoneReap { up_to };
                    timed(deps, Timer::LeaderReapTombstones, propose(deps, command, "forget deleted keys")).await;
                }
            }
        }
    }
}

/// Waits for `duty` and records how long it took.
async fn timed(deps: &Deps, timer: Timer, duty: impl Future<Output = ()>) {
    let started = tokio::time::Instant::now();
    duty.await;
    deps.metrics.time(timer, started.elapsed().as_secs_f64() * 1000.0);
}

/// Proposes a command. What fails is asked for again: by the session timer soon, by the next look otherwise.
async fn propose(deps: &Deps, command: Command, what: &str) {
    if let Err(error) = propose::propose(&deps.consensus, &deps.metrics, command).await {
        tracing::warn!(error = %error, "could not {what}");
    }
}
