//! How the servers are doing, for `/v1/operator/autopilot/health`.
//!
//! Owns what "healthy" means for the whole: every server is, and how many
//! voters may still die. The leader tells it what it sees now and what it
//! remembers; a server it has not looked at yet counts from this moment.

use std::collections::BTreeMap;

use super::{Health, Peer, Settings, View, failure_tolerance, is_healthy};
use crate::Instant;

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerReport {
    /// As Raft's membership has it.
    pub peer: Peer,
    /// Whether it is heard by gossip and by Raft, and near the end of the log.
    pub healthy: bool,
    /// Since when that has not changed.
    pub since: Instant,
}

/// All servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether every server is healthy.
    pub healthy: bool,
    /// How many healthy voters may die before the cluster stops.
    pub failure_tolerance: usize,
    /// In the order of the membership.
    pub servers: Vec<ServerReport>,
}

/// How the servers of `view` are doing at `now`, where `known` is what was seen of them at the last look.
pub fn report(now: Instant, settings: &Settings, view: View<'_>, known: &BTreeMap<String, Health>) -> Report {
    let server = |peer: &Peer| {
        let healthy = is_healthy(peer, settings, view);
        let before = known.get(&peer.id).filter(|health| health.healthy == healthy);
        ServerReport { peer: peer.clone(), healthy, since: before.map_or(now, |health| health.since) }
    };
    let servers: Vec<ServerReport> = view.peers.iter().map(server).collect();
    let voters = servers.iter().filter(|server| server.peer.voter);
    let healthy_voters = voters.clone().filter(|server| server.healthy).count();
    Report {
        healthy: !servers.is_empty() && servers.iter().all(|server| server.healthy),
        failure_tolerance: failure_tolerance(voters.count(), healthy_voters),
        servers,
    }
}
