//! The leader's care for the servers: who follows, who gets a vote, who goes.
//!
//! [`Autopilot`] compares the servers that gossip knows with those in Raft's
//! membership and says what to change, one step at a time. A server that
//! appears follows first and gets its vote once it was healthy for a while, so
//! that one which flaps costs no quorum. One that left goes at once; one that
//! died goes only while those that remain are still a majority of what was
//! there. See Consul's "Autopilot" page. [`founders`] is the rule by which a
//! new cluster begins.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::Instant;
use crate::reconcile::Presence;
use crate::state::tables::AutopilotConfig;

mod report;

pub use report::{Report, ServerReport, report};

/// What an operator may set (`autopilot` in the configuration, `operator autopilot set-config`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether dead servers are removed without being asked.
    pub cleanup_dead_servers: bool,
    /// The longest silence of a healthy server.
    pub last_contact_max: Duration,
    /// How many entries a healthy server may be behind.
    pub trailing_logs_max: u64,
    /// No dead server is removed when fewer voters than this would remain.
    pub quorum_min: usize,
    /// How long a server must have been healthy before it gets a vote.
    pub stabilization: Duration,
}

impl Default for Settings {
    /// Consul's defaults.
    fn default() -> Self {
        Settings::from(&AutopilotConfig::default())
    }
}

impl From<&AutopilotConfig> for Settings {
    /// What the stored record means to the rules.
    fn from(config: &AutopilotConfig) -> Self {
        let time = |nanoseconds: i64| Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
        Settings {
            cleanup_dead_servers: config.cleanup_dead_servers,
            last_contact_max: time(config.last_contact_threshold_ns),
            trailing_logs_max: config.max_trailing_logs,
            quorum_min: usize::try_from(config.min_quorum).unwrap_or(usize::MAX),
            stabilization: time(config.server_stabilization_time_ns),
        }
    }
}

/// A server that gossip knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The node id.
    pub id: String,
    /// The node name.
    pub name: String,
    /// Where its RPC port listens.
    pub address: SocketAddr,
    /// Whether gossip hears it.
    pub presence: Presence,
}

/// A server of Raft's membership, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The node id.
    pub id: String,
    /// The address the membership has.
    pub address: SocketAddr,
    /// Whether it has a vote.
    pub voter: bool,
    /// How long it has been silent; `None` when it was not heard since this server leads. Zero for the leader itself.
    pub silence: Option<Duration>,
    /// How many entries it is behind.
    pub behind: u64,
}

/// A change of Raft's membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Let it follow, under this name and address.
    Add(Known),
    /// Give it a vote.
    Promote(String),
    /// Remove it.
    Remove(String),
}

/// What the leader sees when it looks.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The id of the leader: this server.
    pub own_id: &'a str,
    /// Servers that gossip knows.
    pub known: &'a [Known],
    /// Raft's membership.
    pub peers: &'a [Peer],
}

/// How a server is doing, for `/v1/operator/autopilot/health`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it is heard by gossip and by Raft, and near the end of the log.
    pub healthy: bool,
    /// Since when that has not changed.
    pub since: Instant,
}

/// The leader's memory of how the servers do. A new leader starts with an empty one.
#[derive(Clone, Debug, Default)]
pub struct Autopilot {
    health: BTreeMap<String, Health>,
}

impl Autopilot {
    /// Looks at the servers; returns the next change of the membership, if one is due. After it is done, or was
    /// refused, look again.
    pub fn look(&mut self, now: Instant, settings: &Settings, view: View<'_>) -> Option<Step> {
        self.remember(now, settings, view);
        missing(view)
            .or_else(|| gone(view))
            .or_else(|| self.deserving(now, settings, view))
            .or_else(|| dead(settings, view))
    }

    /// How each server of the membership was doing at the last look, by id.
    pub fn health(&self) -> &BTreeMap<String, Health> {
        &self.health
    }

    fn remember(&mut self, now: Instant, settings: &Settings, view: View<'_>) {
        self.health.retain(|id, _| view.peers.iter().any(|peer| peer.id == *id));
        for peer in view.peers {
            let healthy = is_healthy(peer, settings, view);
            let health = self.health.entry(peer.id.clone()).or_insert(Health { healthy, since: now });
            if health.healthy != healthy {
                *health = Health { healthy, since: now };
            }
        }
    }

    /// A follower that was healthy for long enough.
    fn deserving(&self, now: Instant, settings: &Settings, view: View<'_>) -> Option<Step> {
        let is_stable = |peer: &&Peer| {
            let health = self.health.get(&peer.id).filter(|health| health.healthy);
            health.is_some_and(|health| now.saturating_since(health.since) >= settings.stabilization)
        };
        let followers = view.peers.iter().filter(|peer| !peer.voter);
        followers.filter(is_stable).map(|peer| Step::Promote(peer.id.clone())).next()
    }
}

fn is_healthy(peer: &Peer, settings: &Settings, view: View<'_>) -> bool {
    peer.id == view.own_id
        || (presence(&peer.id, view) == Presence::Alive
            && peer.silence.is_some_and(|silence| silence <= settings.last_contact_max)
            && peer.behind <= settings.trailing_logs_max)
}

fn presence(id: &str, view: View<'_>) -> Presence {
    view.known.iter().find(|known| known.id == id).map_or(Presence::Gone, |known| known.presence)
}

/// A living server that does not follow yet, or moved. The leader itself does neither.
fn missing(view: View<'_>) -> Option<Step> {
    let follows = |known: &&Known| view.peers.iter().any(|peer| peer.id == known.id && peer.address == known.address);
    let living = view.known.iter().filter(|known| known.presence == Presence::Alive && known.id != view.own_id);
    living.filter(|known| !follows(known)).map(|known| Step::Add(known.clone())).next()
}

/// A server that left. Nobody who is not known to gossip is taken for gone while this server is alone in the pool:
/// after a restart, the others are not heard of yet.
fn gone(view: View<'_>) -> Option<Step> {
    let left = |peer: &&Peer| {
        view.known.iter().any(|known| known.id == peer.id && known.presence == Presence::Gone) && peer.id != view.own_id
    };
    view.peers.iter().find(left).map(|peer| Step::Remove(peer.id.clone()))
}

/// A dead server that can be spared: fewer than half of the voters are dead, and enough remain.
fn dead(settings: &Settings, view: View<'_>) -> Option<Step> {
    if !settings.cleanup_dead_servers {
        return None;
    }
    let is_dead = |peer: &&Peer| peer.id != view.own_id && presence(&peer.id, view) == Presence::Failed;
    if let Some(follower) = view.peers.iter().filter(|peer| !peer.voter).find(is_dead) {
        return Some(Step::Remove(follower.id.clone()));
    }
    let voters = view.peers.iter().filter(|peer| peer.voter);
    let all = voters.clone().count();
    let dead = voters.clone().filter(is_dead).count();
    let can_be_spared = dead < all / 2 && all - dead >= settings.quorum_min;
    voters.clone().find(is_dead).filter(|_| can_be_spared).map(|peer| Step::Remove(peer.id.clone()))
}

/// How many voters may die before the cluster stops, when `healthy` of `voters` are fine.
pub fn failure_tolerance(voters: usize, healthy: usize) -> usize {
    healthy.saturating_sub(voters / 2 + 1)
}

/// The servers that form a new cluster (`bootstrap_expect`), once enough are there: those that are alive and expect the
/// same number. Nobody does where there is a cluster already: its leader will add them.
///
/// # Errors
/// In words for the log: why waiting won't help.
pub fn founders(expect: usize, candidates: &[Candidate]) -> Result<Option<Vec<Known>>, String> {
    let living = || candidates.iter().filter(|candidate| candidate.server.presence == Presence::Alive);
    if let Some(other) = living().find(|candidate| candidate.expect != 0 && candidate.expect != expect) {
        return Err(format!(
            "member {} has a conflicting expect value {}: give all servers the same bootstrap_expect",
            other.server.name, other.expect
        ));
    }
    if let Some(alone) = living().find(|candidate| candidate.bootstrap) {
        return Err(format!(
            "member {} has bootstrap mode: it forms a cluster of its own, so remove bootstrap_expect here",
            alone.server.name
        ));
    }
    if living().any(|candidate| candidate.cluster.is_some()) {
        return Ok(None);
    }
    let expecting: Vec<Known> =
        living().filter(|candidate| candidate.expect == expect).map(|candidate| candidate.server.clone()).collect();
    Ok((expecting.len() >= expect).then_some(expecting))
}

/// The servers that a leader of `cluster` cares for: those of another one are not its own to add.
pub fn of_cluster(cluster: Option<u128>, candidates: &[Candidate]) -> Vec<Known> {
    let is_ours = |candidate: &&Candidate| candidate.cluster.is_none() || candidate.cluster == cluster;
    candidates.iter().filter(is_ours).map(|candidate| candidate.server.clone()).collect()
}

/// A server that may help to form a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The server.
    pub server: Known,
    /// How many servers it waits for; zero when it waits for none.
    pub expect: usize,
    /// Whether it forms a cluster of one.
    pub bootstrap: bool,
    /// The cluster it is a member of already.
    pub cluster: Option<u128>,
}

#[cfg(test)]
mod tests;
