//! The time of a world of agents: what a perfect clock would show.
//!
//! Each agent has a clock of its own (see [`super::hosts`]): one that is fast or
//! slow, stands still with its process, and shows another wall time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use agent_core::state::tables::UnixMs;

/// Wall time when every world starts: 2026-01-01T00:00:00Z.
const EPOCH_MS: UnixMs = 1_767_225_600_000;

/// The length of a step of the world, in microseconds: the resolution of tokio's timers.
pub const STEP_US: u64 = 1_000;

/// The world's time. Cheap to clone.
#[derive(Clone, Default)]
pub struct Clock {
    us: Arc<AtomicU64>,
}

impl Clock {
    /// Microseconds since the world began.
    pub fn us(&self) -> u64 {
        self.us.load(Ordering::Relaxed)
    }

    /// One step further.
    pub fn step(&self) {
        self.us.fetch_add(STEP_US, Ordering::Relaxed);
    }

    /// When so much time will have passed, in microseconds.
    pub fn after(&self, time: Duration) -> u64 {
        self.us() + u64::try_from(time.as_micros()).expect("worlds last for seconds")
    }
}

/// What the clock on a host's wall shows. Cheap to clone.
#[derive(Clone)]
pub struct WallClock {
    world: Clock,
    wrong_by_ms: Arc<AtomicI64>,
}

impl WallClock {
    /// A clock that is wrong by so much.
    pub fn new(world: &Clock, wrong_by_ms: i64) -> Self {
        WallClock { world: world.clone(), wrong_by_ms: Arc::new(AtomicI64::new(wrong_by_ms)) }
    }

    /// Sets it.
    pub fn set(&self, wrong_by_ms: i64) {
        self.wrong_by_ms.store(wrong_by_ms, Ordering::Relaxed);
    }
}

impl agent_daemon::env::Clock for WallClock {
    fn wall_ms(&self) -> UnixMs {
        let right = EPOCH_MS + self.world.us() / 1_000;
        right.saturating_add_signed(self.wrong_by_ms.load(Ordering::Relaxed))
    }
}
