//! Asking members whether they are there.
//!
//! One member an interval, in turn: a datagram first; when that is not answered
//! in time, three others are asked to try, and a stream is opened, so that a
//! member whose datagrams are blocked stays alive. A suspected member is told
//! so with the probe (Lifeguard's buddy system), and by a stream that is given
//! as long as the suspicion lasts. Helpers that hear nothing say at least that
//! (Lifeguard's nacks), which tells our own network from the target's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::exchange::StreamUse;
use super::input::Note;
use super::machine::Gossip;
use super::table::{Entry, Slot, State};
use super::timers::Timer;
use super::wire::{Message, Request};
use crate::Instant;
use crate::coordinate::Coordinate;

/// The most probes made for others at a time.
const RELAYS_MAX: usize = 1024;

/// After this many probes in a row that only a stream answered, datagrams are blocked rather than lost.
const BLOCKED_AFTER: u8 = 2;

/// The most rumours sent along with a probe by stream.
pub(super) const STREAM_RUMOURS_MAX: usize = 64;

/// The probe that is under way.
#[derive(Debug)]
pub(super) struct Probe {
    seq: u32,
    slot: Slot,
    incarnation: u64,
    sent_at: Instant,
    /// Others were asked to help.
    is_indirect: bool,
    helpers: u32,
    nacks: u32,
    /// The stream was answered.
    by_stream: bool,
}

impl Probe {
    /// Whether it is of this member.
    pub(super) fn is_of(&self, slot: Slot) -> bool {
        self.slot == slot
    }
}

/// A probe made for another member.
#[derive(Debug)]
pub(super) struct Relay {
    asked_by: SocketAddr,
    seq: u32,
    is_late: bool,
}

impl Gossip {
    /// Judges the last probe and begins the next.
    pub(super) fn probe_next(&mut self, now: Instant) {
        self.judge_probe(now);
        let Some(slot) = self.table.next_to_probe(&mut self.rng) else { return };
        let Some(entry) = self.table.get(slot) else { return };
        let (target, incarnation, to) = (Arc::clone(&entry.profile.name), entry.incarnation, entry.profile.address);
        let mut messages: Vec<Message> = accusation(entry).into_iter().collect();
        let seq = self.take_seq();
        messages.push(Message::Ping { seq, target, source: self.my_name() });
        self.counters.probes += 1;
        let (is_indirect, helpers, nacks, by_stream) = (false, 0, 0, false);
        self.probe = Some(Probe { seq, slot, incarnation, sent_at: now, is_indirect, helpers, nacks, by_stream });
        self.send(to, &messages);
        let timing = self.config.timing;
        self.timers.set(Timer::ProbeTimeout, now + self.awareness.scale(timing.probe_timeout));
        self.timers.set(Timer::Probe, now + self.awareness.scale(timing.probe_interval));
    }

    /// The target did not answer in time: others and a stream may do better.
    pub(super) fn ask_others_to_probe(&mut self, _now: Instant) {
        let Some(Probe { seq, slot, .. }) = self.probe else { return };
        let Some(entry) = self.table.get(slot) else { return };
        let (target, to) = (Arc::clone(&entry.profile.name), entry.profile.address);
        let mut messages: Vec<Vec<u8>> = accusation(entry).iter().map(Message::encode).collect();
        let wanted = self.config.timing.indirect_probes;
        let helpers = self.table.choose(wanted, &mut self.rng, |candidate, entry| {
            candidate != slot && entry.state == State::Alive && entry.by_stream < BLOCKED_AFTER
        });
        for helper in &helpers {
            if let Some(to) = self.address_of(*helper) {
                self.send(to, &[Message::IndirectPing { seq, target: Arc::clone(&target) }]);
            }
        }
        if let Some(probe) = &mut self.probe {
            probe.is_indirect = true;
            probe.helpers = helpers.len() as u32;
        }
        messages.extend(self.queue.peek(STREAM_RUMOURS_MAX));
        let request = Request::Ping { target, source: self.my_name(), messages };
        self.open_stream(to, StreamUse::Ping(seq), &request);
    }

    /// Tells a member by stream that it is suspected. On a network that loses packets rumours may miss it, or its objection
    /// may miss us; a stream that is given as long as the suspicion lasts sends again what was lost.
    pub(super) fn ask_for_objection(&mut self, slot: Slot, wait: Duration) {
        let Some(entry) = self.table.get(slot) else { return };
        let (target, to) = (Arc::clone(&entry.profile.name), entry.profile.address);
        let messages = accusation(entry).iter().map(Message::encode).collect();
        let request = Request::Ping { target, source: self.my_name(), messages };
        self.open_stream(to, StreamUse::Objection(wait), &request);
    }

    pub(super) fn answer_ping(&mut self, from: SocketAddr, seq: u32, target: &str) {
        if !self.is_me(target) {
            self.counters.messages_skipped += 1;
            return;
        }
        let coordinate = Some(self.locator.place().clone());
        self.send(from, &[Message::Ack { seq, coordinate }]);
    }

    pub(super) fn hear_ack(&mut self, now: Instant, seq: u32, coordinate: Option<Coordinate>) {
        if let Some(relay) = self.relays.remove(&seq) {
            self.timers.cancel(Timer::Relay(seq));
            self.send(relay.asked_by, &[Message::Ack { seq: relay.seq, coordinate: None }]);
            return;
        }
        let Some(probe) = self.probe.take_if(|probe| probe.seq == seq) else { return };
        self.timers.cancel(Timer::ProbeTimeout);
        self.awareness.improve();
        let Some(entry) = self.table.get_mut(probe.slot) else { return };
        entry.by_stream = 0;
        // An answer that others or a stream brought says nothing about the way to the target.
        if let Some(theirs) = coordinate.filter(|_| !probe.is_indirect) {
            let round_trip = now.saturating_since(probe.sent_at);
            self.locator.measure(probe.slot, &theirs, round_trip, &mut self.rng);
            entry.coordinate = Some(Box::new(theirs));
        }
    }

    /// The target answered the stream. Datagrams, perhaps by way of others, may still do better until the probe ends.
    pub(super) fn hear_stream_ack(&mut self, seq: u32) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.seq == seq) {
            probe.by_stream = true;
        }
    }

    pub(super) fn hear_nack(&mut self, seq: u32) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.seq == seq) {
            probe.nacks = (probe.nacks + 1).min(probe.helpers);
        }
    }

    /// Probes a member for another one. Only members we know: we do not send where a stranger points.
    pub(super) fn relay(&mut self, now: Instant, asked_by: SocketAddr, seq: u32, target: &str) {
        let slot = self.table.find(target).filter(|_| self.relays.len() < RELAYS_MAX);
        let Some(to) = slot.and_then(|slot| self.address_of(slot)) else {
            self.send(asked_by, &[Message::Nack { seq }]);
            return;
        };
        let ours = self.take_seq();
        self.relays.insert(ours, Relay { asked_by, seq, is_late: false });
        self.send(to, &[Message::Ping { seq: ours, target: target.into(), source: self.my_name() }]);
        // Early enough that the one who asked still hears it in time (Lifeguard: 80 % of the timeout).
        self.timers.set(Timer::Relay(ours), now + self.config.timing.probe_timeout.mul_f64(0.8));
    }

    /// Says that the target of a relayed probe is silent; a second time on, gives it up.
    pub(super) fn relay_late(&mut self, now: Instant, seq: u32) {
        let Some(relay) = self.relays.get_mut(&seq) else { return };
        if relay.is_late {
            self.relays.remove(&seq);
            return;
        }
        relay.is_late = true;
        let (asked_by, asked_seq) = (relay.asked_by, relay.seq);
        self.send(asked_by, &[Message::Nack { seq: asked_seq }]);
        self.timers.set(Timer::Relay(seq), now + self.config.timing.probe_interval);
    }

    fn judge_probe(&mut self, now: Instant) {
        let Some(probe) = self.probe.take() else { return };
        self.timers.cancel(Timer::ProbeTimeout);
        if probe.by_stream {
            return self.answered_by_stream(probe.slot);
        }
        self.counters.probes_failed += 1;
        // Helpers that said at least that they heard nothing show that our own network works.
        let silent = probe.helpers.saturating_sub(probe.nacks);
        self.awareness.worsen(if probe.helpers == 0 { 1 } else { silent });
        let Some(entry) = self.table.get(probe.slot) else { return };
        let name = Arc::clone(&entry.profile.name);
        let accuser = self.my_name();
        self.hear_suspect(now, &name, probe.incarnation, &accuser);
    }

    /// Only the stream was answered; that is an answer, if a poor one.
    fn answered_by_stream(&mut self, slot: Slot) {
        self.awareness.improve();
        self.counters.probes_by_stream += 1;
        let Some(entry) = self.table.get_mut(slot) else { return };
        entry.by_stream = entry.by_stream.saturating_add(1);
        if entry.by_stream == BLOCKED_AFTER {
            let (name, address) = (entry.profile.name.to_string(), entry.profile.address);
            self.note(Note::DatagramsBlocked { name, address });
        }
    }

    fn take_seq(&mut self) -> u32 {
        self.next_seq = self.next_seq.wrapping_add(1);
        self.next_seq
    }
}

/// What a suspected member is told about itself.
fn accusation(entry: &Entry) -> Option<Message> {
    let (name, incarnation) = (Arc::clone(&entry.profile.name), entry.incarnation);
    let accuser = Arc::clone(entry.suspicion.as_ref()?.accuser());
    Some(Message::Suspect { name, incarnation, accuser })
}
