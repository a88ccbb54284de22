//! What is known of the servers' health and of the settings they are cared for by, for the loop and for the API.
//!
//! The loop of [`super`] writes down what it saw; whoever asks gets that
//! together with what Raft and gossip show at this moment. Holds no rule:
//! those are in [`agent_core::autopilot`].

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agent_core::Instant;
use agent_core::autopilot::{self, Health, Known, Peer, Report, Settings, View};
use agent_core::state::State;
use agent_core::state::tables::AutopilotConfig;
use agent_raft::{Consensus, Server};

/// The settings and the leader's memory. One per agent.
#[derive(Debug)]
pub struct Board {
    /// In force until a leader has written the replicated record, and what it then writes.
    initial: AutopilotConfig,
    /// Between two heartbeats of this server.
    heartbeat: Duration,
    /// How each server did at the last look, by node id; empty while this server does not lead.
    health: Mutex<BTreeMap<String, Health>>,
}

impl Board {
    /// A board nobody has written on.
    pub fn new(initial: AutopilotConfig, heartbeat: Duration) -> Self {
        Board { initial, heartbeat, health: Mutex::default() }
    }

    /// What this agent's configuration says.
    pub fn initial(&self) -> &AutopilotConfig {
        &self.initial
    }

    /// What is in force in `state`.
    pub fn config<'a>(&'a self, state: &'a State) -> &'a AutopilotConfig {
        state.autopilot.as_deref().unwrap_or(&self.initial)
    }

    /// The same for the rules.
    pub fn settings(&self, state: &State) -> Settings {
        let settings = Settings::from(self.config(state));
        // A server says nothing between two heartbeats: below two of them the best would count as silent.
        Settings { last_contact_max: settings.last_contact_max.max(2 * self.heartbeat), ..settings }
    }

    /// Writes down what the loop remembers.
    pub fn note(&self, health: &BTreeMap<String, Health>) {
        let mut noted = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if *noted != *health {
            noted.clone_from(health);
        }
    }

    /// How the servers are doing. Only the leader knows.
    pub fn report(&self, now: Instant, state: &State, consensus: &Consensus, own_id: &str, known: &[Known]) -> Report {
        let peers = peers(consensus);
        let view = View { own_id, known, peers: &peers };
        let noted = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        autopilot::report(now, &self.settings(state), view, &noted)
    }
}

/// Raft's membership as the leader sees it, itself included.
pub(super) fn peers(consensus: &Consensus) -> Vec<Peer> {
    let last = consensus.stats().last_log_index;
    let followers = consensus.followers();
    let peer = |server: Server| {
        let follower = followers.iter().find(|follower| follower.server.id == server.id);
        Peer {
            silence: follower.map_or(Some(Duration::ZERO), |follower| follower.last_contact),
            behind: follower.map_or(0, |follower| last.saturating_sub(follower.last_log_index)),
            id: server.id,
            address: server.address,
            voter: server.voter,
        }
    };
    consensus.servers().into_iter().map(peer).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn board() -> Board {
        let initial = AutopilotConfig { min_quorum: 3, ..AutopilotConfig::default() };
        Board::new(initial, Duration::from_millis(100))
    }

    #[test]
    fn what_is_replicated_wins_over_what_was_configured() {
        let board = board();
        assert_eq!(board.settings(&State::default()).quorum_min, 3);
        let replicated = AutopilotConfig { min_quorum: 5, ..AutopilotConfig::default() };
        let state = State { autopilot: Some(Arc::new(replicated)), ..State::default() };
        assert_eq!(board.settings(&state).quorum_min, 5);
    }

    #[test]
    fn no_server_is_silent_between_two_heartbeats() {
        for (set_ms, taken_ms) in [(0, 200), (200, 200), (300, 300)] {
            let config =
                AutopilotConfig { last_contact_threshold_ns: set_ms * 1_000_000, ..AutopilotConfig::default() };
            let state = State { autopilot: Some(Arc::new(config)), ..State::default() };
            assert_eq!(board().settings(&state).last_contact_max, Duration::from_millis(taken_ms));
        }
    }
}
