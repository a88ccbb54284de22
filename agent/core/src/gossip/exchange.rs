//! Full exchanges over streams: joining, the periodic one, and reconnecting.
//!
//! Both sides send all they know and take in what is new to them, so a member
//! that missed every rumour is right again after one exchange. What is said of
//! a failed member is heard as a suspicion, so that it can object. Also owns
//! the streams we open and what their answers mean.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::input::{Event, Note, RequestId, StreamId, Ticket};
use super::machine::Gossip;
use super::membership::Conflict;
use super::probe::STREAM_RUMOURS_MAX;
use super::queue::Subject;
use super::table::{Entry, ME, State};
use super::timers::Timer;
use super::wire::{Answer, Known, KnownState, Message, Request, Snapshot};
use crate::Instant;

/// The most addresses tried by one join.
const JOIN_ADDRESSES_MAX: usize = 64;

/// The most joins under way.
const JOINS_MAX: usize = 64;

/// The latest user events told in an exchange.
const EVENTS_TOLD: usize = 32;

/// What a stream we opened is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamUse {
    /// The first exchange with a pool, for this join.
    Join(Ticket, SocketAddr),
    /// A periodic exchange, or one with a failed member.
    Exchange(SocketAddr),
    /// A probe, with its number.
    Ping(u32),
    /// What a suspected member has to say, for as long as it is waited for.
    Objection(Duration),
    /// Messages that must arrive; the answer does not matter.
    Deliver,
}

/// A join that is under way.
#[derive(Debug, Default)]
pub(super) struct Join {
    waiting: usize,
    contacted: usize,
    failures: Vec<(SocketAddr, String)>,
}

impl Gossip {
    pub(super) fn join(&mut self, now: Instant, ticket: Ticket, addresses: Vec<SocketAddr>) {
        let mut join = Join::default();
        let mut opened = Vec::new();
        for (number, address) in addresses.into_iter().enumerate() {
            let is_too_many = number >= JOIN_ADDRESSES_MAX || self.joins.len() >= JOINS_MAX;
            if address == self.config.address {
                // Consul counts its own address as reached, so the same list can be given to everybody.
                join.contacted += 1;
            } else if is_too_many {
                join.failures.push((address, "too many addresses at a time".to_owned()));
            } else {
                join.waiting += 1;
                opened.push(address);
            }
        }
        let is_done = join.waiting == 0;
        self.joins.insert(ticket, join);
        if is_done {
            return self.finish_join(ticket);
        }
        for address in opened {
            let request = Request::Exchange(self.snapshot(now, true));
            if !self.open_stream(address, StreamUse::Join(ticket, address), &request) {
                self.join_failed(ticket, address, "too many streams are open".to_owned());
            }
        }
    }

    /// The periodic exchange with somebody.
    pub(super) fn exchange(&mut self, now: Instant) {
        let living = self.table.choose(1, &mut self.rng, |_, entry| entry.is_living());
        let Some(to) = living.first().and_then(|slot| self.address_of(*slot)) else { return };
        self.exchange_with(now, to);
        let wait = self.config.timing.exchange_every(self.table.living());
        self.timers.set(Timer::Exchange, now + wait);
    }

    pub(super) fn reconnect_later(&mut self, now: Instant) {
        if !self.timers.is_set(Timer::Reconnect) {
            let delay = self.some_of(self.config.timing.reconnect_interval);
            self.timers.set(Timer::Reconnect, now + delay);
        }
    }

    /// Tries to reach a failed member: more likely the more have failed, so that the pool as a whole tries about
    /// one failed member an interval for each that failed.
    pub(super) fn reconnect(&mut self, now: Instant) {
        let failed = self.table.others().filter(|(_, entry)| entry.state == State::Failed).count();
        if failed == 0 {
            return;
        }
        let share = failed as f64 / self.table.living() as f64;
        if self.rng.random::<f64>() <= share {
            let chosen = self.table.choose(1, &mut self.rng, |_, entry| entry.state == State::Failed);
            if let Some(to) = chosen.first().and_then(|slot| self.address_of(*slot)) {
                self.exchange_with(now, to);
            }
        }
        self.timers.set(Timer::Reconnect, now + self.config.timing.reconnect_interval);
    }

    /// Somebody opened a stream.
    pub(super) fn receive_request(&mut self, now: Instant, request: RequestId, from: SocketAddr, bytes: &[u8]) {
        self.counters.streams_in += 1;
        let answer = self.answer_to(now, from, bytes);
        match answer {
            Some(answer) => self.answer(request, &answer),
            None => self.outputs.push(super::input::Output::Close { request }),
        }
    }

    /// Somebody opened a stream for nothing.
    pub(super) fn receive_broken(&mut self, from: SocketAddr) {
        self.counters.streams_in += 1;
        if self.admits(from) {
            self.refuse(from, super::envelope::Refusal::Malformed);
        }
    }

    fn answer_to(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Option<Answer> {
        if !self.admits(from) {
            return None;
        }
        let body = match self.envelope.open(bytes) {
            Ok(body) => body.into_owned(),
            Err(refusal) => {
                // An answer under our own label tells an honest stranger what is wrong, and a dishonest one nothing.
                let reason = refusal.to_string();
                self.refuse(from, refusal);
                return Some(Answer::Refused(reason));
            }
        };
        let Some(request) = Request::decode(&body) else {
            self.refuse(from, super::envelope::Refusal::Malformed);
            return None;
        };
        match request {
            Request::Exchange(theirs) => Some(self.answer_exchange(now, theirs)),
            Request::Ping { target, source: _, messages } => {
                messages.iter().for_each(|message| self.receive(now, None, message));
                self.is_me(&target).then(|| {
                    // Whoever suspects us of what we refuted long ago learns it here, though it is no rumour any more.
                    let mut messages: Vec<Vec<u8>> = self.objection().iter().map(Message::encode).collect();
                    messages.extend(self.queue.peek(STREAM_RUMOURS_MAX));
                    Answer::Ack { messages }
                })
            }
            Request::Deliver { messages } => {
                messages.iter().for_each(|message| self.receive(now, None, message));
                Some(Answer::Ack { messages: Vec::new() })
            }
        }
    }

    fn answer_exchange(&mut self, now: Instant, theirs: Snapshot) -> Answer {
        if let Some(refused) = self.refusal_of_sender(now, &theirs) {
            return Answer::Refused(refused);
        }
        // First what they say: a member that was given up objects at once, and its objection goes back with the answer.
        self.merge(now, theirs, true);
        Answer::Exchange(self.snapshot(now, false))
    }

    /// Who claims the name or id of a living member is told so, in Consul's words, and nothing it says is taken in.
    fn refusal_of_sender(&mut self, now: Instant, theirs: &Snapshot) -> Option<String> {
        let sender = theirs.members.iter().find(|known| known.profile.name == theirs.sender)?;
        let (name, address) = (Arc::clone(&sender.profile.name), sender.profile.address);
        let conflict = if self.is_me(&name) {
            Some(Conflict::Name { holder: self.config.address })
        } else {
            self.conflict(now, &sender.profile)
        };
        let conflict = conflict?;
        let id = sender.profile.id;
        let reason = match &conflict {
            Conflict::Name { holder } => format!("Member '{name}' has conflicting name with the member at {holder}"),
            Conflict::Id { holder } => format!("Member '{name}' has conflicting node ID '{id}' with member '{holder}'"),
            Conflict::Network => format!("Member '{name}' has an address outside the allowed networks: {address}"),
            Conflict::Full => format!("Member '{name}' finds no room: the pool is full"),
        };
        self.refuse_member(&name, address, conflict);
        Some(reason)
    }

    /// A stream we opened was answered.
    pub(super) fn receive_answer(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) {
        let Some(stream_use) = self.streams.remove(&stream) else { return };
        let answer = match self.envelope.open(bytes) {
            Ok(body) => Answer::decode(&body).ok_or(super::envelope::Refusal::Malformed),
            Err(refusal) => Err(refusal),
        };
        match (answer, stream_use) {
            (Ok(Answer::Exchange(theirs)), StreamUse::Join(ticket, _)) => {
                self.events.skip_until(theirs.event_time);
                // To somebody who was alone all is news, and to nobody else. Who brings others tells them.
                let brings_others = self.table.living() > 1;
                self.merge(now, theirs, brings_others);
                self.join_reached(now, ticket);
            }
            (Ok(Answer::Exchange(theirs)), StreamUse::Exchange(_)) => self.merge(now, theirs, true),
            (Ok(Answer::Ack { messages }), StreamUse::Ping(seq)) => {
                messages.iter().for_each(|message| self.receive(now, None, message));
                self.hear_stream_ack(seq);
            }
            (Ok(Answer::Ack { messages }), StreamUse::Objection(_)) => {
                messages.iter().for_each(|message| self.receive(now, None, message));
            }
            (Ok(Answer::Refused(reason)), stream_use) => self.give_up_stream(stream_use, &reason),
            (Err(refusal), stream_use) => {
                let reason = refusal.to_string();
                if let StreamUse::Join(_, from) | StreamUse::Exchange(from) = stream_use {
                    self.refuse(from, refusal);
                }
                self.give_up_stream(stream_use, &reason);
            }
            (Ok(Answer::Exchange(_) | Answer::Ack { .. }), stream_use) => {
                self.give_up_stream(stream_use, "the peer answered something else");
            }
        }
    }

    /// A stream we opened came to nothing.
    pub(super) fn stream_failed(&mut self, stream: StreamId, reason: &str) {
        let Some(stream_use) = self.streams.remove(&stream) else { return };
        self.counters.streams_failed += 1;
        match stream_use {
            StreamUse::Join(ticket, address) => self.join_failed(ticket, address, reason.to_owned()),
            // The next exchange is with somebody else. That a failed member does not answer is no news.
            StreamUse::Exchange(address) => {
                if self.table.others().any(|(_, entry)| entry.profile.address == address && entry.is_living()) {
                    self.note_once(Note::ExchangeFailed { address, reason: reason.to_owned() });
                }
            }
            // A probe is judged by its own timer, and so is a suspicion.
            StreamUse::Ping(_) | StreamUse::Objection(_) | StreamUse::Deliver => {}
        }
    }

    fn give_up_stream(&mut self, stream_use: StreamUse, reason: &str) {
        match stream_use {
            StreamUse::Join(ticket, address) => self.join_failed(ticket, address, reason.to_owned()),
            StreamUse::Exchange(address) => {
                self.note_once(Note::ExchangeRefused { address, reason: reason.to_owned() });
            }
            StreamUse::Ping(_) | StreamUse::Objection(_) | StreamUse::Deliver => {}
        }
    }

    fn join_reached(&mut self, now: Instant, ticket: Ticket) {
        // Everybody there is to hear of us, and that we want to be there in spite of any earlier leaving.
        self.spread_alive(now, ME, true);
        let (name, time) = (self.my_name(), self.clock.tick());
        self.table.me_mut().time = time;
        let (leaves, prune) = (false, false);
        self.spread(now, Subject::Intent(Arc::clone(&name)), &Message::Intent { name, time, leaves, prune });
        if let Some(join) = self.joins.get_mut(&ticket) {
            join.contacted += 1;
            join.waiting -= 1;
        }
        self.finish_join(ticket);
    }

    fn join_failed(&mut self, ticket: Ticket, address: SocketAddr, reason: String) {
        if let Some(join) = self.joins.get_mut(&ticket) {
            join.failures.push((address, reason));
            join.waiting -= 1;
        }
        self.finish_join(ticket);
    }

    fn finish_join(&mut self, ticket: Ticket) {
        if self.joins.get(&ticket).is_some_and(|join| join.waiting == 0)
            && let Some(Join { contacted, failures, waiting: _ }) = self.joins.remove(&ticket)
        {
            self.emit(Event::Joined { ticket, contacted, failures });
        }
    }

    fn exchange_with(&mut self, now: Instant, to: SocketAddr) {
        self.counters.exchanges += 1;
        let request = Request::Exchange(self.snapshot(now, false));
        self.open_stream(to, StreamUse::Exchange(to), &request);
    }

    /// Everything we know.
    fn snapshot(&self, now: Instant, join: bool) -> Snapshot {
        let events = self.events.recent().rev().take(EVENTS_TOLD).map(|event| (**event).clone());
        let events = if join { Vec::new() } else { events.collect() };
        let members = self.table.iter().map(|entry| known(now, entry)).collect();
        let (time, event_time) = (self.clock.time(), self.events.time());
        Snapshot { join, sender: self.my_name(), time, event_time, members, events }
    }

    /// Takes in what somebody else knows, and passes it on if it `spreads`.
    fn merge(&mut self, now: Instant, theirs: Snapshot, spreads: bool) {
        self.clock.witness(theirs.time);
        let sender = theirs.sender;
        for known in theirs.members {
            self.merge_one(now, known, &sender, spreads);
        }
        // Oldest first, as they were fired.
        theirs.events.into_iter().rev().for_each(|event| self.hear_user_event(now, event));
    }

    fn merge_one(&mut self, now: Instant, known: Known, sender: &Arc<str>, spreads: bool) {
        let Known { profile, incarnation, state, time, age_s } = known;
        self.clock.witness(time);
        let name = Arc::clone(&profile.name);
        let is_known = self.is_me(&name) || self.table.find(&name).is_some();
        match state {
            KnownState::Failed | KnownState::Left if !is_known => {
                return self.adopt_gone(now, profile, incarnation, state, time, age_s);
            }
            KnownState::Failed => return self.hear_suspect(now, &name, incarnation, sender),
            KnownState::Left => {
                self.hear_dead(now, &name, incarnation, &name.clone());
                return self.hear_forced_leave(now, &name, time);
            }
            KnownState::Alive | KnownState::Suspect | KnownState::Leaving => {}
        }
        if !is_known && self.was_pruned(now, &name, time) {
            // Whoever is alive says so itself; this is the memory of somebody who missed that it was forgotten.
            return;
        }
        let revision = profile.revision;
        self.hear_alive(now, &name, incarnation, revision, Some(profile), spreads);
        if state == KnownState::Suspect {
            self.hear_suspect(now, &name, incarnation, sender);
        }
        if state == KnownState::Leaving {
            self.hear_intent(now, &name, time, true, false);
        } else if let Some(entry) = self.table.find(&name).and_then(|slot| self.table.get_mut(slot)) {
            entry.time = entry.time.max(time);
        }
    }
}

fn known(now: Instant, entry: &Entry) -> Known {
    let state = match (entry.state, entry.leaving) {
        (State::Alive, false) => KnownState::Alive,
        (State::Suspect, false) => KnownState::Suspect,
        (State::Alive | State::Suspect, true) => KnownState::Leaving,
        (State::Left, _) => KnownState::Left,
        (State::Failed, _) => KnownState::Failed,
    };
    let age_s = now.saturating_since(entry.since).as_secs().try_into().unwrap_or(u32::MAX);
    let (profile, incarnation, time) = (Arc::clone(&entry.profile), entry.incarnation, entry.time);
    Known { profile, incarnation, state, time, age_s }
}
