//! What is stored, byte for byte.
//!
//! Every record is `[version][postcard]` of a type of our own, so neither an
//! upgrade of openraft nor one of redb changes what a file means. Fields and
//! variants are only ever appended under a new version; the tests below pin
//! the bytes. Reading never trusts: whatever does not parse is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use agent_core::state::Proposal;
use openraft::impls::leader_id_std::LeaderId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::types::{Entry, LogId, Membership, Payload, Proposed, ServerNode, SnapshotMeta, StoredMembership, Vote};
use crate::types::{cluster_of, log_id};

/// The version byte in front of every record this build writes.
pub const RECORD_VERSION: u8 = 1;

/// Bytes of a record, shared between the queue and whoever waits for it.
pub type Bytes = Arc<[u8]>;

#[derive(Clone, Copy, Serialize, Deserialize)]
struct LogIdRecord {
    term: u64,
    index: u64,
}

#[derive(Serialize, Deserialize)]
struct VoteRecord {
    term: u64,
    voted_for: u64,
    committed: bool,
}

#[derive(Serialize, Deserialize)]
struct EntryHead {
    id: LogIdRecord,
    payload: PayloadRecord,
}

/// What follows an entry's id. A proposal is appended behind the head as `[command version][postcard]`.
#[derive(Serialize, Deserialize)]
enum PayloadRecord {
    Blank,
    Proposal,
    Membership(MembershipRecord),
}

#[derive(Default, Serialize, Deserialize)]
struct MembershipRecord {
    /// One set of voters, or two while a change is under way.
    voters: Vec<Vec<u64>>,
    servers: Vec<ServerRecord>,
}

#[derive(Serialize, Deserialize)]
struct ServerRecord {
    raft_id: u64,
    id: String,
    node: String,
    address: SocketAddr,
}

/// What a stored snapshot consists of, beside its chunks.
#[derive(Serialize, Deserialize)]
struct SnapshotRecord {
    last: Option<LogIdRecord>,
    membership_at: Option<LogIdRecord>,
    membership: MembershipRecord,
    chunks: u32,
    size_bytes: u64,
}

/// A snapshot's place in the log and its extent on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotHead {
    pub(crate) meta: SnapshotMeta,
    pub(crate) chunks: u32,
    pub(crate) size_bytes: u64,
}

fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    postcard::to_extend(record, vec![RECORD_VERSION]).expect("records have no types that postcard refuses")
}

/// Splits a record off `bytes`; returns it with what follows.
fn decode<'a, T: DeserializeOwned>(what: &str, bytes: &'a [u8]) -> io::Result<(T, &'a [u8])> {
    match bytes {
        [RECORD_VERSION, rest @ ..] => postcard::take_from_bytes(rest).map_err(|why| damaged(what, why)),
        [version, ..] => Err(damaged(what, format!("version {version} is not known"))),
        [] => Err(damaged(what, "it is empty")),
    }
}

fn damaged(what: &str, why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the stored {what} cannot be read: {why}"))
}

impl From<LogId> for LogIdRecord {
    fn from(id: LogId) -> Self {
        LogIdRecord { term: id.leader_id.term, index: id.index }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(LogIdRecord { term, index }: LogIdRecord) -> Self {
        log_id(term, index)
    }
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> Self {
        let voters = membership.get_joint_config().iter().map(|set| set.iter().copied().collect()).collect();
        let servers = membership
            .nodes()
            .map(|(raft_id, ServerNode { id, node, address, cluster: _ })| ServerRecord {
                raft_id: *raft_id,
                id: id.clone(),
                node: node.clone(),
                address: *address,
            })
            .collect();
        MembershipRecord { voters, servers }
    }
}

/// The membership of a record, with the cluster that follows it.
fn membership(MembershipRecord { voters, servers }: MembershipRecord, rest: &[u8]) -> io::Result<Membership> {
    if voters.is_empty() {
        return Ok(Membership::default());
    }
    let cluster = decode_cluster(rest)?;
    let voters = voters.into_iter().map(|set| set.into_iter().collect::<BTreeSet<_>>()).collect();
    let nodes: BTreeMap<u64, ServerNode> = servers
        .into_iter()
        .map(|ServerRecord { raft_id, id, node, address }| (raft_id, ServerNode { id, node, address, cluster }))
        .collect();
    Membership::new(voters, nodes).map_err(|why| damaged("membership", why))
}

/// The cluster behind a record with a membership. Nothing at all for none: such records were written before clusters
/// had an id, and are as they were.
fn encode_cluster(cluster: u128, bytes: Vec<u8>) -> Vec<u8> {
    match cluster {
        0 => bytes,
        cluster => postcard::to_extend(&cluster, bytes).expect("a number is no type that postcard refuses"),
    }
}

fn decode_cluster(rest: &[u8]) -> io::Result<u128> {
    match rest {
        [] => Ok(0),
        rest => postcard::from_bytes(rest).map_err(|why| damaged("cluster id", why)),
    }
}

pub(crate) fn encode_vote(vote: &Vote) -> Bytes {
    let Vote { leader_id: LeaderId { term, voted_for }, committed } = *vote;
    encode(&VoteRecord { term, voted_for, committed }).into()
}

pub(crate) fn decode_vote(bytes: &[u8]) -> io::Result<Vote> {
    let (VoteRecord { term, voted_for, committed }, _) = decode("vote", bytes)?;
    Ok(Vote { leader_id: LeaderId { term, voted_for }, committed })
}

pub(crate) fn encode_log_id(id: LogId) -> Bytes {
    encode(&LogIdRecord::from(id)).into()
}

pub(crate) fn decode_log_id(what: &str, bytes: &[u8]) -> io::Result<LogId> {
    decode::<LogIdRecord>(what, bytes).map(|(id, _)| id.into())
}

pub(crate) fn encode_entry(entry: &Entry) -> Bytes {
    let payload = match &entry.payload {
        Payload::Blank => PayloadRecord::Blank,
        Payload::Normal(_) => PayloadRecord::Proposal,
        Payload::Membership(membership) => PayloadRecord::Membership(membership.into()),
    };
    let mut bytes = encode(&EntryHead { id: entry.log_id.into(), payload });
    match &entry.payload {
        Payload::Blank => {}
        Payload::Normal(Proposed(proposal)) => bytes.extend_from_slice(&proposal.encode()),
        Payload::Membership(membership) => bytes = encode_cluster(cluster_of(membership), bytes),
    }
    bytes.into()
}

pub(crate) fn decode_entry(bytes: &[u8]) -> io::Result<Entry> {
    let (EntryHead { id, payload }, rest) = decode("log entry", bytes)?;
    let payload = match payload {
        PayloadRecord::Blank => Payload::Blank,
        PayloadRecord::Proposal => {
            let proposal = Proposal::decode(rest).map_err(|why| damaged("log entry", why))?;
            Payload::Normal(Proposed(Arc::new(proposal)))
        }
        PayloadRecord::Membership(record) => Payload::Membership(membership(record, rest)?),
    };
    Ok(Entry { log_id: id.into(), payload })
}

pub(crate) fn encode_snapshot_head(head: &SnapshotHead) -> Bytes {
    let SnapshotHead { meta: SnapshotMeta { last_log_id, last_membership }, chunks, size_bytes } = head;
    let record = SnapshotRecord {
        last: last_log_id.map(Into::into),
        membership_at: last_membership.log_id().map(Into::into),
        membership: last_membership.membership().into(),
        chunks: *chunks,
        size_bytes: *size_bytes,
    };
    encode_cluster(cluster_of(last_membership.membership()), encode(&record)).into()
}

pub(crate) fn decode_snapshot_head(bytes: &[u8]) -> io::Result<SnapshotHead> {
    let (record, rest) = decode("snapshot", bytes)?;
    let SnapshotRecord { last, membership_at, membership: members, chunks, size_bytes } = record;
    let last_membership = StoredMembership::new(membership_at.map(Into::into), membership(members, rest)?);
    let meta = SnapshotMeta { last_log_id: last.map(Into::into), last_membership };
    Ok(SnapshotHead { meta, chunks, size_bytes })
}

#[cfg(test)]
mod tests;
