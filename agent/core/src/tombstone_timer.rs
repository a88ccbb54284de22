//! When the leader forgets deleted keys.
//!
//! A tombstone keeps the index of a deletion for those who wait for it. It may
//! go after [`TTL`]; looking is done in steps of [`GRANULARITY`] and only while
//! there are tombstones, so an idle leader never wakes for it. Source of both
//! figures: Consul's server defaults.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Instant;
use crate::state::tables::Index;

/// How long a deletion is remembered at least.
pub const TTL: Duration = Duration::from_secs(15 * 60);

/// How often the newest deletion is noted.
pub const GRANULARITY: Duration = Duration::from_secs(30);

/// The leader's memory of which deletions are how old.
#[derive(Debug, Default)]
pub struct TombstoneTimer {
    /// The newest deletion seen so far, if it is not in `noted` yet.
    newest: Option<Index>,
    /// When to note `newest`.
    note_at: Option<Instant>,
    /// Deletions up to this index are at least as old as this moment.
    noted: VecDeque<(Instant, Index)>,
}

/// What the timer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The newest tombstone has this index.
    Deleted(Index),
    /// This server no longer leads.
    LostLeadership,
    /// Time went on.
    Tick,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Propose to forget tombstones up to this index.
    Reap(Index),
}

impl TombstoneTimer {
    /// Takes in what happened and returns what to do.
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Output> {
        match input {
            Input::Deleted(index) if self.last_known() < Some(index) => {
                self.newest = Some(index);
                self.note_at.get_or_insert(now + GRANULARITY);
            }
            Input::Deleted(_) | Input::Tick => {}
            Input::LostLeadership => *self = TombstoneTimer::default(),
        }
        if self.note_at.is_some_and(|at| at <= now) {
            self.note_at = None;
            self.noted.extend(self.newest.take().map(|index| (now + TTL, index)));
        }
        let mut due = None;
        while let Some((at, index)) = self.noted.front().copied()
            && at <= now
        {
            self.noted.pop_front();
            due = Some(Output::Reap(index));
        }
        due.into_iter().collect()
    }

    /// When to call again, and why.
    pub fn deadline(&self) -> Option<(Instant, &'static str)> {
        let note = self.note_at.map(|at| (at, "note deletions"));
        let reap = self.noted.front().map(|(at, _)| (*at, "reap tombstones"));
        note.into_iter().chain(reap).min()
    }

    fn last_known(&self) -> Option<Index> {
        self.newest.or(self.noted.back().map(|(_, index)| *index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn an_idle_leader_never_wakes() {
        assert_eq!(TombstoneTimer::default().deadline(), None);
    }

    #[test]
    fn a_deletion_is_reaped_after_its_time_and_only_once() {
        let mut timer = TombstoneTimer::default();
        assert_eq!(timer.step(at(0), Input::Deleted(7)), []);
        assert_eq!(timer.step(at(10), Input::Deleted(9)), []);
        assert_eq!(timer.deadline(), Some((at(30), "note deletions")));
        assert_eq!(timer.step(at(30), Input::Tick), []);
        assert_eq!(timer.deadline(), Some((at(930), "reap tombstones")));
        assert_eq!(timer.step(at(929), Input::Deleted(9)), []);
        assert_eq!(timer.step(at(930), Input::Tick), [Output::Reap(9)]);
        assert_eq!(timer.deadline(), None);
    }

    #[test]
    fn a_later_deletion_waits_its_own_time() {
        let mut timer = TombstoneTimer::default();
        timer.step(at(0), Input::Deleted(1));
        timer.step(at(30), Input::Tick);
        timer.step(at(100), Input::Deleted(2));
        timer.step(at(130), Input::Tick);
        assert_eq!(timer.step(at(930), Input::Tick), [Output::Reap(1)]);
        assert_eq!(timer.step(at(1030), Input::Tick), [Output::Reap(2)]);
    }

    #[test]
    fn a_former_leader_forgets_its_plans() {
        let mut timer = TombstoneTimer::default();
        timer.step(at(0), Input::Deleted(1));
        assert_eq!(timer.step(at(2000), Input::LostLeadership), []);
        assert_eq!(timer.deadline(), None);
    }
}
