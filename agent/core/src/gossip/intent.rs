//! Leaving, being made to leave, and being forgotten.
//!
//! Intents carry logical time, so that an old one does no harm to a member that
//! came back. A member that left is no failed one: nobody tries to reach it.
//! What is gone for long enough is reaped, or at once when pruned.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::exchange::StreamUse;
use super::input::Event;
use super::lamport::LamportTime;
use super::machine::Gossip;
use super::member::Profile;
use super::queue::Subject;
use super::table::{Entry, ME, Slot, State};
use super::timers::Timer;
use super::wire::{KnownState, Message, Request};
use crate::Instant;

/// The most intents kept about members we do not know yet, and about those that were pruned.
const INTENTS_MAX: usize = 1024;

/// How long a pruned name is remembered, so that who missed it does not bring it back.
const PRUNED_FOR: Duration = Duration::from_secs(24 * 3600);

/// Whether we leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// We stay.
    No,
    /// We tell the pool.
    Telling,
    /// We told it.
    Done,
}

/// An intent of a member we do not know yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intent {
    pub(super) time: LamportTime,
    pub(super) leaves: bool,
}

/// What is remembered about members that are not in the table.
#[derive(Debug, Default)]
pub(super) struct Intents {
    unknown: BTreeMap<Arc<str>, Intent>,
    pruned: BTreeMap<Arc<str>, (LamportTime, Instant)>,
}

impl Intents {
    /// Takes out what an unknown member wanted.
    pub(super) fn take(&mut self, name: &str) -> Option<Intent> {
        self.unknown.remove(name)
    }

    /// Whether this is the latest of that member.
    fn remember(&mut self, name: &Arc<str>, intent: Intent) -> bool {
        let is_news = self.unknown.get(name).is_none_or(|known| known.time < intent.time);
        if is_news && (self.unknown.len() < INTENTS_MAX || self.unknown.contains_key(name)) {
            self.unknown.insert(Arc::clone(name), intent);
            return true;
        }
        false
    }

    fn prune(&mut self, now: Instant, name: Arc<str>, time: LamportTime) {
        self.pruned.retain(|_, (_, at)| now.saturating_since(*at) < PRUNED_FOR);
        if self.pruned.len() < INTENTS_MAX {
            self.pruned.insert(name, (time, now));
        }
    }
}

impl Gossip {
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving != Leaving::No
    }

    /// Tells the pool that we leave.
    pub(super) fn leave(&mut self, now: Instant) {
        if self.leaving == Leaving::Telling {
            return;
        }
        self.leaving = Leaving::Telling;
        let time = self.clock.tick();
        let name = self.my_name();
        let me = self.table.me_mut();
        (me.leaving, me.time) = (true, time);
        let incarnation = me.incarnation;
        if self.table.living() <= 1 {
            return self.finish_leaving();
        }
        let intent = Message::Intent { name: Arc::clone(&name), time, leaves: true, prune: false };
        let dead = Message::Dead { name: Arc::clone(&name), incarnation, accuser: Arc::clone(&name) };
        // Datagrams may be lost or blocked: one member is told over a stream, and tells the others.
        let listener = self.table.choose(1, &mut self.rng, |_, entry| entry.state == State::Alive);
        if let Some(to) = listener.first().and_then(|slot| self.address_of(*slot)) {
            let messages = vec![intent.encode(), dead.encode()];
            self.open_stream(to, StreamUse::Deliver, &Request::Deliver { messages });
        }
        self.spread(now, Subject::Intent(Arc::clone(&name)), &intent);
        self.spread(now, Subject::Member(name), &dead);
        self.timers.set(Timer::Leave, now + self.config.timing.leave_timeout);
    }

    /// Whether the pool has been told often enough that we leave.
    pub(super) fn has_left(&mut self, _now: Instant) {
        if self.leaving == Leaving::Telling && !self.queue.holds(&Subject::Member(self.my_name())) {
            self.finish_leaving();
        }
    }

    pub(super) fn finish_leaving(&mut self) {
        self.leaving = Leaving::Done;
        self.timers.clear();
        self.emit(Event::LeftPool);
    }

    /// Makes a failed member count as left.
    pub(super) fn force_leave(&mut self, now: Instant, name: &str, prune: bool) {
        if !self.is_me(name) && self.table.find(name).is_some() {
            let time = self.clock.tick();
            self.hear_intent(now, &name.into(), time, true, prune);
        }
    }

    /// A member wants to leave or to be there, or somebody wants it to leave.
    pub(super) fn hear_intent(&mut self, now: Instant, name: &Arc<str>, time: LamportTime, leaves: bool, prune: bool) {
        self.clock.witness(time);
        if self.is_me(name) {
            return self.hear_my_intent(now, time, leaves);
        }
        let message = Message::Intent { name: Arc::clone(name), time, leaves, prune };
        let Some(slot) = self.table.find(name) else {
            if self.intents.remember(name, Intent { time, leaves }) {
                self.spread(now, Subject::Intent(Arc::clone(name)), &message);
            }
            return;
        };
        let Some(entry) = self.table.get_mut(slot).filter(|entry| entry.time < time) else { return };
        entry.time = time;
        match (entry.state, leaves) {
            (State::Alive | State::Suspect, leaves) => entry.leaving = leaves,
            (State::Failed, true) => self.leave_by_force(now, slot),
            (State::Left | State::Failed, _) => {}
        }
        self.spread(now, Subject::Intent(Arc::clone(name)), &message);
        let is_gone = self.table.get(slot).is_some_and(|entry| entry.state == State::Left);
        if leaves && prune && is_gone {
            self.intents.prune(now, Arc::clone(name), time);
            self.forget(slot);
        }
    }

    /// Somebody else knows that a failed member was made to leave.
    pub(super) fn hear_forced_leave(&mut self, now: Instant, name: &str, time: LamportTime) {
        let slot = self.table.find(name).filter(|slot| *slot != ME);
        let is_news = |entry: &Entry| entry.state == State::Failed && entry.time < time;
        if let Some(slot) = slot.filter(|slot| self.table.get(*slot).is_some_and(is_news)) {
            if let Some(entry) = self.table.get_mut(slot) {
                entry.time = time;
            }
            self.leave_by_force(now, slot);
        }
    }

    /// Takes in a member that was gone before we heard of it, so that it is listed, tried again and reaped here too.
    pub(super) fn adopt_gone(
        &mut self,
        now: Instant,
        profile: Arc<Profile>,
        incarnation: u64,
        state: KnownState,
        time: LamportTime,
        age_s: u32,
    ) {
        let age = Duration::from_secs(age_s.into());
        let has_left = state == KnownState::Left;
        let keep = if has_left { self.config.tombstone_timeout } else { self.config.reconnect_timeout };
        // Not what others are about to forget: it would come and go with every exchange.
        let is_unwelcome = age >= keep.mul_f64(0.95) || self.conflict(now, &profile).is_some();
        if is_unwelcome || self.was_pruned(now, &profile.name, time) {
            return;
        }
        // There are no moments before the start; after a restart what is gone for longer is reaped later than elsewhere.
        let since = Instant::from_start(now.since_start().saturating_sub(age));
        let state = if has_left { State::Left } else { State::Failed };
        let entry = Entry { time, ..Entry::new(profile, incarnation, state, since) };
        let slot = self.table.insert(entry, &mut self.rng);
        self.gone(now, slot, has_left);
    }

    /// Whether what is said about a member is older than its being pruned.
    pub(super) fn was_pruned(&self, now: Instant, name: &str, time: LamportTime) -> bool {
        let pruned = self.intents.pruned.get(name);
        pruned.is_some_and(|(at, since)| time <= *at && now.saturating_since(*since) < PRUNED_FOR)
    }

    /// Forgets members that have been gone for too long.
    pub(super) fn reap(&mut self, now: Instant) {
        let (failed, left) = (self.config.reconnect_timeout, self.config.tombstone_timeout);
        let end = |entry: &Entry| match entry.state {
            State::Failed => Some(entry.since + failed),
            State::Left => Some(entry.since + left),
            State::Alive | State::Suspect => None,
        };
        let ends: Vec<(Slot, Instant)> =
            self.table.others().filter_map(|(slot, entry)| Some((slot, end(entry)?))).collect();
        for (slot, at) in ends {
            if at <= now {
                self.forget(slot);
            } else {
                self.timers.set_no_later(Timer::Reap, at);
            }
        }
    }

    fn hear_my_intent(&mut self, now: Instant, time: LamportTime, leaves: bool) {
        let me = self.table.me_mut();
        let is_old = time <= me.time;
        me.time = me.time.max(time);
        if leaves && !is_old && !self.is_leaving() {
            // Somebody wants us to leave, and we do not.
            let (name, time) = (self.my_name(), self.clock.tick());
            self.table.me_mut().time = time;
            let (leaves, prune) = (false, false);
            self.spread(now, Subject::Intent(Arc::clone(&name)), &Message::Intent { name, time, leaves, prune });
        }
    }

    fn leave_by_force(&mut self, now: Instant, slot: Slot) {
        let since = self.table.get(slot).map_or(now, |entry| entry.since);
        self.table.set_state(slot, State::Left, since);
        self.gone(now, slot, true);
    }

    fn forget(&mut self, slot: Slot) {
        self.timers.cancel(Timer::Suspect(slot));
        self.locator.forget(slot);
        if self.probe.as_ref().is_some_and(|probe| probe.is_of(slot)) {
            self.probe = None;
            self.timers.cancel(Timer::ProbeTimeout);
        }
        if let Some(entry) = self.table.remove(slot) {
            self.emit(Event::MemberReaped(entry.member()));
        }
    }
}
