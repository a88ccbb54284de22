//! When checks run: a random start within the first interval, then one interval after each run ended, on the next beat.
//!
//! A machine of its own inside the local state. Never has two runs of one check
//! in flight, and takes no result of a run that was called off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::Instant;
use crate::local::RunId;
use crate::state::tables::CheckId;

/// Checks run on beats that lie this far apart, so that many start at one wake of the process: on a machine that has little else to do,
/// waking costs several times what a short check does. None runs more than half of it before or after its time.
const BEAT: Duration = Duration::from_millis(100);

/// The shortest interval whose runs are moved to a beat.
const MOVED_MIN: Duration = Duration::from_secs(1);

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
        let until = on_beat(now + stagger, interval);
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
                let until = on_beat(now + entry.interval, entry.interval);
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

/// The beat nearest to the time of a run, or the very time where the interval is so short that it would notice.
fn on_beat(at: Instant, interval: Duration) -> Instant {
    if interval < MOVED_MIN {
        return at;
    }
    let since_start = at.since_start() + BEAT / 2;
    let over = since_start.as_nanos() % BEAT.as_nanos();
    Instant::from_start(since_start - Duration::from_nanos(u64::try_from(over).expect("less than a beat")))
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
    fn checks_that_are_due_at_about_the_same_time_run_at_the_same_time() {
        let ms = |ms| Instant::from_start(Duration::from_millis(ms));
        let mut schedule = Schedule::default();
        schedule.start(at(0), "a", SECOND, Duration::from_millis(260));
        schedule.start(at(0), "b", SECOND, Duration::from_millis(340));
        schedule.start(at(0), "often", SECOND / 2, Duration::from_millis(333));
        assert_eq!(schedule.deadline(), Some(ms(300)));
        let (a, b) = (schedule.next_due(ms(300)).unwrap(), schedule.next_due(ms(300)).unwrap());
        assert_eq!(schedule.next_due(ms(333)).unwrap().0, "often");
        assert!(schedule.finished(ms(304), &a.0, a.1) && schedule.finished(ms(349), &b.0, b.1));
        assert_eq!(schedule.deadline(), Some(ms(1300)));
        assert!(schedule.next_due(ms(1300)).is_some() && schedule.next_due(ms(1300)).is_some());
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
