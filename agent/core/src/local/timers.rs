//! Named moments in the future: at most one per alarm.

use std::collections::{BTreeMap, BTreeSet};

use crate::Instant;
use crate::state::tables::CheckId;

/// What becomes due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// A TTL check was silent for too long.
    Expire(CheckId),
    /// An output that changed alone has waited long enough to be synced.
    Flush(CheckId),
    /// Look for services that were critical for too long.
    Reap,
}

/// The alarms that are set.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Instant, Alarm)>,
    by_alarm: BTreeMap<Alarm, Instant>,
}

impl Timers {
    pub(super) fn set(&mut self, alarm: Alarm, at: Instant) {
        self.cancel(&alarm);
        self.by_alarm.insert(alarm.clone(), at);
        self.by_time.insert((at, alarm));
    }

    pub(super) fn cancel(&mut self, alarm: &Alarm) {
        if let Some(at) = self.by_alarm.remove(alarm) {
            self.by_time.remove(&(at, alarm.clone()));
        }
    }

    pub(super) fn is_set(&self, alarm: &Alarm) -> bool {
        self.by_alarm.contains_key(alarm)
    }

    /// The next alarm that is due; it is set no more.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<Alarm> {
        if self.by_time.first()?.0 > now {
            return None;
        }
        let (_, alarm) = self.by_time.pop_first()?;
        self.by_alarm.remove(&alarm);
        Some(alarm)
    }

    pub(super) fn deadline(&self) -> Option<(Instant, &'static str)> {
        let (at, alarm) = self.by_time.first()?;
        let reason = match alarm {
            Alarm::Expire(_) => "a TTL expires",
            Alarm::Flush(_) => "a changed output is synced",
            Alarm::Reap => "critical services are reaped",
        };
        Some((*at, reason))
    }
}
