//! When checks run: a random start within the first interval, then one interval after each run ended.
//!
//! A machine of its own inside the local state. Never has two runs of one check
//! in flight, and takes no result of a run that was called off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::Instant;
use crate::local::RunId;
use crate::state::tables::CheckId;

#[derive(Clone, Copy, Debug)]
enum Phase {
    Waiting { until: Instant },
    Running { run: RunId },
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    interval: Duration,
    phase: Phase,
}

/// The schedule of all checks that run.
#[derive(Debug, Default)]
pub struct Schedule {
    entries: BTreeMap<CheckId, Entry>,
    waiting: BTreeSet<(Instant, CheckId)>,
    last_run: RunId,
}

impl Schedule {
    /// Puts a check on the schedule, or puts it there anew: its first run comes `stagger` from now. Returns the run that this calls off.
    pub fn start(&mut self, now: Instant, id: &str, interval: Duration, stagger: Duration) -> Option<RunId> {
        let called_off = self.stop(id);
        let until = now + stagger;
        self.waiting.insert((until, id.to_owned()));
        self.entries.insert(id.to_owned(), Entry { interval, phase: Phase::Waiting { until } });
        called_off
    }

    /// Takes a check off the schedule. Returns the run that this calls off.
    pub fn stop(&mut self, id: &str) -> Option<RunId> {
        match self.entries.remove(id)?.phase {
            Phase::Waiting { until } => {
                self.waiting.remove(&(until, id.to_owned()));
                None
            }
            Phase::Running { run } => Some(run),
        }
    }

    /// The next check whose time has come. It counts as running until [`Schedule::finished`].
    pub fn next_due(&mut self, now: Instant) -> Option<(CheckId, RunId)> {
        if self.waiting.first().is_none_or(|(at, _)| *at > now) {
            return None;
        }
        let (_, id) = self.waiting.pop_first()?;
        self.last_run += 1;
        let run = self.last_run;
        let entry = self.entries.get_mut(&id).expect("a waiting check has an entry");
        entry.phase = Phase::Running { run };
        Some((id, run))
    }

    /// Notes that a run ended and plans the next. False when the run was called off: its result means nothing.
    pub fn finished(&mut self, now: Instant, id: &str, run: RunId) -> bool {
        let Some(entry) = self.entries.get_mut(id) else { return false };
        match entry.phase {
            Phase::Running { run: current } if current == run => {
                let until = now + entry.interval;
                entry.phase = Phase::Waiting { until };
                self.waiting.insert((until, id.to_owned()));
                true
            }
            Phase::Running { .. } | Phase::Waiting { .. } => false,
        }
    }

    /// When the next check is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn the_next_run_is_counted_from_the_end_of_the_last() {
        let mut schedule = Schedule::default();
        schedule.start(at(0), "web", 10 * SECOND, 3 * SECOND);
        assert_eq!(schedule.next_due(at(2)), None);
        let (id, run) = schedule.next_due(at(3)).unwrap();
        assert_eq!(schedule.deadline(), None, "one run at a time");
        assert!(schedule.finished(at(9), &id, run));
        assert_eq!(schedule.deadline(), Some(at(19)));
    }

    #[test]
    fn a_result_of_a_run_that_was_called_off_means_nothing() {
        let mut schedule = Schedule::default();
        schedule.start(at(0), "web", 10 * SECOND, Duration::ZERO);
        let (_, run) = schedule.next_due(at(0)).unwrap();
        assert_eq!(schedule.start(at(1), "web", 10 * SECOND, SECOND), Some(run));
        assert!(!schedule.finished(at(1), "web", run));
        assert_eq!(schedule.deadline(), Some(at(2)));
        assert_eq!(schedule.stop("web"), None);
        assert_eq!(schedule.next_due(at(60)), None);
    }
}
