//! Makes the log of one server a data centre of its own, when most of the others are lost.
//!
//! Without a quorum nobody can change who the servers are, so this is done on
//! the disk of a server that is stopped. Everything its log holds is applied,
//! also what was never known to be committed: it may have been, by those who
//! are lost. What comes of it becomes a snapshot with this server as the only
//! member, and the log before it is forgotten.
//!
//! **The cluster gets a new id.** Members of the old one may still come back,
//! even a quorum of them, with entries that contradict this log under the same
//! numbers. With the old id they would be let in, and histories would mix:
//! with a new one, they and this server refuse each other's messages, and its
//! leader does not add them.
//!
//! One server is recovered, never several: two logs that were cut off at
//! different places are not one history. The others begin empty and join.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::Arc;

use agent_core::state::{State, apply, snapshot as encoding};
use openraft::RaftLogReader;
use openraft::impls::leader_id_std::LeaderId;
use openraft::storage::RaftLogStorage;

use crate::Server;
use crate::compaction::Meter;
use crate::disk::Disk;
use crate::log::LogStore;
use crate::snapshot::SnapshotStore;
use crate::types::{LogId, Membership, Payload, Proposed, ServerNode, SnapshotMeta, StoredMembership, Vote};
use crate::types::{cluster_of, log_id, raft_id};

/// Why a server cannot be recovered. Nothing was changed, unless the disk failed while writing; then the command can
/// be given again.
#[derive(Debug)]
pub enum RecoverError {
    /// The disk failed or holds what cannot be read.
    Disk(io::Error),
    /// No cluster was ever joined or formed.
    Empty,
    /// The log does not have this server among its members.
    NotMember {
        /// The node id that was looked for.
        id: String,
        /// The members there are.
        members: Vec<Server>,
    },
}

impl fmt::Display for RecoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoverError::Disk(source) => write!(f, "could not read or write the raft log: {source}"),
            RecoverError::Empty => f.write_str(
                "the raft log is empty: this server was never a member of a cluster, there is nothing to recover",
            ),
            RecoverError::NotMember { id, members } => {
                let known: Vec<String> =
                    members.iter().map(|server| format!("{} ({})", server.id, server.node)).collect();
                write!(f, "node id {id} is not among the servers of the raft log, which are {}", known.join(", "))
            }
        }
    }
}

impl std::error::Error for RecoverError {}

impl From<io::Error> for RecoverError {
    fn from(source: io::Error) -> Self {
        RecoverError::Disk(source)
    }
}

/// What a stopped server has.
pub struct Survivor {
    /// The server itself, as the membership knows it.
    pub server: Server,
    /// The other members, which it would do without.
    pub others: Vec<Server>,
    /// Everything its snapshot and log come to.
    pub state: State,
    last: LogId,
    cluster: u128,
    log: LogStore,
    snapshots: SnapshotStore,
}

impl fmt::Debug for Survivor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Survivor").field("server", &self.server).field("last", &self.last).finish_non_exhaustive()
    }
}

impl Survivor {
    /// Reads what the server `node_id` has on `disk`. Changes nothing.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub async fn examine(disk: Arc<dyn Disk>, node_id: &str) -> Result<Survivor, RecoverError> {
        let meter = Arc::new(Meter::default());
        let snapshots = SnapshotStore::load(disk.clone(), meter.clone()).await?;
        let mut log = LogStore::load(disk, meter).await?;
        let (mut state, mut reached) = restore(&snapshots).await?;
        replay(&mut log, &mut state, &mut reached).await?;
        let membership = reached.last_membership.membership();
        let (Some(last), true) = (reached.last_log_id, membership.nodes().next().is_some()) else {
            return Err(RecoverError::Empty);
        };
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let server = |(id, node): (&u64, &ServerNode)| node.to_server(voters.contains(id));
        let own = raft_id(node_id);
        let (found, others): (Vec<_>, Vec<_>) = membership.nodes().partition(|(id, _)| **id == own);
        match found.into_iter().map(server).next() {
            Some(found) => Ok(Survivor {
                server: found,
                others: others.into_iter().map(server).collect(),
                cluster: cluster_of(membership),
                state,
                last,
                log,
                snapshots,
            }),
            None => {
                let members = membership.nodes().map(server).collect();
                Err(RecoverError::NotMember { id: node_id.to_owned(), members })
            }
        }
    }

    /// The newest entry: of two survivors, the one with the higher term, then the higher index, has what the other has.
    pub fn last_entry(&self) -> (u64, u64) {
        (self.last.leader_id.term, self.last.index)
    }

    /// The cluster it is a member of; zero where that is not known.
    pub fn cluster(&self) -> u128 {
        self.cluster
    }

    /// Makes the server the only member of `cluster`, which has to be a new one. The disk can be closed afterwards.
    ///
    /// # Errors
    /// The disk failed: the server is then either as it was, or recovered.
    pub async fn recover(self, cluster: u128) -> io::Result<()> {
        let mut log = self.log.clone();
        let at = self.stand_alone(cluster).await?;
        // A crash before this does no harm: a start, too, forgets a log that ends before the snapshot.
        log.purge(at).await
    }

    /// Makes what there is a snapshot whose only member is this server, and returns its place in the log.
    async fn stand_alone(self, cluster: u128) -> io::Result<LogId> {
        let Survivor { server, state, last, mut log, snapshots, .. } = self;
        let own = raft_id(&server.id);
        let voted = log.read_vote().await?.map_or(0, |vote| vote.leader_id.term);
        // A term and an index that no other server can have used: whatever comes later is newer.
        let term = voted.max(last.leader_id.term) + 1;
        let at = log_id(term, last.index + 1);
        let nodes = BTreeMap::from([(own, ServerNode::new(&server, cluster))]);
        let membership = Membership::new(vec![BTreeSet::from([own])], nodes).map_err(io::Error::other)?;
        let meta = SnapshotMeta { last_log_id: Some(at), last_membership: StoredMembership::new(Some(at), membership) };
        log.save_vote(&Vote { leader_id: LeaderId { term, voted_for: own }, committed: false }).await?;
        snapshots.keep_state(&meta, state).await?;
        Ok(at)
    }
}

async fn restore(snapshots: &SnapshotStore) -> io::Result<(State, SnapshotMeta)> {
    let Some(snapshot) = snapshots.current().await? else { return Ok(Default::default()) };
    let state = encoding::decode(&snapshot.snapshot).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
    Ok((state, snapshot.meta))
}

/// Applies what the log has after the snapshot, a piece at a time.
async fn replay(log: &mut LogStore, state: &mut State, reached: &mut SnapshotMeta) -> io::Result<()> {
    loop {
        let next = reached.last_log_id.map_or(0, |id| id.index + 1);
        let entries = log.limited_get_log_entries(next, u64::MAX).await?;
        match entries.first() {
            None => return Ok(()),
            Some(first) if first.log_id.index > next => {
                let why =
                    format!("entries {next} to {} are in neither the log nor the snapshot", first.log_id.index - 1);
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            Some(_) => {}
        }
        for entry in entries {
            reached.last_log_id = Some(entry.log_id);
            match entry.payload {
                Payload::Blank => {}
                Payload::Normal(Proposed(proposal)) => drop(apply(state, entry.log_id.index, &proposal)),
                Payload::Membership(membership) => {
                    reached.last_membership = StoredMembership::new(Some(entry.log_id), membership);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
