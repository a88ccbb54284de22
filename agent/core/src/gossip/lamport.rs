//! Logical time: orders intents and events of members whose clocks disagree.
//!
//! Lamport, "Time, clocks, and the ordering of events in a distributed
//! system", 1978. A value, never a real clock.

use serde::{Deserialize, Serialize};

/// The furthest one message may move a clock; more is somebody's mistake and is ignored.
const JUMP_MAX: u64 = 1 << 40;

/// A logical moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LamportTime(pub u64);

/// A logical clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LamportClock(u64);

impl LamportClock {
    /// The moment of the last thing that happened.
    pub(super) fn time(self) -> LamportTime {
        LamportTime(self.0)
    }

    /// A moment later than everything seen.
    pub(super) fn tick(&mut self) -> LamportTime {
        self.0 = self.0.saturating_add(1);
        self.time()
    }

    /// Learns of a moment elsewhere.
    pub(super) fn witness(&mut self, seen: LamportTime) {
        if seen.0.saturating_sub(self.0) <= JUMP_MAX {
            self.0 = self.0.max(seen.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_past_everything_it_saw() {
        let mut clock = LamportClock::default();
        clock.witness(LamportTime(41));
        clock.witness(LamportTime(7));
        assert_eq!(clock.tick(), LamportTime(42));
    }

    #[test]
    fn one_message_does_not_end_time() {
        let mut clock = LamportClock::default();
        clock.witness(LamportTime(u64::MAX));
        assert_eq!(clock.time(), LamportTime(0));
    }
}
