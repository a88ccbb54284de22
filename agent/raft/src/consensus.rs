//! The handle: write, read barrier, who leads, who votes.

use std::fmt;
use std::net::SocketAddr;

use agent_core::state::{Applied, Command};

/// A Raft voter.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// No leader within the hold time. Nothing was written by this call.
    NoLeader,
    /// The outcome is unknown: the entry may or may not be applied later.
    Unknown,
    /// Raft has stopped: the disk failed or the agent is shutting down.
    Stopped(String),
}

/// Why a read could not be served in the mode asked for. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug)]
pub struct Consensus {}

impl Consensus {
    /// Proposes `command` and waits until it is durable on a quorum and applied here.
    ///
    /// # Errors
    /// [`WriteError`]; only `NoLeader` promises that nothing was written.
    pub async fn write(&self, command: Command) -> Result<Applied, WriteError> {
        let _ = command;
        unimplemented!()
    }

    /// Waits until a read of the local state is as fresh as `mode` asks.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn barrier(&self, mode: ReadMode) -> Result<(), ReadError> {
        let _ = mode;
        unimplemented!()
    }

    /// Who leads right now.
    pub fn leadership(&self) -> Leadership {
        unimplemented!()
    }

    /// Returns when [`Consensus::leadership`] differs from `seen`.
    pub async fn leadership_changed(&self, seen: &Leadership) -> Leadership {
        let _ = seen;
        unimplemented!()
    }

    /// The servers of this data centre.
    pub fn servers(&self) -> Vec<Server> {
        unimplemented!()
    }

    /// Figures for operators.
    pub fn stats(&self) -> Stats {
        unimplemented!()
    }

    /// Stops Raft. Returns when nothing more will be written to disk.
    pub async fn shutdown(&self) {
        unimplemented!()
    }
}
