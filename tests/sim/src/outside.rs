//! The outside world of a simulated agent: wall time that follows virtual time, randomness from a seed.

use std::sync::{Arc, Mutex, PoisonError};

use agent_core::state::tables::UnixMs;
use agent_daemon::env::{Clock, Env, Random};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::network::SimNetwork;

/// Wall time when every simulation starts: 2026-01-01T00:00:00Z.
const EPOCH_MS: UnixMs = 1_767_225_600_000;

/// Wall time that follows the runtime's (paused) clock.
pub struct SimClock {
    started: tokio::time::Instant,
}

impl Clock for SimClock {
    fn wall_ms(&self) -> UnixMs {
        EPOCH_MS + u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Randomness from a seed. Everything that draws from it must do so in a fixed order.
#[derive(Clone)]
pub struct SimRandom {
    rng: Arc<Mutex<StdRng>>,
}

impl SimRandom {
    /// Randomness that repeats for the same seed.
    pub fn new(seed: u64) -> Self {
        SimRandom { rng: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))) }
    }

    /// A number below `end`.
    ///
    /// # Panics
    /// When `end` is zero.
    pub fn below(&self, end: u64) -> u64 {
        self.u64() % end
    }

    /// Whether something that happens `per_mille` times in a thousand happens now.
    pub fn happens(&self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

impl Random for SimRandom {
    fn u64(&self) -> u64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}

/// The outside world of one agent. `started` is when the simulation began, so that wall time survives the agent's restarts.
pub fn env(started: tokio::time::Instant, random: &SimRandom, network: &SimNetwork) -> Env {
    Env::new(Arc::new(SimClock { started }), Arc::new(random.clone()), Arc::new(network.clone()))
}
