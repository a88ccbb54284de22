//! Local health: how far we trust our own timing.
//!
//! Lifeguard's local health multiplier (arXiv 1707.00788, section IV.A). A
//! member whose probes fail for reasons of its own grows patient instead of
//! accusing others.

use std::time::Duration;

/// The multiplier; 0 is healthy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awareness {
    score: u32,
    worst: u32,
}

impl Awareness {
    /// Healthy, and never worse than `max - 1`.
    pub(super) fn new(max: u32) -> Awareness {
        Awareness { score: 0, worst: max.saturating_sub(1) }
    }

    pub(super) fn score(self) -> u32 {
        self.score
    }

    pub(super) fn improve(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    pub(super) fn worsen(&mut self, by: u32) {
        self.score = self.score.saturating_add(by).min(self.worst);
    }

    /// A time, made longer by ill health.
    pub(super) fn scale(self, time: Duration) -> Duration {
        time * (self.score + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ill_health_is_bounded_and_heals() {
        let mut awareness = Awareness::new(8);
        awareness.worsen(20);
        assert_eq!(awareness.scale(Duration::from_secs(1)), Duration::from_secs(8));
        (0..10).for_each(|_| awareness.improve());
        assert_eq!((awareness.score(), awareness.scale(Duration::from_secs(1))), (0, Duration::from_secs(1)));
    }
}
