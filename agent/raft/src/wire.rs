//! What servers say to each other, as bytes.
//!
//! Owns the envelope in front of every message and the bodies of those that
//! are not Raft's own. A body of a newer version, for another server or of
//! another cluster is refused before anything of it is looked at.

use std::fmt;

use agent_core::state::{Proposal, Reply};
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::members::Change;
use crate::types::{LogId, SnapshotMeta, SnapshotResponse, TypeConfig, Vote};

/// The version byte in front of every message. Raft's own messages have openraft's layout, so an upgrade of it that
/// changes one of them counts it up.
pub const WIRE_VERSION: u8 = 1;

/// The largest message between servers, in bytes. The largest one sent is an entry of the largest size that HTTP takes.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The bytes of a snapshot that one message carries.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

/// The largest snapshot that is accepted, in bytes: it is held in memory until it is whole.
pub(crate) const SNAPSHOT_BYTES_MAX: u64 = 2 << 30;

/// What a message asks of the server it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rpc {
    /// Append entries.
    Append,
    /// The leader is alive: an append without entries, small and urgent.
    Heartbeat,
    /// Vote for the sender.
    Vote,
    /// Say whether you would.
    PreVote,
    /// Take this piece of a snapshot.
    Snapshot,
    /// Take over as leader.
    TransferLeader,
    /// Propose this: you lead.
    Forward,
    /// Up to where must a read that begins now see the log? You lead.
    ReadIndex,
    /// Change who the servers are: you lead.
    Change,
}

impl Rpc {
    /// Whether it is small and late means lost: such messages must not queue behind entries and snapshots.
    pub fn is_urgent(self) -> bool {
        matches!(self, Rpc::Heartbeat | Rpc::Vote | Rpc::PreVote | Rpc::TransferLeader | Rpc::ReadIndex)
    }
}

/// Why a message was not acted upon. Nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is of a version that this build does not speak.
    Version(u8),
    /// It comes from a server of another cluster.
    OtherCluster,
    /// It is for a server that used to have our address, or will.
    OtherServer,
    /// It makes no sense.
    Damaged(String),
    /// Raft has stopped here.
    Stopped(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Version(version) => {
                write!(f, "message has version {version}, this server speaks {WIRE_VERSION}: upgrade it")
            }
            Refused::OtherCluster => f.write_str("sender belongs to another cluster: start it with an empty -data-dir"),
            Refused::OtherServer => f.write_str("message is for another server"),
            Refused::Damaged(why) => write!(f, "message cannot be read: {why}"),
            Refused::Stopped(why) => write!(f, "raft has stopped: {why}"),
        }
    }
}

impl std::error::Error for Refused {}

/// In front of every message, behind the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// The sender's cluster; zero while it has none.
    pub(crate) cluster: u128,
    /// Who sends it.
    pub(crate) from: u64,
    /// Who it is for.
    pub(crate) to: u64,
}

/// `[version][envelope][message]`.
pub(crate) fn seal<T: Serialize>(envelope: Envelope, message: &T) -> Vec<u8> {
    let bytes = postcard::to_extend(&envelope, vec![WIRE_VERSION]).expect("an envelope has no type postcard refuses");
    postcard::to_extend(message, bytes).expect("messages have no types that postcard refuses")
}

/// Splits a message into its envelope and the rest.
pub(crate) fn open(bytes: &[u8]) -> Result<(Envelope, &[u8]), Refused> {
    match bytes {
        [WIRE_VERSION, rest @ ..] => postcard::take_from_bytes(rest).map_err(damaged),
        [version, ..] => Err(Refused::Version(*version)),
        [] => Err(Refused::Damaged("it is empty".to_owned())),
    }
}

/// Reads a message or an answer.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(Refused::Damaged(format!("{} bytes follow its end", rest.len()))),
        Err(why) => Err(damaged(why)),
    }
}

/// Reads a message as [`crate::Consensus::handle`] would, and does nothing with it: the fuzzer's way in.
///
/// # Errors
/// [`Refused`]: it cannot be read.
pub fn inspect(rpc: Rpc, message: &[u8]) -> Result<(), Refused> {
    let (_, body) = open(message)?;
    match rpc {
        Rpc::Append | Rpc::Heartbeat => read::<AppendEntriesRequest<TypeConfig>>(body).map(drop),
        Rpc::Vote | Rpc::PreVote => read::<VoteRequest<TypeConfig>>(body).map(drop),
        Rpc::TransferLeader => read::<TransferLeaderRequest<TypeConfig>>(body).map(drop),
        Rpc::Snapshot => read::<Chunk>(body).map(drop),
        Rpc::Forward => read::<Proposal>(body).map(drop),
        Rpc::ReadIndex => read::<bool>(body).map(drop),
        Rpc::Change => read::<Change>(body).map(drop),
    }
}

pub(crate) fn write<T: Serialize>(answer: &T) -> Vec<u8> {
    postcard::to_stdvec(answer).expect("answers have no types that postcard refuses")
}

fn damaged(why: postcard::Error) -> Refused {
    Refused::Damaged(why.to_string())
}

/// The answer to [`Rpc::Forward`].
#[derive(Serialize, Deserialize)]
pub(crate) enum Forwarded {
    Applied {
        index: u64,
        reply: Reply,
    },
    /// Nothing was proposed.
    NotLeader,
    Unknown,
}

/// The answer to [`Rpc::ReadIndex`].
#[derive(Serialize, Deserialize)]
pub(crate) enum ReadFrom {
    /// A read that sees this entry is as fresh as was asked for.
    Entry(LogId),
    NotLeader,
}

/// A piece of a snapshot.
#[derive(Serialize, Deserialize)]
pub(crate) struct Chunk {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    pub(crate) size_bytes: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The answer to [`Rpc::Snapshot`].
#[derive(Serialize, Deserialize)]
pub(crate) enum Received {
    /// Go on from here.
    From(u64),
    /// It is whole, and Raft has looked at it.
    Whole(SnapshotResponse),
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVELOPE: Envelope = Envelope { cluster: 7, from: 1, to: 300 };

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let sealed = seal(ENVELOPE, &Some(9u64));

        let (envelope, rest) = open(&sealed).unwrap();

        assert_eq!((envelope, read(rest).unwrap()), (ENVELOPE, Some(9u64)));
        assert_eq!(inspect(Rpc::ReadIndex, &seal(ENVELOPE, &true)), Ok(()));
        assert!(inspect(Rpc::Vote, &seal(ENVELOPE, &true)).is_err());
        assert_eq!(sealed, [1, 7, 1, 172, 2, 1, 9]);
    }

    #[test]
    fn anything_else_is_refused() {
        let whole = seal(ENVELOPE, &Some(9u64));
        for cut in 0..whole.len() {
            let read = open(&whole[..cut]).and_then(|(_, rest)| read::<Option<u64>>(rest));
            assert!(matches!(read, Err(Refused::Damaged(_))), "cut at {cut}");
        }
        let longer = [whole.as_slice(), &[0]].concat();
        assert!(open(&longer).and_then(|(_, rest)| read::<Option<u64>>(rest)).is_err());
        let mut newer = whole;
        newer[0] = 2;
        let refused = open(&newer).unwrap_err();
        assert_eq!(refused.to_string(), "message has version 2, this server speaks 1: upgrade it");
    }
}
