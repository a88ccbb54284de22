//! How long a member may be suspected before it counts as failed.
//!
//! Lifeguard's dynamic suspicion (arXiv 1707.00788, section IV.B): long at
//! first, shorter with every independent accuser, on a logarithmic scale.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::Instant;

/// A suspicion of one member at one incarnation.
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    since: Instant,
    min: Duration,
    max: Duration,
    wanted: u32,
    accusers: BTreeSet<Arc<str>>,
    first: Arc<str>,
}

impl Suspicion {
    /// Begins with one accuser; `wanted` more bring it from `max` down to `min`.
    pub(super) fn new(since: Instant, accuser: Arc<str>, min: Duration, max: Duration, wanted: u32) -> Suspicion {
        Suspicion { since, min, max, wanted, accusers: [Arc::clone(&accuser)].into(), first: accuser }
    }

    /// Who began it.
    pub(super) fn accuser(&self) -> &Arc<str> {
        &self.first
    }

    /// Whether this accuser is a new one that still shortens the time.
    pub(super) fn confirm(&mut self, accuser: &Arc<str>) -> bool {
        self.confirmations() < self.wanted && self.accusers.insert(Arc::clone(accuser))
    }

    /// When the member has failed, unless it objects.
    pub(super) fn deadline(&self) -> Instant {
        if self.wanted == 0 {
            return self.since + self.min;
        }
        let share = f64::from(self.confirmations() + 1).ln() / f64::from(self.wanted + 1).ln();
        let spread = self.max.saturating_sub(self.min);
        let time = self.max.saturating_sub(spread.mul_f64(share.clamp(0.0, 1.0)));
        self.since + time.max(self.min)
    }

    /// Starts later: time during which we heard nothing does not count against anyone.
    pub(super) fn postpone(&mut self, by: Duration) {
        self.since = self.since + by;
    }

    fn confirmations(&self) -> u32 {
        self.accusers.len().saturating_sub(1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> [Arc<str>; 4] {
        ["a", "b", "c", "d"].map(Arc::from)
    }

    #[test]
    fn confirmations_shorten_it() {
        let [a, b, c, d] = names();
        let (min, max) = (Duration::from_secs(4), Duration::from_secs(24));
        let mut suspicion = Suspicion::new(Instant::START, Arc::clone(&a), min, max, 2);
        let seconds = |suspicion: &Suspicion| suspicion.deadline().since_start().as_secs_f64().round();
        assert_eq!(seconds(&suspicion), 24.0);
        assert!(!suspicion.confirm(&a));
        assert!(suspicion.confirm(&b));
        assert_eq!(seconds(&suspicion), 11.0);
        assert!(suspicion.confirm(&c));
        assert_eq!(seconds(&suspicion), 4.0);
        assert!(!suspicion.confirm(&d));
        assert_eq!(seconds(&suspicion), 4.0);
    }

    #[test]
    fn a_tiny_pool_waits_for_nobody() {
        let [a, ..] = names();
        let suspicion = Suspicion::new(Instant::START, a, Duration::from_secs(4), Duration::from_secs(24), 0);
        assert_eq!(suspicion.deadline().since_start(), Duration::from_secs(4));
    }
}
