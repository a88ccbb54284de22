//! When to compare with the catalog, and when to write to it.
//!
//! Consul's numbers: a full comparison every minute plus a random part that
//! grows with the cluster, a retry 15 to 30 seconds after a failure, and soon
//! after servers changed. Changes go out at once, one batch at a time, but
//! never before the first comparison and not while a failure is waited out.

use std::time::Duration;

use super::anti_entropy::Covered;
use super::input::SyncId;
use crate::Instant;

/// How long to wait after a failure, before the random part of up to the same.
const RETRY: Duration = Duration::from_secs(15);

/// The longest wait after servers changed, in a cluster of up to [`SMALL_CLUSTER`] members.
const SERVERS_CHANGED: Duration = Duration::from_secs(3);

/// Up to this many members the random part is one interval; it doubles its share with every doubling of the cluster.
const SMALL_CLUSTER: usize = 128;

#[derive(Debug)]
enum Phase {
    Idle,
    Reading,
    Writing { id: SyncId, covered: Vec<Vec<Covered>> },
}

/// What to do next about the catalog.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing, or wait for what is in flight.
    Rest,
    /// Compare with the catalog.
    Compare,
    /// Write what is pending.
    Write,
}

/// The rhythm of syncing.
#[derive(Debug)]
pub(super) struct Cadence {
    interval: Duration,
    cluster_size: usize,
    phase: Phase,
    full_at: Instant,
    may_write: bool,
    /// Servers changed while something was in flight: if that fails, the reason may be gone already.
    is_hopeful: bool,
    last_id: SyncId,
}

impl Cadence {
    /// Compares for the first time at once.
    pub(super) fn new(interval: Duration) -> Self {
        Cadence {
            interval,
            cluster_size: 1,
            phase: Phase::Idle,
            full_at: Instant::START,
            may_write: false,
            is_hopeful: false,
            last_id: 0,
        }
    }

    pub(super) fn set_cluster_size(&mut self, members: usize) {
        self.cluster_size = members;
    }

    /// What is to be done now; `pending` says whether there is anything to write.
    pub(super) fn turn(&self, now: Instant, pending: bool) -> Turn {
        match self.phase {
            Phase::Reading | Phase::Writing { .. } => Turn::Rest,
            Phase::Idle if now >= self.full_at => Turn::Compare,
            Phase::Idle if pending && self.may_write => Turn::Write,
            Phase::Idle => Turn::Rest,
        }
    }

    pub(super) fn reading(&mut self) {
        self.phase = Phase::Reading;
        self.is_hopeful = false;
    }

    /// The catalog was read.
    pub(super) fn compared(&mut self, now: Instant, random: u64) {
        self.phase = Phase::Idle;
        self.may_write = true;
        self.full_at = now + self.interval + part(self.interval * scale(self.cluster_size), random);
    }

    pub(super) fn writing(&mut self, covered: Vec<Vec<Covered>>) -> SyncId {
        self.last_id += 1;
        self.is_hopeful = false;
        self.phase = Phase::Writing { id: self.last_id, covered };
        self.last_id
    }

    /// A batch ended: what each of its commands covered, unless it is not the one in flight.
    pub(super) fn written(&mut self, id: SyncId) -> Option<Vec<Vec<Covered>>> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Writing { id: current, covered } if current == id => Some(covered),
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// Reading or writing failed: nothing more before a new comparison.
    pub(super) fn failed(&mut self, now: Instant, random: u64) {
        self.phase = Phase::Idle;
        self.may_write = false;
        let wait = if std::mem::take(&mut self.is_hopeful) {
            self.spread(random)
        } else {
            RETRY + part(RETRY * scale(self.cluster_size), random)
        };
        self.full_at = now + wait;
    }

    /// Servers changed: compares soon.
    pub(super) fn servers_changed(&mut self, now: Instant, random: u64) {
        self.is_hopeful = !matches!(self.phase, Phase::Idle);
        self.full_at = self.full_at.min(now + self.spread(random));
    }

    /// How long to hold back after servers changed. A cluster of one has nobody to spread out from.
    fn spread(&self, random: u64) -> Duration {
        if self.cluster_size <= 1 { Duration::ZERO } else { part(SERVERS_CHANGED * scale(self.cluster_size), random) }
    }

    pub(super) fn deadline(&self) -> Option<(Instant, &'static str)> {
        match self.phase {
            Phase::Idle => Some((self.full_at, "the catalog is compared")),
            Phase::Reading | Phase::Writing { .. } => None,
        }
    }
}

/// A time from zero up to `span`: the share of it that `random` is of the largest number.
pub(super) fn part(span: Duration, random: u64) -> Duration {
    let nanos = u128::from(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
    let share = (u128::from(random) * nanos) >> 64;
    Duration::from_nanos(u64::try_from(share).expect("a share of 64 bits fits them"))
}

/// One for small clusters, one more for each doubling beyond.
fn scale(members: usize) -> u32 {
    members.max(1).div_ceil(SMALL_CLUSTER).next_power_of_two().trailing_zeros() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_grows_with_every_doubling() {
        for (members, expected) in [(0, 1), (1, 1), (128, 1), (129, 2), (256, 2), (257, 3), (512, 3), (5000, 7)] {
            assert_eq!(scale(members), expected, "{members} members");
        }
    }
}
