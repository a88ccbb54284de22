//! Who the servers are: forming a cluster, adding, promoting, demoting, removing, handing over the lead.
//!
//! Owns the order of the steps: the shortcut of a lone voter ends before
//! anything is proposed, one change at a time, and a change that a dead leader
//! left half-way is finished first. Every change may be asked of any server
//! and asked again: what is already so is done.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, InitializeError, RaftError};
use openraft::raft::Precondition;
use openraft::{ChangeMembers, Instant as _};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::consensus::{Consensus, Expired, Hold, Inner, Leader, Raft, Server, explain};
use crate::network::CallError;
use crate::types::{LogId, ServerNode, StoredMembership, cluster_of, is_voter, raft_id};
use crate::wire::Rpc;

/// How long a change may be under way before its outcome is called unknown.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// A change of who the servers are. Servers are named by their node id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Let this server follow the log without a vote; also when its name or address is new.
    ///
    /// Another server at the same address is removed first: it cannot be there any more.
    Add(Server),
    /// Give a server that follows a vote.
    Promote(String),
    /// Take a server's vote; it goes on following.
    Demote(String),
    /// Remove a server. A leader that is removed hands over the lead first.
    Remove(String),
    /// Hand over the lead: to this server, or to the voter that is furthest.
    Transfer(Option<String>),
}

/// Why the servers are not as was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeError {
    /// No leader within the hold time. Nothing was changed by this call.
    NoLeader,
    /// The outcome is unknown; asking again does no harm.
    Unknown,
    /// It makes no sense, or would cost the cluster its quorum for certain.
    Refused(String),
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChangeError::NoLeader => f.write_str("No cluster leader"),
            ChangeError::Unknown => f.write_str("leadership lost while committing log"),
            ChangeError::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ChangeError {}

/// How well another server follows, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// The server.
    pub server: Server,
    /// The newest entry it is known to have.
    pub last_log_index: u64,
    /// The term of that entry.
    pub last_log_term: u64,
    /// How long ago it last answered; `None` when it has not since this server leads.
    pub last_contact: Option<Duration>,
}

/// What the leader says to a change.
#[derive(Serialize, Deserialize)]
pub(crate) enum Changed {
    Done,
    NotLeader,
    Failed(ChangeError),
}

impl Consensus {
    /// Forms a cluster of `servers`, this one among them. To be called by each of them with the same set, again until
    /// [`Consensus::servers`] is not empty.
    ///
    /// Only the server whose Raft id is the lowest writes anything, so that servers which disagree about the set form
    /// no cluster twice under one name: it chooses the cluster's id, and the others learn all from it. Says whether
    /// it was this one.
    ///
    /// # Errors
    /// [`ChangeError::Refused`] when this server is not among `servers`, [`ChangeError::Unknown`] when Raft has stopped.
    pub async fn bootstrap(&self, servers: &[Server]) -> Result<bool, ChangeError> {
        let lowest = servers.iter().map(|server| raft_id(&server.id)).min();
        if !servers.iter().any(|server| raft_id(&server.id) == self.inner.raft_id) {
            return Err(ChangeError::Refused("this server is not among those that form the cluster".to_owned()));
        }
        if lowest != Some(self.inner.raft_id) || self.inner.cluster() != 0 {
            return Ok(false);
        }
        initialize(&self.inner.raft, servers, (self.inner.stamp)().0).await?;
        Ok(true)
    }

    /// Changes who the servers are; forwarded once to the leader when that is another server.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn change(&self, change: &Change) -> Result<(), ChangeError> {
        let mut hold = Hold::new(self.inner.hold_time);
        loop {
            let changed = match self.inner.leader() {
                Leader::Here => self.inner.change_here(change).await,
                Leader::There(id, server) => {
                    match self.inner.call((id, &server), Rpc::Change, change, CHANGE_TIMEOUT).await {
                        Ok(changed) => changed,
                        Err(CallError::NotSent(_) | CallError::Refused(_)) => Changed::NotLeader,
                        Err(CallError::Lost(_) | CallError::Timeout) => Changed::Failed(ChangeError::Unknown),
                    }
                }
                Leader::Nowhere => Changed::NotLeader,
            };
            match changed {
                Changed::Done => return Ok(()),
                Changed::Failed(error) => return Err(error),
                Changed::NotLeader => hold.pause().await.map_err(|Expired| ChangeError::NoLeader)?,
            }
        }
    }

    /// Has the others do without this server from now on: it leaves for good. The last server stays.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn resign(&self) -> Result<(), ChangeError> {
        if self.servers().len() < 2 {
            return Ok(());
        }
        self.change(&Change::Remove(self.inner.server.id.clone())).await
    }

    /// Has another voter lead if this server does, because it stops: the others then miss no leader for an election's time.
    ///
    /// # Errors
    /// [`ChangeError`]; this server may still lead.
    pub async fn step_down(&self) -> Result<(), ChangeError> {
        let has_heirs = self.servers().iter().any(|server| server.voter && server.id != self.inner.server.id);
        match self.leadership().is_self && has_heirs {
            true => self.change(&Change::Transfer(None)).await,
            false => Ok(()),
        }
    }

    /// How well the other servers follow; empty while this server does not lead.
    pub fn followers(&self) -> Vec<Follower> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let Some(replication) = &metrics.replication else { return Vec::new() };
        let heard = |id| metrics.heartbeat.as_ref()?.get(id)?.as_ref().map(|at| at.elapsed());
        let others = replication.iter().filter(|(id, _)| **id != self.inner.raft_id);
        others
            .filter_map(|(id, matching)| {
                let server = self.inner.server(membership, *id)?;
                let (last_log_index, last_log_term) = matching.map_or((0, 0), |id| (id.index, id.leader_id.term));
                Some(Follower { server, last_log_index, last_log_term, last_contact: heard(id) })
            })
            .collect()
    }
}

/// Writes the first entry of a new cluster's log.
pub(crate) async fn initialize(raft: &Raft, servers: &[Server], cluster: u128) -> Result<(), ChangeError> {
    let nodes: BTreeMap<_, _> =
        servers.iter().map(|server| (raft_id(&server.id), ServerNode::new(server, cluster))).collect();
    match raft.initialize(nodes).await {
        // An earlier start got as far as the vote: the election goes on from there.
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(RaftError::APIError(error)) => Err(ChangeError::Refused(error.to_string())),
        Err(RaftError::Fatal(_)) => Err(ChangeError::Unknown),
    }
}

/// Why a step of a change was not done.
pub(crate) enum Stopped {
    NotLeader,
    Failed(ChangeError),
}

pub(crate) type Step = Result<(), Stopped>;

fn refused(why: String) -> Stopped {
    Stopped::Failed(ChangeError::Refused(why))
}

/// How long a leader waits for its proposals before it hands over: far longer than a commit takes where one is possible.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

impl Inner {
    /// Makes a change, if this server leads.
    pub(crate) async fn change_here(&self, change: &Change) -> Changed {
        let changing = async {
            let _one_at_a_time = self.changing.lock().await;
            self.finish_joint().await?;
            match change {
                Change::Add(server) => self.add(server).await,
                Change::Promote(id) => self.promote(raft_id(id), id).await,
                Change::Demote(id) => self.demote(raft_id(id), id).await,
                Change::Remove(id) => self.remove(raft_id(id)).await,
                Change::Transfer(to) => self.transfer(to.as_deref()).await,
            }
        };
        match tokio::time::timeout(CHANGE_TIMEOUT, changing).await {
            Ok(Ok(())) => Changed::Done,
            Ok(Err(Stopped::NotLeader)) => Changed::NotLeader,
            Ok(Err(Stopped::Failed(error))) => Changed::Failed(error),
            Err(_) => Changed::Failed(ChangeError::Unknown),
        }
    }

    /// Ends what a leader that died in the middle of a change left: the old voters and the new ones must agree until then.
    ///
    /// Raft would take the next change from there, too, but to a membership without its leader, which it cannot bear.
    pub(crate) async fn finish_joint(&self) -> Step {
        let membership = self.membership();
        let voters = membership.membership().get_joint_config();
        let (true, Some(last)) = (voters.len() > 1, voters.last()) else { return Ok(()) };
        if !last.contains(&self.raft_id) {
            self.hand_over(last.iter().copied().next()).await?;
            return Err(Stopped::NotLeader);
        }
        self.propose_change(&membership, ChangeMembers::ReplaceAllVoters(last.clone()), true).await
    }

    fn membership(&self) -> StoredMembership {
        StoredMembership::clone(&self.raft.server_metrics().borrow_watched().membership_config)
    }

    async fn add(&self, server: &Server) -> Step {
        let id = raft_id(&server.id);
        let stored = self.membership();
        let node = ServerNode::new(server, cluster_of(stored.membership()));
        if stored.membership().get_node(&id) == Some(&node) {
            return Ok(());
        }
        let at_its_place =
            stored.membership().nodes().find(|(other, known)| **other != id && known.address == node.address);
        if let Some((other, _)) = at_its_place {
            self.remove(*other).await?;
        }
        let stored = self.membership();
        let nodes = BTreeMap::from([(id, node)]);
        let change = match stored.membership().get_node(&id) {
            Some(_) => ChangeMembers::SetNodes(nodes),
            None => ChangeMembers::AddNodes(nodes),
        };
        self.propose_change(&stored, change, true).await
    }

    async fn promote(&self, id: u64, name: &str) -> Step {
        let stored = self.membership();
        if is_voter(stored.membership(), id) {
            return Ok(());
        }
        if stored.membership().get_node(&id).is_none() {
            return Err(refused(format!("server {name} is not a member")));
        }
        self.propose_change(&stored, ChangeMembers::AddVoterIds(BTreeSet::from([id])), true).await
    }

    async fn demote(&self, id: u64, name: &str) -> Step {
        let stored = self.membership();
        if !is_voter(stored.membership(), id) {
            return Ok(());
        }
        self.spare(&stored, id, name).await?;
        self.propose_change(&stored, ChangeMembers::RemoveVoters(BTreeSet::from([id])), true).await
    }

    async fn remove(&self, id: u64) -> Step {
        let stored = self.membership();
        let Some(node) = stored.membership().get_node(&id) else { return Ok(()) };
        let ids = BTreeSet::from([id]);
        if !is_voter(stored.membership(), id) {
            return self.propose_change(&stored, ChangeMembers::RemoveNodes(ids), true).await;
        }
        self.spare(&stored, id, &node.id).await?;
        self.propose_change(&stored, ChangeMembers::RemoveVoters(ids), false).await
    }

    /// Makes sure that the cluster can do without this voter's vote and lead.
    async fn spare(&self, stored: &StoredMembership, id: u64, name: &str) -> Step {
        if stored.membership().voter_ids().count() < 2 {
            return Err(refused(format!("server {name} is the last voter")));
        }
        if id == self.raft_id {
            self.transfer(None).await?;
            // The new leader makes the change.
            return Err(Stopped::NotLeader);
        }
        Ok(())
    }

    async fn transfer(&self, to: Option<&str>) -> Step {
        let id = to.map(raft_id);
        if id == Some(self.raft_id) {
            return Ok(());
        }
        let voters = self.membership();
        if let (Some(id), Some(name)) = (id, to)
            && !is_voter(voters.membership(), id)
        {
            return Err(refused(format!("server {name} is not a voter")));
        }
        self.hand_over(id).await
    }

    /// Makes `to` the leader, or else the voter that is furthest, and waits until this server does not lead any more.
    async fn hand_over(&self, to: Option<u64>) -> Step {
        let Some(to) = to.or_else(|| self.furthest()) else {
            return Err(refused("there is no other voter to take over".to_owned()));
        };
        // What is under way now is applied before another server leads; what comes meanwhile is proposed there. Nobody's
        // write ends with an unknown outcome, unless it takes longer than that.
        let _closed = self.proposals.close();
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, self.proposals.finished()).await;
        if self.raft.trigger().transfer_leader(to).await.is_err() {
            return Err(Stopped::Failed(ChangeError::Unknown));
        }
        let mut metrics = self.raft.server_metrics();
        let ends = Instant::now() + 4 * self.timing.election_max;
        loop {
            match metrics.borrow_and_update().current_leader {
                Some(leader) if leader != self.raft_id => return Ok(()),
                _ => {}
            }
            match tokio::time::timeout_at(ends, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Stopped::Failed(ChangeError::Unknown)),
                Err(_) => return Err(refused("the other server did not take over in time".to_owned())),
            }
        }
    }

    /// The other voter that has most of the log; among equals the one heard last.
    fn furthest(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let heard = |id: &u64| metrics.heartbeat.as_ref().and_then(|heard| heard.get(id).copied().flatten());
        let voters = metrics.replication.iter().flatten().filter(|(id, _)| **id != self.raft_id);
        let voters = voters.filter(|(id, _)| is_voter(membership, **id));
        voters.max_by_key(|(id, matching)| (**matching, heard(id).map(|at| *at))).map(|(id, _)| *id)
    }

    /// Ends the shortcut of a lone voter: from here on others may count.
    fn end_alone(&self) {
        if self.alone.swap(false, Ordering::AcqRel) {
            self.raft.runtime_config().tick(true);
        }
    }

    /// Changes `from`, unless another change came between.
    async fn propose_change(
        &self,
        from: &StoredMembership,
        change: ChangeMembers<u64, ServerNode>,
        retain: bool,
    ) -> Step {
        self.end_alone();
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: *from.log_id() };
        let change = self.raft.change_membership_if(change, retain, [unchanged]).await;
        match change {
            Ok(response) => self.wait_for_membership(response.log_id).await,
            Err(RaftError::Fatal(fatal)) => {
                tracing::warn!("the servers were not changed: {}", explain(&fatal));
                Err(Stopped::Failed(ChangeError::Unknown))
            }
            Err(RaftError::APIError(error)) => Err(match error {
                ClientWriteError::ForwardToLeader(_) | ClientWriteError::PreconditionFailed(_) => Stopped::NotLeader,
                ClientWriteError::LogEntryDiscarded(_) => Stopped::Failed(ChangeError::Unknown),
                ClientWriteError::ChangeMembershipError(openraft::errors::ChangeMembershipError::InProgress(_)) => {
                    Stopped::NotLeader
                }
                ClientWriteError::ChangeMembershipError(error) => refused(error.to_string()),
            }),
        }
    }

    /// Waits until the figures show a change that is done, so that the next one starts from it.
    async fn wait_for_membership(&self, log_id: LogId) -> Step {
        let mut metrics = self.raft.server_metrics();
        while *metrics.borrow_and_update().membership_config.log_id() < Some(log_id) {
            if metrics.changed().await.is_err() {
                return Err(Stopped::Failed(ChangeError::Unknown));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
