//! Monotonic time as a value.
//!
//! Owns the one time type that machines accept; never reads a clock. The
//! daemon turns its runtime's clock into an [`Instant`] before it calls in.

use std::ops::Add;
use std::time::Duration;

/// A moment, counted from the start of the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    /// The moment the agent started.
    pub const START: Instant = Instant(Duration::ZERO);

    /// The moment `since_start` after the agent started.
    pub const fn from_start(since_start: Duration) -> Self {
        Instant(since_start)
    }

    /// The time between the start of the agent and this moment.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    pub fn saturating_since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, delay: Duration) -> Instant {
        Instant(self.0.saturating_add(delay))
    }
}
