//! What the machine waits for.
//!
//! One moment per timer; setting a timer again moves it. Owns no rules.

use std::collections::{BTreeMap, BTreeSet};

use super::table::Slot;
use crate::Instant;

/// Something to do later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Pass on rumours.
    Gossip,
    /// Judge the last probe and begin the next.
    Probe,
    /// The probe was not answered: ask others.
    ProbeTimeout,
    /// The probe made for another member was not answered yet.
    Relay(u32),
    /// A suspected member has failed.
    Suspect(Slot),
    /// Begin a full exchange.
    Exchange,
    /// Try to reach a failed member.
    Reconnect,
    /// Forget members that have been gone for too long.
    Reap,
    /// The pool had its time to hear that we leave.
    Leave,
    /// Ask those again that did not answer about keys, or give up.
    Keys(u64),
}

impl Timer {
    fn reason(self) -> &'static str {
        match self {
            Timer::Gossip => "rumours are to be passed on",
            Timer::Probe => "a member is to be probed",
            Timer::ProbeTimeout => "a probe was not answered",
            Timer::Relay(_) => "a probe for another member was not answered",
            Timer::Suspect(_) => "a suspicion runs out",
            Timer::Exchange => "a full exchange is due",
            Timer::Reconnect => "a failed member is to be tried",
            Timer::Reap => "a member was gone for too long",
            Timer::Leave => "the time to leave runs out",
            Timer::Keys(_) => "members are to answer about keys",
        }
    }
}

/// All timers.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Instant, Timer)>,
    at: BTreeMap<Timer, Instant>,
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.cancel(timer);
        self.at.insert(timer, at);
        self.due.insert((at, timer));
    }

    /// Sets a timer that is not set, or brings it forward.
    pub(super) fn set_no_later(&mut self, timer: Timer, at: Instant) {
        if self.at.get(&timer).is_none_or(|set| *set > at) {
            self.set(timer, at);
        }
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.at.contains_key(&timer)
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.due.remove(&(at, timer));
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Timers::default();
    }

    /// The earliest timer that is due, taken out.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }

    pub(super) fn next(&self) -> Option<(Instant, &'static str)> {
        self.due.first().map(|(at, timer)| (*at, timer.reason()))
    }
}
