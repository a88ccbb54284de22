//! A blocking query never sleeps past a change it asked about, and nothing else wakes it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// The longest time between the acknowledgement of a change and the answer of a query that waited for it.
const LATE: Duration = Duration::from_secs(3);

/// Changes as their writers saw them.
#[derive(Default)]
pub struct Wake {
    changes: BTreeMap<String, Vec<(Instant, Instant)>>,
}

/// One blocking query.
pub struct Slept<'a> {
    /// What it asked about.
    pub subject: &'a str,
    /// When the answer that gave it its index had come.
    pub known_at: Instant,
    /// When it was sent.
    pub sent_at: Instant,
    /// How long it asked to wait.
    pub wait: Duration,
}

impl Wake {
    /// A write that changed `subject` was sent and acknowledged.
    pub fn changed(&mut self, subject: &str, sent_at: Instant, acknowledged_at: Instant) {
        self.changes.entry(subject.to_owned()).or_default().push((sent_at, acknowledged_at));
    }

    /// A query has come back.
    ///
    /// # Errors
    /// When a change that it had to see was acknowledged long before, or nobody could have woken it.
    pub fn returned(&self, query: &Slept<'_>, now: Instant) -> Result<(), String> {
        let changes = self.changes.get(query.subject).map_or(&[][..], Vec::as_slice);
        for (sent_at, acknowledged_at) in changes {
            let must_wake = *sent_at > query.known_at;
            let woken_by = *acknowledged_at.max(&query.sent_at) + LATE;
            if must_wake && now > woken_by {
                let late = now - woken_by + LATE;
                return Err(format!("wake: a query of {} slept {late:?} past a change", query.subject));
            }
        }
        Ok(())
    }

    /// A query of something nobody touches has come back.
    ///
    /// # Errors
    /// When it came back before its wait was over.
    pub fn returned_untouched(&self, query: &Slept<'_>, now: Instant) -> Result<(), String> {
        let slept = now - query.sent_at;
        if slept >= query.wait {
            return Ok(());
        }
        Err(format!("wake: a query of {} was woken after {slept:?} though nothing changed", query.subject))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(start: Instant, known_s: u64, sent_s: u64) -> Slept<'static> {
        let at = |seconds| start + Duration::from_secs(seconds);
        Slept { subject: "k", known_at: at(known_s), sent_at: at(sent_s), wait: Duration::from_secs(10) }
    }

    #[test]
    fn a_change_slept_past_is_noticed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut wake = Wake::default();
        wake.changed("k", at(5), at(6));

        assert!(wake.returned(&query(start, 1, 2), at(7)).is_ok(), "woken in time");
        assert!(wake.returned(&query(start, 1, 2), at(12)).is_err(), "slept past it");
        assert!(wake.returned(&query(start, 1, 11), at(12)).is_ok(), "it was asked only then");
        assert!(wake.returned(&query(start, 5, 6), at(16)).is_ok(), "it may have known of the change");
    }

    #[test]
    fn being_woken_for_nothing_is_noticed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);

        assert!(Wake::default().returned_untouched(&query(start, 0, 0), at(9)).is_err());
        assert!(Wake::default().returned_untouched(&query(start, 0, 0), at(10)).is_ok());
    }
}
