//! Everything that may enter the replicated log, and what comes back.
//!
//! A [`Proposal`] carries all that servers must agree on: the command, the
//! proposer's wall time and an id of its own. Stored as `[version][postcard]`;
//! variants and fields are only ever appended, and `tests/golden.rs` pins the bytes.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::tables::{
    AutopilotConfig, Check, CheckId, Index, KvEntry, Node, NodeName, PluginVersion, Service, ServiceId, Session,
    SessionId, UnixMs,
};
use crate::plugin::digest::Digest;
use crate::watch::Topic;

/// The version byte in front of every stored command.
pub const COMMAND_VERSION: u8 = 1;

/// A command with what its proposer decided before the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Random, unique to this proposal: tells a retried write from a second one.
    pub id: u128,
    /// The proposer's wall clock.
    pub now_ms: UnixMs,
    /// What to do.
    pub command: Command,
}

/// A change of the replicated state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Add or update a node with optionally a service and checks. Indexes inside the records are ignored.
    Register(Box<Register>),
    /// Remove a check, a service or a whole node.
    Deregister {
        /// The node.
        node: NodeName,
        /// Only this service and its checks.
        service_id: Option<ServiceId>,
        /// Only this check.
        check_id: Option<CheckId>,
    },
    /// One key/value operation outside a transaction.
    Kv(KvOp),
    /// Create a session. The id was chosen by the proposer.
    SessionCreate(Box<Session>),
    /// End a session: its keys are released or deleted and get its lock-delay.
    SessionDestroy {
        /// The session.
        id: SessionId,
    },
    /// Do all of these or none.
    Txn(Vec<TxnOp>),
    /// Forget tombstones up to this index.
    TombstoneReap {
        /// The newest index to forget.
        up_to: Index,
    },
    /// Write how the leader cares for the servers. Indexes inside the record are ignored.
    Autopilot {
        /// What to write.
        config: Box<AutopilotConfig>,
        /// Write only if the record's modify index is this; zero means that there must be none.
        cas: Option<Index>,
    },
    /// A piece of a plugin's file. The first one begins the upload; one that is there already changes nothing.
    PluginChunk {
        /// Which file.
        digest: Digest,
        /// How many bytes the whole file has.
        size: u64,
        /// How many bytes come before this piece.
        offset: u64,
        /// The piece.
        #[serde(with = "super::stored::shared_bytes")]
        bytes: Arc<[u8]>,
    },
    /// Publish a file that is complete under a plugin's name, and have it run.
    PluginSet {
        /// What to publish. Its size and index are ignored.
        name: String,
        /// The file.
        version: Box<PluginVersion>,
        /// Publish only if the record's modify index is this; zero means that there must be none.
        cas: Option<Index>,
    },
    /// Remove a plugin's record, its key, and the files that no other record names.
    PluginRemove {
        /// The plugin.
        name: String,
    },
}

/// The body of [`Command::Register`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// The node.
    pub node: Node,
    /// Leave an existing node record as it is (only add the service and checks).
    pub skip_node_update: bool,
    /// A service instance on it.
    pub service: Option<Service>,
    /// Checks of the node or of its services.
    pub checks: Vec<Check>,
}

/// A key/value operation that writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvOp {
    /// Write value and flags. An unchanged value keeps its index.
    Set(KvWrite),
    /// Write if the key's modify index is `index`; zero means the key must not exist.
    Cas {
        /// What to write.
        write: KvWrite,
        /// The index the client saw.
        index: Index,
    },
    /// Write and take the lock for a session.
    Lock {
        /// What to write.
        write: KvWrite,
        /// The session that wants it.
        session: SessionId,
    },
    /// Write and give the lock back.
    Unlock {
        /// What to write.
        write: KvWrite,
        /// The session that holds it.
        session: SessionId,
    },
    /// Remove a key.
    Delete {
        /// The key.
        key: String,
    },
    /// Remove a key if its modify index is `index`.
    DeleteCas {
        /// The key.
        key: String,
        /// The index the client saw.
        index: Index,
    },
    /// Remove every key that starts with a prefix; an empty prefix means all.
    DeleteTree {
        /// The prefix.
        prefix: String,
    },
}

/// A key with what to store under it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvWrite {
    /// The key.
    pub key: String,
    /// The value.
    #[serde(with = "super::stored::shared_bytes")]
    pub value: Arc<[u8]>,
    /// The client's flags.
    pub flags: u64,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnOp {
    /// A write that refuses the transaction where a plain one would answer `false`.
    Kv(KvOp),
    /// `get`: refuses when the key is absent.
    KvGet {
        /// The key.
        key: String,
    },
    /// `get-or-empty`: answers an entry without value when the key is absent.
    KvGetOrEmpty {
        /// The key.
        key: String,
    },
    /// `get-tree`.
    KvGetTree {
        /// The prefix.
        prefix: String,
    },
    /// `check-index`.
    KvCheckIndex {
        /// The key.
        key: String,
        /// The modify index it must have.
        index: Index,
    },
    /// `check-session`.
    KvCheckSession {
        /// The key.
        key: String,
        /// The session that must hold it.
        session: SessionId,
    },
    /// `check-not-exists`.
    KvCheckNotExists {
        /// The key.
        key: String,
    },
    /// A node verb.
    Node {
        /// What to do.
        verb: CatalogVerb,
        /// The node; only name or id are read by `get` and `delete`.
        node: Node,
    },
    /// A service verb. The service names its node.
    Service {
        /// What to do.
        verb: CatalogVerb,
        /// The instance; only node and id are read by `get` and `delete`.
        service: Service,
    },
    /// A check verb. The check names its node.
    Check {
        /// What to do.
        verb: CatalogVerb,
        /// The check; only node and id are read by `get` and `delete`.
        check: Check,
    },
    /// `session` verb `delete`: end a session.
    SessionDelete {
        /// The session.
        id: SessionId,
    },
}

/// What a transaction does with a catalog record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogVerb {
    /// Read it; refuse when absent.
    Get,
    /// Write it.
    Set,
    /// Write it if its modify index is the record's.
    Cas,
    /// Remove it.
    Delete,
    /// Remove it if its modify index is the record's.
    DeleteCas,
}

/// What applying a proposal came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The log index it was applied at.
    pub index: Index,
    /// The answer to the proposer.
    pub reply: Reply,
    /// What changed, for those who wait for it. Not part of the answer and not stored.
    pub changes: Vec<Topic>,
}

/// The state machine's answer. A refusal is an answer, not an error: the command was applied and changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done: the answer to every command without a condition.
    Done,
    /// Whether a conditional write (`Cas`, `Lock`, `Unlock`, `DeleteCas`, `Autopilot` and `PluginSet` with an index)
    /// happened.
    Bool(bool),
    /// What a transaction read or wrote, in order; deletions leave nothing.
    Txn(Vec<TxnResult>),
    /// A transaction that was rolled back: what each failed operation said.
    TxnRefused(Vec<TxnFailure>),
    /// The command does not fit the state.
    Refused(Refusal),
}

/// Something a transaction read or wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnResult {
    /// A key. Writes answer it without its value, as Consul does.
    Kv(Arc<KvEntry>),
    /// A node.
    Node(Arc<Node>),
    /// A service instance.
    Service(Arc<Service>),
    /// A check.
    Check(Arc<Check>),
}

/// Why an operation refused its transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnFailure {
    /// Its place in the transaction, from zero.
    pub op_index: u32,
    /// Consul's text for it.
    pub what: String,
}

/// Why a command was refused. `Display` gives Consul's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// A service, check or session names a node that is not registered.
    MissingNode,
    /// A check names a service that is not registered on its node.
    MissingService,
    /// A session names a check that is not registered on its node.
    MissingCheck(CheckId),
    /// A session names a check that is critical.
    CriticalCheck(CheckId),
    /// A lock or unlock names no session.
    MissingSession,
    /// A lock names a session that does not exist.
    InvalidSession(SessionId),
    /// Anything else, in Consul's words.
    Other(String),
    /// A plugin's file is not there up to where it should be.
    PluginIncomplete {
        /// How many bytes of it there are.
        have: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::MissingNode => f.write_str("Missing node registration"),
            Refusal::MissingService => f.write_str("Missing service registration"),
            Refusal::MissingCheck(id) => write!(f, "Missing check '{id}' registration"),
            Refusal::CriticalCheck(id) => write!(f, "Check '{id}' is in critical state"),
            Refusal::MissingSession => f.write_str("missing session"),
            Refusal::InvalidSession(id) if id.len() != UUID_TEXT_BYTES => {
                f.write_str("failed session lookup: index error: UUID must be 36 characters")
            }
            Refusal::InvalidSession(id) => write!(f, "invalid session {id:?}"),
            Refusal::Other(text) => f.write_str(text),
            Refusal::PluginIncomplete { have } => {
                write!(f, "the file is not complete: send the chunk at offset {have} next")
            }
        }
    }
}

/// The length of a UUID in text form.
const UUID_TEXT_BYTES: usize = 36;
