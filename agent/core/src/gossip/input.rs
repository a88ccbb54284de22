//! What goes into the machine and what comes out of it.
//!
//! The daemon's loop turns sockets, timers and commands into [`Input`] and
//! performs every [`Output`]. Nothing here has behaviour.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::keyring::{Key, KeyRing};
use super::member::{Member, Tags};
use super::user_event::{Fired, UserEvent};

/// A stream we open. Numbers are not used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// A stream somebody opened to us, numbered by the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A command that is answered later, numbered by the loop; the answer carries the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What the loop tells the machine.
#[derive(Clone, Debug)]
pub enum Input {
    /// A datagram arrived.
    Datagram {
        /// Who sent it, by the socket.
        from: SocketAddr,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// Somebody opened a stream and sent one frame. Answered by exactly one [`Output::Reply`] or [`Output::Close`].
    StreamRequest {
        /// The number the answer carries.
        request: RequestId,
        /// Who opened it, by the socket.
        from: SocketAddr,
        /// The body of the frame, without its header.
        bytes: Vec<u8>,
    },
    /// Somebody opened a stream and sent no whole frame: it ended early, announced too much, or came too slowly.
    StreamBroken {
        /// Who opened it, by the socket.
        from: SocketAddr,
    },
    /// A stream we opened was answered with one frame.
    StreamReply {
        /// Which one.
        stream: StreamId,
        /// The body of the frame, without its header.
        bytes: Vec<u8>,
    },
    /// A stream we opened could not be connected, broke, or was not answered in time.
    StreamFailed {
        /// Which one.
        stream: StreamId,
        /// Why, in words for the operator.
        reason: String,
    },
    /// Join the pool of whoever is at these addresses. Answered by [`Event::Joined`].
    Join {
        /// The number the answer carries.
        ticket: Ticket,
        /// At most 64 are tried.
        addresses: Vec<SocketAddr>,
    },
    /// Leave on purpose. Answered by [`Event::LeftPool`]; afterwards the loop ends.
    Leave,
    /// Make a failed member count as left, and with `prune` forget it at once.
    ForceLeave {
        /// The node name.
        name: String,
        /// Forget it at once.
        prune: bool,
    },
    /// Say something else about ourselves from now on.
    SetTags(Tags),
    /// Fire a user event. We hear it too.
    Fire(Fired),
    /// Ask every member to list or change its keys. Answered by [`Event::KeysAnswered`].
    Keys {
        /// The number the answer carries.
        ticket: Ticket,
        /// What to do.
        operation: KeyOperation,
    },
    /// Time has passed.
    Tick,
}

/// What every member is asked to do with its keys.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum KeyOperation {
    /// Say which keys there are.
    List,
    /// Accept packets sealed with this key from now on.
    Install(Key),
    /// Seal with this key from now on.
    Use(Key),
    /// No longer accept this key.
    Remove(Key),
}

/// What the loop must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send a datagram. Losing it is harmless.
    Datagram {
        /// To whom.
        to: SocketAddr,
        /// At most [`DATAGRAM_BYTES_MAX`](super::DATAGRAM_BYTES_MAX).
        bytes: Vec<u8>,
    },
    /// Connect, send these bytes (header and body of one frame), read one frame, and say what came of it with
    /// [`Input::StreamReply`] or [`Input::StreamFailed`].
    OpenStream {
        /// The number the answer carries.
        stream: StreamId,
        /// To whom.
        to: SocketAddr,
        /// A whole frame.
        bytes: Vec<u8>,
        /// Give up after this long.
        timeout: Duration,
    },
    /// Answer a stream with these bytes (a whole frame) and close it.
    Reply {
        /// Which one.
        request: RequestId,
        /// A whole frame.
        bytes: Vec<u8>,
    },
    /// Close a stream without an answer.
    Close {
        /// Which one.
        request: RequestId,
    },
    /// Something the rest of the agent wants to know.
    Event(Event),
    /// Something an operator may want to know.
    Note(Note),
}

/// What happened in the pool.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A member joined, came back, or was learned of.
    MemberUp(Member),
    /// A member stopped answering.
    MemberFailed(Member),
    /// A member left on purpose, or was made to.
    MemberLeft(Member),
    /// A living member's address or tags changed.
    MemberChanged(Member),
    /// A member was forgotten.
    MemberReaped(Member),
    /// A user event was heard for the first time; ours too.
    UserEvent(Arc<UserEvent>),
    /// Our keys changed: keep them for the next start.
    KeysChanged(KeyRing),
    /// Every member was asked about its keys.
    KeysAnswered {
        /// The number of the command.
        ticket: Ticket,
        /// What they said.
        report: KeyReport,
    },
    /// A join is over.
    Joined {
        /// The number of the command.
        ticket: Ticket,
        /// How many addresses answered.
        contacted: usize,
        /// Those that did not, and why.
        failures: Vec<(SocketAddr, String)>,
    },
    /// The pool was told that we leave, or its time for that is over.
    LeftPool,
}

/// What came of a cluster-wide operation on keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyReport {
    /// How many members were asked, ourselves included.
    pub members: usize,
    /// How many answered in time.
    pub answered: usize,
    /// Members that refused, with their reason. Silent ones are not in here.
    pub errors: BTreeMap<String, String>,
    /// Members that did not answer in time.
    pub silent: Vec<String>,
    /// For every key how many members have it.
    pub keys: BTreeMap<Key, usize>,
    /// For every key how many members seal with it.
    pub primary_keys: BTreeMap<Key, usize>,
}

/// Something an operator may want to know. Each is said once for the same cause, however often it happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// Packets of another pool arrive from here.
    OtherPool {
        /// The sender's host; its port changes with every stream.
        from: IpAddr,
        /// Its label.
        label: String,
    },
    /// Packets of another version of this protocol arrive from here.
    OtherVersion {
        /// The sender's host; its port changes with every stream.
        from: IpAddr,
        /// Its version.
        version: u8,
    },
    /// Packets that no key opens arrive from here.
    NotAuthentic {
        /// The sender's host; its port changes with every stream.
        from: IpAddr,
    },
    /// Plain packets arrive from here although encryption is on.
    NotEncrypted {
        /// The sender's host; its port changes with every stream.
        from: IpAddr,
    },
    /// Packets that make no sense arrive from here.
    Malformed {
        /// The sender's host; its port changes with every stream.
        from: IpAddr,
    },
    /// A packet or member from outside the allowed networks was refused.
    NotAllowed {
        /// The address.
        address: IpAddr,
    },
    /// Two members claim one name; the one that was there first keeps it.
    NameConflict {
        /// The name.
        name: String,
        /// Who has it.
        ours: SocketAddr,
        /// Who claims it too.
        theirs: SocketAddr,
    },
    /// Two members claim one node id; the one that was there first keeps it.
    IdConflict {
        /// The member that was refused.
        name: String,
        /// The member that has the id.
        holder: String,
    },
    /// A member answers streams but not datagrams: its UDP is blocked somewhere.
    DatagramsBlocked {
        /// The member.
        name: String,
        /// Its address.
        address: SocketAddr,
    },
    /// Others suspected us and we objected.
    Refuted {
        /// Who suspected us.
        accuser: String,
    },
    /// A member is suspected to have failed.
    Suspected {
        /// The member.
        name: String,
    },
    /// There are more members than a pool may have; this one was refused.
    PoolFull {
        /// The member.
        name: String,
    },
    /// A member refuses to exchange state with us.
    ExchangeRefused {
        /// Its address.
        address: SocketAddr,
        /// Why, in its words.
        reason: String,
    },
    /// A living member did not answer when we wanted to exchange state.
    ExchangeFailed {
        /// Its address.
        address: SocketAddr,
        /// Why, as the loop says.
        reason: String,
    },
}

impl Note {
    /// Whether whoever can send us a packet can have it said, in the name of any address.
    pub(super) fn is_about_packets(&self) -> bool {
        match self {
            Note::OtherPool { .. }
            | Note::OtherVersion { .. }
            | Note::NotAuthentic { .. }
            | Note::NotEncrypted { .. }
            | Note::Malformed { .. }
            | Note::NotAllowed { .. } => true,
            Note::NameConflict { .. }
            | Note::IdConflict { .. }
            | Note::DatagramsBlocked { .. }
            | Note::Refuted { .. }
            | Note::Suspected { .. }
            | Note::PoolFull { .. }
            | Note::ExchangeRefused { .. }
            | Note::ExchangeFailed { .. } => false,
        }
    }
}
