//! The handle: write, read barrier, who leads, who votes.
//!
//! Owns the promise that a write is acknowledged once it is durable on a
//! quorum and published at the leader, and never earlier. [`crate::start`]
//! makes it, [`crate::members`] changes who the servers are, [`crate::serve`]
//! answers other servers; nothing of openraft shows through it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_core::state::{Applied, Command, Proposal, Reply};
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal, RaftError};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::disk::Disk;
use crate::machine::Machine;
use crate::network::{CallError, Transport, call};
use crate::proposals::Proposals;
use crate::rounds::Rounds;
use crate::serve::Receiving;
use crate::start::{Stamp, Timing};
use crate::types::{Answer, Membership, Proposed, TypeConfig, cluster_of, is_quorum, is_voter};
use crate::wire::{Envelope, Forwarded, Rpc};

pub(crate) type Raft = openraft::Raft<TypeConfig, Machine>;

/// The first pause before a write or read is tried again; doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE: Duration = Duration::from_millis(2);

/// The longest pause between two tries.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(64);

/// How long a proposal may be under way before its outcome is called unknown, where there is a leader and a quorum that
/// hears it, but whose disks take no more entries. Without them it is given up earlier: see [`Inner::lost`].
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A server: a Raft voter, or one that is to become one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The node id (UUID in text form).
    pub id: String,
    /// The node name.
    pub node: String,
    /// Where its RPC port listens.
    pub address: SocketAddr,
    /// Whether it counts towards the quorum.
    pub voter: bool,
}

/// Who leads, as this server sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader, if one is known.
    pub leader: Option<Server>,
    /// Whether it is this server.
    pub is_self: bool,
    /// Raft's term.
    pub term: u64,
}

/// Figures for `operator raft`, `agent/self` and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Raft's term.
    pub term: u64,
    /// The newest entry of the log.
    pub last_log_index: u64,
    /// The newest entry known to be on a quorum.
    pub commit_index: u64,
    /// The newest entry applied.
    pub applied_index: u64,
    /// The entry the newest snapshot reaches to.
    pub snapshot_index: u64,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// `default`: the leader holds its lease.
    Lease,
    /// `consistent`: the leader asks a quorum.
    Quorum,
}

/// Why a write was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteError {
    /// No leader within the hold time. Nothing was written by this call.
    NoLeader,
    /// The outcome is unknown: the entry may or may not be applied later.
    Unknown,
    /// Raft has stopped: the disk failed or the agent is shutting down.
    Stopped(String),
}

/// Why a read could not be served in the mode asked for. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadError {
    /// No leader within the hold time.
    NoLeader,
    /// Raft has stopped.
    Stopped(String),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::NoLeader => f.write_str("No cluster leader"),
            WriteError::Unknown => f.write_str("leadership lost while committing log"),
            WriteError::Stopped(why) => write!(f, "raft has stopped: {why}"),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::NoLeader => f.write_str("No cluster leader"),
            ReadError::Stopped(why) => write!(f, "raft has stopped: {why}"),
        }
    }
}

impl std::error::Error for WriteError {}
impl std::error::Error for ReadError {}

/// The consensus handle. Cheap to clone.
#[derive(Clone)]
pub struct Consensus {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) raft: Raft,
    pub(crate) raft_id: u64,
    pub(crate) server: Server,
    pub(crate) timing: Timing,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) stamp: Stamp,
    pub(crate) hold_time: Duration,
    /// Reads that wait for a leader's word, by mode.
    pub(crate) lease_reads: Arc<Rounds<Result<(), ReadError>>>,
    pub(crate) quorum_reads: Arc<Rounds<Result<(), ReadError>>>,
    /// Held while this server, as leader, changes who the servers are.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// The snapshot that another server is sending.
    pub(crate) receiving: Mutex<Option<Receiving>>,
    /// When the leader was last heard, or this server began or ceased to lead.
    pub(crate) heard: Mutex<Option<Instant>>,
    /// This server is the only voter, leads, and has applied everything its log held when it began to lead.
    pub(crate) alone: AtomicBool,
    /// Proposals of this server, as the leader, that are under way.
    pub(crate) proposals: Proposals,
    /// Set by [`Consensus::shutdown`], before anything stops.
    pub(crate) shut_down: AtomicBool,
}

impl fmt::Debug for Consensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consensus").field("server", &self.inner.server).finish_non_exhaustive()
    }
}

impl Consensus {
    /// Proposes `command` and waits until it is durable on a quorum and applied: by this server if it leads, else by
    /// the leader, to which it is forwarded once.
    ///
    /// At the leader the topics it touched have been published; the answer's `changes` are empty. It is tried again
    /// only where it is certain that it was not proposed, so nothing is ever applied twice.
    ///
    /// # Errors
    /// [`WriteError`]; only `NoLeader` promises that nothing was written.
    pub async fn write(&self, command: Command) -> Result<Applied, WriteError> {
        let (id, now_ms) = (self.inner.stamp)();
        let proposed = Proposed(Arc::new(Proposal { id, now_ms, command }));
        let mut hold = Hold::new(self.inner.hold_time);
        loop {
            if let Outcome::Applied(index, reply) = self.inner.propose(&proposed).await? {
                return Ok(Applied { index, reply, changes: Vec::new() });
            }
            hold.pause().await.map_err(|Expired| WriteError::NoLeader)?;
        }
    }

    /// Waits until a read of the local state is as fresh as `mode` asks.
    ///
    /// Costs one atomic load while this server is the only voter. That is safe: no entry commits without it, so no
    /// other server can acknowledge a write; each write is published before it is acknowledged, so the store holds
    /// every write acknowledged before this call; and the voters only change through this handle, which ends the
    /// shortcut before it proposes the change. Otherwise the leader is asked, once for all who ask at the same time.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn barrier(&self, mode: ReadMode) -> Result<(), ReadError> {
        if self.inner.alone.load(Ordering::Acquire) {
            return Ok(());
        }
        // In a box, so that reads of a lone server do not carry room for it.
        Box::pin(self.inner.barrier(mode)).await
    }

    /// Who leads right now.
    pub fn leadership(&self) -> Leadership {
        let metrics = self.inner.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let leader = metrics.current_leader.and_then(|leader| self.server(membership, leader));
        let is_self = metrics.current_leader == Some(self.inner.raft_id);
        Leadership { leader, is_self, term: metrics.vote.leader_id.term }
    }

    /// How long ago the leader was last heard, `None` when none was heard since the start. Zero when this server leads,
    /// unless it has lost its quorum: what it knows is as old as that loss.
    pub fn last_contact(&self) -> Option<Duration> {
        if self.inner.alone.load(Ordering::Acquire) {
            return Some(Duration::ZERO);
        }
        let leads = self.inner.raft.server_metrics().borrow_watched().current_leader == Some(self.inner.raft_id);
        if leads && self.inner.is_led() { Some(Duration::ZERO) } else { self.inner.silence() }
    }

    /// Which cluster this server is a member of: chosen at random when it was formed. `None` until it is a member.
    pub fn cluster(&self) -> Option<u128> {
        Some(self.inner.cluster()).filter(|cluster| *cluster != 0)
    }

    /// Whether there is a leader that this server hears, or that a quorum hears when it is this one. Raft itself keeps
    /// to a leader until there is another, even where nobody is left to elect one. Unlike [`Consensus::leadership`] it
    /// allocates nothing: every read asks.
    pub fn has_leader(&self) -> bool {
        if self.inner.alone.load(Ordering::Acquire) {
            return true;
        }
        let is_known = self.inner.raft.server_metrics().borrow_watched().current_leader.is_some();
        is_known && self.inner.is_led()
    }

    /// The leader, while [`Consensus::has_leader`]: what an operator is told.
    pub fn known_leader(&self) -> Option<Server> {
        self.leadership().leader.filter(|_| self.has_leader())
    }

    /// Returns when [`Consensus::leadership`] differs from `seen`. Never returns once Raft has stopped.
    pub async fn leadership_changed(&self, seen: &Leadership) -> Leadership {
        let mut metrics = self.inner.raft.server_metrics();
        loop {
            drop(metrics.borrow_and_update());
            let now = self.leadership();
            if now != *seen {
                return now;
            }
            if metrics.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The servers of this data centre, by Raft id.
    pub fn servers(&self) -> Vec<Server> {
        let metrics = self.inner.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        membership.nodes().filter_map(|(id, _)| self.server(membership, *id)).collect()
    }

    fn server(&self, membership: &Membership, id: u64) -> Option<Server> {
        self.inner.server(membership, id)
    }

    /// Figures for operators.
    pub fn stats(&self) -> Stats {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let index = |id: &Option<crate::types::LogId>| id.map_or(0, |id| id.index);
        Stats {
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            commit_index: index(&metrics.local_committed),
            applied_index: index(&metrics.last_applied),
            snapshot_index: index(&metrics.snapshot),
        }
    }

    /// Asks for a snapshot now, after which the log before it is forgotten. Happens by itself when the log has grown.
    pub async fn compact(&self) {
        // A Raft that has stopped has nothing to compact; who waits for that learns it from `stopped`.
        self.inner.raft.trigger().snapshot().await.ok();
    }

    /// Returns when Raft has stopped by itself, with the reason: the disk failed or an invariant broke.
    ///
    /// Nothing is acknowledged any more, so the agent should exit. Does not return after [`Consensus::shutdown`].
    pub async fn stopped(&self) -> String {
        let mut metrics = self.inner.raft.server_metrics();
        // Changes only with leaders and members, and closes with Raft: an idle or busy server alike sleeps here.
        while metrics.changed().await.is_ok() {}
        if self.inner.shut_down.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
        match &self.inner.raft.metrics().borrow_watched().running_state {
            Err(fatal) => explain(fatal),
            Ok(()) => "raft is gone".to_owned(),
        }
    }

    /// Stops Raft. Returns when nothing more will be written to disk and the file can be opened again.
    pub async fn shutdown(&self) {
        self.inner.shut_down.store(true, Ordering::Release);
        self.inner.alone.store(false, Ordering::Release);
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
        self.inner.disk.close().await;
    }
}

/// What came of one try to propose.
pub(crate) enum Outcome {
    Applied(u64, Reply),
    /// Refused before the log: trying again cannot write it twice.
    NotProposed,
}

/// Where the leader is.
pub(crate) enum Leader {
    Here,
    There(u64, Server),
    Nowhere,
}

impl Inner {
    /// A member as it is; this server as configured, since its address may be newer than the membership.
    pub(crate) fn server(&self, membership: &Membership, id: u64) -> Option<Server> {
        let voter = is_voter(membership, id);
        if id == self.raft_id {
            return Some(Server { voter, ..self.server.clone() });
        }
        membership.get_node(&id).map(|node| node.to_server(voter))
    }

    pub(crate) fn cluster(&self) -> u128 {
        cluster_of(self.raft.server_metrics().borrow_watched().membership_config.membership())
    }

    pub(crate) fn leader(&self) -> Leader {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        match metrics.current_leader {
            Some(id) if id == self.raft_id => Leader::Here,
            Some(id) => match self.server(metrics.membership_config.membership(), id) {
                Some(server) => Leader::There(id, server),
                None => Leader::Nowhere,
            },
            None => Leader::Nowhere,
        }
    }

    /// Asks another server; gives up after `limit`.
    pub(crate) async fn call<A: serde::de::DeserializeOwned>(
        &self,
        (to, server): (u64, &Server),
        rpc: Rpc,
        message: &impl Serialize,
        limit: Duration,
    ) -> Result<A, CallError> {
        let envelope = Envelope { cluster: self.cluster(), from: self.raft_id, to };
        let answer = call(&*self.transport, envelope, server, rpc, message);
        tokio::time::timeout(limit, answer).await.unwrap_or(Err(CallError::Timeout))
    }

    /// Tries once to get a proposal into the log, here or at the leader.
    async fn propose(&self, proposed: &Proposed) -> Result<Outcome, WriteError> {
        if self.alone.load(Ordering::Acquire) {
            return self.propose_here(proposed).await;
        }
        match self.leader() {
            Leader::Here => {
                let answer = tokio::time::timeout(WRITE_TIMEOUT, self.propose_to_quorum(proposed)).await;
                answer.unwrap_or(Err(WriteError::Unknown))
            }
            Leader::There(id, server) => {
                let answer = tokio::select! {
                    biased;
                    answer = self.call((id, &server), Rpc::Forward, &*proposed.0, WRITE_TIMEOUT) => answer,
                    () = self.superseded(id) => Err(CallError::Timeout),
                    () = self.lost() => Err(CallError::Timeout),
                };
                match answer {
                    Ok(Forwarded::Applied { index, reply }) => {
                        self.hear();
                        Ok(Outcome::Applied(index, reply))
                    }
                    Ok(Forwarded::NotLeader) | Err(CallError::NotSent(_) | CallError::Refused(_)) => {
                        Ok(Outcome::NotProposed)
                    }
                    Ok(Forwarded::Unknown) | Err(CallError::Lost(_) | CallError::Timeout) => Err(WriteError::Unknown),
                }
            }
            Leader::Nowhere => match &self.raft.metrics().borrow_watched().running_state {
                Err(fatal) => Err(WriteError::Stopped(explain(fatal))),
                Ok(()) => Ok(Outcome::NotProposed),
            },
        }
    }

    /// Returns when another server has led for as long as an election may take.
    ///
    /// A leader that stands still or is cut off never answers, and its connection does not break. One that has handed
    /// over the lead still answers what it was asked before, so it is given that time.
    async fn superseded(&self, leader: u64) {
        let mut metrics = self.raft.server_metrics();
        while metrics.borrow_and_update().current_leader.is_none_or(|now| now == leader) {
            if metrics.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        tokio::time::sleep(self.timing.election_max).await;
    }

    /// How long there has been nobody to lead this server: since a quorum last heard it when it leads, else since it last
    /// heard who does. `None` when it has heard nobody since the start.
    fn silence(&self) -> Option<Duration> {
        if is_quorum(self.raft.server_metrics().borrow_watched().membership_config.membership(), self.raft_id) {
            return Some(Duration::ZERO);
        }
        let acked = self.raft.data_metrics().borrow_watched().last_quorum_acked.map(|at| at.elapsed());
        // Nobody has heard a leader that was just elected.
        let heard = || self.heard.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed());
        acked.or_else(heard)
    }

    /// The [`Inner::silence`] after which there is no leader to speak of: an election takes less, and so does another one
    /// where the votes were split.
    fn silence_max(&self) -> Duration {
        4 * self.timing.election_max
    }

    /// Whether the [`Inner::silence`] is an ordinary one.
    fn is_led(&self) -> bool {
        self.silence().is_some_and(|silence| silence < self.silence_max())
    }

    /// Notes that the leader lives.
    pub(crate) fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Returns when there has been nobody to lead this server, or no quorum for it to lead, for as long as a request waits
    /// for a leader, and for [`Inner::silence_max`] at least.
    async fn lost(&self) {
        let patience = self.hold_time.max(self.silence_max());
        let mut left = patience;
        while !left.is_zero() {
            tokio::time::sleep(left).await;
            left = patience.saturating_sub(self.silence().unwrap_or_default());
        }
    }

    /// Tries once to get a proposal into the log of this server, and gives up once it has lost its quorum.
    pub(crate) async fn propose_to_quorum(&self, proposed: &Proposed) -> Result<Outcome, WriteError> {
        tokio::select! {
            biased;
            answer = self.propose_here(proposed) => answer,
            () = self.lost() => Err(WriteError::Unknown),
        }
    }

    /// Tries once to get a proposal into the log of this server.
    async fn propose_here(&self, proposed: &Proposed) -> Result<Outcome, WriteError> {
        let Some(_under_way) = self.proposals.begin() else { return Ok(Outcome::NotProposed) };
        match self.raft.client_write(proposed.clone()).await {
            Ok(response) => match response.data {
                Answer(Some((index, reply))) => Ok(Outcome::Applied(index, reply)),
                Answer(None) => Err(WriteError::Unknown),
            },
            Err(RaftError::Fatal(fatal)) => Err(WriteError::Stopped(explain(&fatal))),
            Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => Err(WriteError::Unknown),
            Err(RaftError::APIError(_)) => Ok(Outcome::NotProposed),
        }
    }
}

/// The time a request may wait for a leader.
pub(crate) struct Hold {
    until: Instant,
    pause: Duration,
}

/// The hold time is over.
pub(crate) struct Expired;

impl Hold {
    pub(crate) fn new(time: Duration) -> Self {
        Hold { until: Instant::now() + time, pause: RETRY_PAUSE }
    }

    /// Waits before the next try, a little longer each time.
    pub(crate) async fn pause(&mut self) -> Result<(), Expired> {
        let next = Instant::now() + self.pause;
        if next > self.until {
            return Err(Expired);
        }
        tokio::time::sleep_until(next).await;
        self.pause = (self.pause * 2).min(RETRY_PAUSE_MAX);
        Ok(())
    }
}

/// Why Raft stopped, in the words of whatever failed first.
pub(crate) fn explain(fatal: &Fatal<TypeConfig>) -> String {
    match fatal {
        Fatal::StorageError(error) => error.to_string(),
        Fatal::Panicked => "raft stopped after a broken invariant".to_owned(),
        Fatal::Stopped => "raft is shutting down".to_owned(),
    }
}

#[cfg(test)]
mod tests;
