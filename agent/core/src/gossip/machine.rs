//! The machine: takes inputs apart, sends packets, and calls the rules.
//!
//! Owns all state of one pool. The rules are in the sibling files, each an
//! `impl Gossip`: `probe` (who is asked whether it is there),
//! `membership` (what follows), `exchange`
//! (joining and full exchanges), `intent` (leaving, forgetting)
//! and `keys` (questions to all about keys).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::awareness::Awareness;
use super::config::{Config, DATAGRAM_BYTES_MAX, Timing};
use super::counters::Counters;
use super::envelope::{Envelope, Refusal};
use super::exchange::{Join, StreamUse};
use super::input::{Event, Input, Note, Output, RequestId, StreamId, Ticket};
use super::intent::{Intents, Leaving};
use super::keyring::KeyRing;
use super::keys::KeyQueries;
use super::lamport::LamportClock;
use super::member::{Member, Profile};
use super::probe::{Probe, Relay};
use super::queue::{Queue, Subject};
use super::table::{Entry, Slot, State, Table};
use super::timers::{Timer, Timers};
use super::user_event::{Fired, UserEvent, UserEvents};
use super::wire::{self, Answer, Message, Request};
use crate::Instant;
use crate::coordinate::{Coordinate, Locator};

/// The most notes remembered as said, of those about packets and of the others each: strangers cannot use up what members
/// are entitled to. After that none of them is said.
const NOTES_MAX: usize = 1024;

/// The most streams we have open.
pub(super) const STREAMS_MAX: usize = 256;

/// The most recent peers kept for the next start.
const RECENT_PEERS_MAX: usize = 256;

/// How late the loop may call before we know that it was us who stood still.
const STALL: Duration = Duration::from_secs(1);

/// One pool as one member sees it.
///
/// Same configuration, same random numbers, same inputs: same outputs.
pub struct Gossip {
    pub(super) config: Config,
    pub(super) envelope: Envelope,
    pub(super) rng: StdRng,
    pub(super) table: Table,
    pub(super) queue: Queue,
    pub(super) timers: Timers,
    pub(super) awareness: Awareness,
    pub(super) probe: Option<Probe>,
    pub(super) relays: BTreeMap<u32, Relay>,
    pub(super) next_seq: u32,
    pub(super) streams: BTreeMap<StreamId, StreamUse>,
    next_stream: u64,
    pub(super) joins: BTreeMap<Ticket, Join>,
    pub(super) clock: LamportClock,
    pub(super) intents: Intents,
    pub(super) leaving: Leaving,
    pub(super) events: UserEvents,
    pub(super) key_queries: KeyQueries,
    pub(super) locator: Locator,
    pub(super) counters: Counters,
    noted: BTreeSet<Note>,
    noted_of_packets: BTreeSet<Note>,
    gossiped_at: Option<Instant>,
    pub(super) outputs: Vec<Output>,
}

/// What `/v1/agent/self` and `lictor info` say about a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Members of every state, ourselves included.
    pub members: usize,
    /// Those that failed.
    pub failed: usize,
    /// Those that left.
    pub left: usize,
    /// Local health; 0 is healthy.
    pub health_score: u32,
    /// Logical time of intents.
    pub member_time: u64,
    /// Logical time of user events.
    pub event_time: u64,
    /// Logical time of questions about keys.
    pub query_time: u64,
    /// Rumours about members that wait.
    pub intent_queue: usize,
    /// User events that wait.
    pub event_queue: usize,
    /// Questions about keys that wait.
    pub query_queue: usize,
    /// Whether there are keys.
    pub encrypted: bool,
    /// How often our place on the map was given up.
    pub coordinate_resets: u64,
}

impl Gossip {
    /// A pool with us alone in it. `rng` chooses peers and nonces; seed it from the system, or for a simulation.
    pub fn new(now: Instant, mut config: Config, mut rng: StdRng) -> Gossip {
        let profile = Profile {
            name: Arc::clone(&config.name),
            id: config.id,
            address: config.address,
            tags: config.tags.clone(),
            revision: config.incarnation,
        };
        let ring = std::mem::take(&mut config.keys);
        let envelope = Envelope::new(&config.label, ring, config.verify_incoming, config.verify_outgoing);
        let me = Entry::new(Arc::new(profile), config.incarnation, State::Alive, now);
        Gossip {
            awareness: Awareness::new(config.timing.awareness_max),
            envelope,
            table: Table::new(me),
            queue: Queue::default(),
            timers: Timers::default(),
            probe: None,
            relays: BTreeMap::new(),
            // Not from zero, so that answers to an earlier life are not taken for ours.
            next_seq: rng.random(),
            streams: BTreeMap::new(),
            next_stream: 0,
            joins: BTreeMap::new(),
            clock: LamportClock::default(),
            intents: Intents::default(),
            leaving: Leaving::No,
            events: UserEvents::default(),
            key_queries: KeyQueries::default(),
            locator: Locator::default(),
            counters: Counters::default(),
            noted: BTreeSet::new(),
            noted_of_packets: BTreeSet::new(),
            gossiped_at: None,
            outputs: Vec::new(),
            config,
            rng,
        }
    }

    /// Takes in one input, does what is due, and returns what the loop must do, in order.
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Output> {
        if self.leaving == Leaving::Done {
            return self.refuse_after_leaving(input);
        }
        self.excuse_stall(now);
        match input {
            Input::Datagram { from, bytes } => self.receive_datagram(now, from, &bytes),
            Input::StreamRequest { request, from, bytes } => self.receive_request(now, request, from, &bytes),
            Input::StreamBroken { from } => self.receive_broken(from),
            Input::StreamReply { stream, bytes } => self.receive_answer(now, stream, &bytes),
            Input::StreamFailed { stream, reason } => self.stream_failed(stream, &reason),
            Input::Join { ticket, addresses } => self.join(now, ticket, addresses),
            Input::Leave => self.leave(now),
            Input::ForceLeave { name, prune } => self.force_leave(now, &name, prune),
            Input::SetTags(tags) => self.set_tags(now, tags),
            Input::Fire(fired) => self.fire(now, fired),
            Input::Keys { ticket, operation } => self.ask_about_keys(now, ticket, operation),
            Input::Tick => {}
        }
        while let Some(timer) = self.timers.pop(now) {
            self.run(now, timer);
        }
        self.finish_key_queries();
        std::mem::take(&mut self.outputs)
    }

    /// When to call [`Gossip::step`] again at the latest, and why. `None` for a member that is alone.
    pub fn deadline(&self) -> Option<(Instant, &'static str)> {
        self.timers.next()
    }

    /// Every member, ourselves included, in the order of names.
    pub fn members(&self) -> impl Iterator<Item = Member> {
        self.table.sorted().into_iter().map(Entry::member)
    }

    /// The member of this name.
    pub fn member(&self, name: &str) -> Option<Member> {
        self.table.find(name).and_then(|slot| self.table.get(slot)).map(Entry::member)
    }

    /// Ourselves.
    pub fn me(&self) -> Member {
        self.table.me().member()
    }

    /// Living members to be tried at the next start with `-rejoin`; not all of a large pool.
    pub fn recent_peers(&self) -> Vec<(Arc<str>, SocketAddr)> {
        let living = self.table.others().filter(|(_, entry)| entry.is_living());
        let peers = living.map(|(_, entry)| (Arc::clone(&entry.profile.name), entry.profile.address));
        peers.take(RECENT_PEERS_MAX).collect()
    }

    /// The latest user events, oldest first; at most [`RECENT_MAX`](super::user_event::RECENT_MAX).
    pub fn user_events(&self) -> impl DoubleEndedIterator<Item = &Arc<UserEvent>> {
        self.events.recent()
    }

    /// Our place on the map of round trips.
    pub fn coordinate(&self) -> &Coordinate {
        self.locator.place()
    }

    /// The place of another member, as it last told us; none before our first probe of it.
    pub fn coordinate_of(&self, name: &str) -> Option<&Coordinate> {
        self.table.find(name).and_then(|slot| self.table.get(slot)?.coordinate.as_deref())
    }

    /// The keys as they are now.
    pub fn keys(&self) -> &KeyRing {
        &self.envelope.ring
    }

    /// What was done and refused.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Numbers for operators.
    pub fn stats(&self) -> Stats {
        let count = |state| self.table.iter().filter(|entry| entry.state == state).count();
        let (intent_queue, query_queue, event_queue) = self.queue.lengths();
        Stats {
            members: self.table.len(),
            failed: count(State::Failed),
            left: count(State::Left),
            health_score: self.awareness.score(),
            member_time: self.clock.time().0,
            event_time: self.events.time().0,
            query_time: self.key_queries.time().0,
            intent_queue,
            event_queue,
            query_queue,
            encrypted: !self.envelope.ring.is_empty(),
            coordinate_resets: self.locator.resets(),
        }
    }

    /// The longest frame to read from a stream somebody opened, in bytes. Grows with the pool, so that a stranger
    /// cannot make a small agent hold a large pool's state.
    pub fn request_bytes_max(&self) -> usize {
        const FREE: usize = 1 << 20;
        const EACH_MEMBER: usize = 2 << 10;
        (FREE + EACH_MEMBER * self.table.len()).min(super::envelope::ANSWER_BYTES_MAX)
    }

    /// Takes members for alive without hearing from them. For simulations of large pools, which would otherwise
    /// spend their time joining; profiles are shared.
    pub fn assume(&mut self, now: Instant, profiles: &[Arc<Profile>]) {
        let unknown = profiles.iter().filter(|profile| self.table.find(&profile.name).is_none());
        let entry = |profile: &Arc<Profile>| Entry::new(Arc::clone(profile), profile.revision, State::Alive, now);
        let entries: Vec<Entry> = unknown.map(entry).collect();
        self.table.extend(entries.into_iter());
        self.keep_time(now);
    }

    fn run(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Gossip => self.gossip(now),
            Timer::Probe => self.probe_next(now),
            Timer::ProbeTimeout => self.ask_others_to_probe(now),
            Timer::Relay(seq) => self.relay_late(now, seq),
            Timer::Suspect(slot) => self.suspicion_ran_out(now, slot),
            Timer::Exchange => self.exchange(now),
            Timer::Reconnect => self.reconnect(now),
            Timer::Reap => self.reap(now),
            Timer::Leave => self.finish_leaving(),
            Timer::Keys(id) => self.key_query_late(now, id),
        }
    }

    /// Sets the timers of a pool that has others in it. A lone member has none.
    pub(super) fn keep_time(&mut self, now: Instant) {
        if self.table.living() <= 1 {
            return;
        }
        let Timing { probe_interval, .. } = self.config.timing;
        if !self.timers.is_set(Timer::Probe) {
            let delay = self.some_of(probe_interval);
            self.timers.set(Timer::Probe, now + delay);
        }
        if !self.timers.is_set(Timer::Exchange) {
            let delay = self.some_of(self.config.timing.exchange_every(self.table.living()));
            self.timers.set(Timer::Exchange, now + delay);
        }
    }

    /// When we were not called for long, others did not fail: we stood still. What ran out meanwhile is given back.
    fn excuse_stall(&mut self, now: Instant) {
        let Some((due, _)) = self.timers.next() else { return };
        let late = now.saturating_since(due);
        if late < STALL {
            return;
        }
        self.awareness.worsen(1);
        self.probe = None;
        self.timers.cancel(Timer::ProbeTimeout);
        let slots: Vec<Slot> = self.table.others().filter(|(_, entry)| entry.suspicion.is_some()).map(first).collect();
        for slot in slots {
            if let Some(suspicion) = self.table.get_mut(slot).and_then(|entry| entry.suspicion.as_mut()) {
                suspicion.postpone(late);
                self.timers.set(Timer::Suspect(slot), suspicion.deadline());
            }
        }
    }

    fn receive_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.counters.datagrams_in += 1;
        self.counters.bytes_in += bytes.len() as u64;
        if !self.admits(from) {
            return;
        }
        let opened = self.envelope.open(bytes).map(|body| body.into_owned());
        match opened {
            Ok(body) => match wire::split(&body) {
                Some(messages) => messages.into_iter().for_each(|message| self.receive(now, Some(from), message)),
                None => self.refuse(from, Refusal::Malformed),
            },
            Err(refusal) => self.refuse(from, refusal),
        }
    }

    /// Whether packets from this address are read at all.
    pub(super) fn admits(&mut self, from: SocketAddr) -> bool {
        let is_allowed = self.config.allows(from.ip());
        if !is_allowed {
            self.counters.refused_network += 1;
            self.note_once(Note::NotAllowed { address: from.ip() });
        }
        is_allowed
    }

    /// Counts a packet that was not opened, and says so once for each host.
    pub(super) fn refuse(&mut self, from: SocketAddr, refusal: Refusal) {
        let counters = &mut self.counters;
        let from = from.ip();
        let (counter, note) = match refusal {
            Refusal::Malformed => (&mut counters.malformed, Note::Malformed { from }),
            Refusal::OtherVersion(version) => (&mut counters.refused_version, Note::OtherVersion { from, version }),
            Refusal::OtherPool(label) => (&mut counters.refused_label, Note::OtherPool { from, label }),
            Refusal::NotEncrypted => (&mut counters.refused_plain, Note::NotEncrypted { from }),
            Refusal::NotAuthentic | Refusal::NoKeys => (&mut counters.refused_key, Note::NotAuthentic { from }),
        };
        *counter += 1;
        self.note_once(note);
    }

    /// Takes in one message. One this version does not know is skipped, as is one that wants a datagram back when it
    /// came by stream, `from` nowhere a datagram could go.
    pub(super) fn receive(&mut self, now: Instant, from: Option<SocketAddr>, bytes: &[u8]) {
        let Some(message) = Message::decode(bytes) else {
            self.counters.messages_skipped += 1;
            return;
        };
        match (message, from) {
            (Message::Ping { seq, target, source: _ }, Some(from)) => self.answer_ping(from, seq, &target),
            (Message::IndirectPing { seq, target }, Some(from)) => self.relay(now, from, seq, &target),
            (Message::Suspect { name, incarnation, .. } | Message::Dead { name, incarnation, .. }, Some(from))
                if self.was_refuted(&name, incarnation) =>
            {
                let objection = self.objection();
                self.send(from, objection.as_slice());
            }
            (message, _) => self.hear(now, message),
        }
    }

    fn hear(&mut self, now: Instant, message: Message) {
        match message {
            Message::Ping { .. } | Message::IndirectPing { .. } => self.counters.messages_skipped += 1,
            Message::Ack { seq, coordinate } => self.hear_ack(now, seq, coordinate),
            Message::Nack { seq } => self.hear_nack(seq),
            Message::Alive { name, incarnation, revision, profile } => {
                self.hear_alive(now, &name, incarnation, revision, profile, true);
            }
            Message::Suspect { name, incarnation, accuser } => self.hear_suspect(now, &name, incarnation, &accuser),
            Message::Dead { name, incarnation, accuser } => self.hear_dead(now, &name, incarnation, &accuser),
            Message::Intent { name, time, leaves, prune } => self.hear_intent(now, &name, time, leaves, prune),
            Message::UserEvent(event) => self.hear_user_event(now, event),
            Message::KeyQuery(query) => self.hear_key_query(now, query),
            Message::KeyAnswer(answer) => self.hear_key_answer(answer),
        }
    }

    /// Queues a rumour, and sees to it that it is passed on soon.
    pub(super) fn spread(&mut self, now: Instant, subject: Subject, message: &Message) {
        let has_profile = matches!(message, Message::Alive { profile: Some(_), .. });
        let dropped = self.queue.push(subject, message.encode(), has_profile, self.table.len());
        self.counters.rumours_dropped += dropped;
        if self.table.living() > 1 {
            self.gossip_soon(now);
        }
    }

    /// Soon, but not at once: a few rumours may share a packet.
    pub(super) fn gossip_soon(&mut self, now: Instant) {
        if self.queue.is_empty() || self.timers.is_set(Timer::Gossip) {
            return;
        }
        let interval = self.config.timing.gossip_interval;
        let earliest = self.gossiped_at.map_or(now, |at| at + interval).max(now);
        let delay = self.some_of(interval / 4);
        self.timers.set(Timer::Gossip, earliest + delay);
    }

    fn gossip(&mut self, now: Instant) {
        let Timing { gossip_nodes, gossip_to_dead, gossip_interval, .. } = self.config.timing;
        let listeners = self.table.choose(gossip_nodes, &mut self.rng, |_, entry| {
            entry.is_living() || (entry.state == State::Failed && now.saturating_since(entry.since) < gossip_to_dead)
        });
        for slot in &listeners {
            if let Some(to) = self.address_of(*slot) {
                self.send(to, &[]);
            }
        }
        self.gossiped_at = Some(now);
        if !self.queue.is_empty() && !listeners.is_empty() {
            self.timers.set(Timer::Gossip, now + gossip_interval);
        }
        self.has_left(now);
    }

    /// Sends messages in one datagram, with rumours in what room is left.
    pub(super) fn send(&mut self, to: SocketAddr, messages: &[Message]) {
        let bytes_max = DATAGRAM_BYTES_MAX - self.envelope.overhead();
        let mut body = Vec::with_capacity(bytes_max);
        messages.iter().for_each(|message| wire::append(&mut body, &message.encode()));
        let limit = self.config.timing.retransmissions(self.table.living());
        self.queue.fill(&mut body, bytes_max, limit);
        if body.is_empty() {
            return;
        }
        let bytes = self.envelope.seal(&body, &mut self.rng);
        self.counters.datagrams_out += 1;
        self.counters.bytes_out += bytes.len() as u64;
        self.outputs.push(Output::Datagram { to, bytes });
    }

    /// Sends a message that must not be lost for its size: by stream, when it does not fit a datagram.
    pub(super) fn send_whole(&mut self, to: SocketAddr, message: Message) {
        let bytes = message.encode();
        if self.envelope.overhead() + wire::LENGTH_BYTES + bytes.len() <= DATAGRAM_BYTES_MAX {
            self.send(to, &[message]);
        } else {
            self.deliver(to, &message);
        }
    }

    /// Sends a message over a stream of its own.
    pub(super) fn deliver(&mut self, to: SocketAddr, message: &Message) {
        self.open_stream(to, StreamUse::Deliver, &Request::Deliver { messages: vec![message.encode()] });
    }

    /// Opens a stream, unless too many are open; says whether it did.
    pub(super) fn open_stream(&mut self, to: SocketAddr, stream_use: StreamUse, request: &Request) -> bool {
        if self.streams.len() >= STREAMS_MAX {
            return false;
        }
        let stream = StreamId(self.next_stream);
        self.next_stream += 1;
        self.counters.streams_out += 1;
        let timeout = match stream_use {
            StreamUse::Ping(_) => self.awareness.scale(self.config.timing.probe_interval),
            StreamUse::Objection(wait) => wait.min(self.config.timing.stream_timeout),
            _ => self.config.timing.stream_timeout,
        };
        self.streams.insert(stream, stream_use);
        let bytes = self.envelope.frame(&request.encode(), &mut self.rng);
        self.outputs.push(Output::OpenStream { stream, to, bytes, timeout });
        true
    }

    /// Answers a stream.
    pub(super) fn answer(&mut self, request: RequestId, answer: &Answer) {
        let bytes = self.envelope.frame(&answer.encode(), &mut self.rng);
        self.outputs.push(Output::Reply { request, bytes });
    }

    pub(super) fn address_of(&self, slot: Slot) -> Option<SocketAddr> {
        self.table.get(slot).map(|entry| entry.profile.address)
    }

    pub(super) fn my_name(&self) -> Arc<str> {
        Arc::clone(&self.config.name)
    }

    pub(super) fn is_me(&self, name: &str) -> bool {
        *self.config.name == *name
    }

    /// A random part of a time, so that members do not act in step.
    pub(super) fn some_of(&mut self, time: Duration) -> Duration {
        time.mul_f64(self.rng.random::<f64>())
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.outputs.push(Output::Event(event));
    }

    pub(super) fn note(&mut self, note: Note) {
        self.outputs.push(Output::Note(note));
    }

    /// Says something the first time.
    pub(super) fn note_once(&mut self, note: Note) {
        let noted = if note.is_about_packets() { &mut self.noted_of_packets } else { &mut self.noted };
        if noted.len() < NOTES_MAX && noted.insert(note.clone()) {
            self.note(note);
        }
    }

    fn fire(&mut self, now: Instant, fired: Fired) {
        // The daemon tells whoever fires it that an event is too large; here it must only do no harm.
        if fired.is_within(self.config.event_bytes_max.min(super::config::EVENT_BYTES_LIMIT)) {
            let event = self.events.stamp(fired);
            self.hear_user_event(now, event);
        }
    }

    pub(super) fn hear_user_event(&mut self, now: Instant, event: UserEvent) {
        let subject = Subject::Event(event.time.0, event.fired.id);
        if let Some(event) = self.events.hear(event) {
            self.counters.events += 1;
            self.spread(now, subject, &Message::UserEvent((*event).clone()));
            self.emit(Event::UserEvent(event));
        }
    }

    fn refuse_after_leaving(&mut self, input: Input) -> Vec<Output> {
        match input {
            Input::StreamRequest { request, .. } => vec![Output::Close { request }],
            Input::Leave => vec![Output::Event(Event::LeftPool)],
            Input::Datagram { .. }
            | Input::StreamBroken { .. }
            | Input::StreamReply { .. }
            | Input::StreamFailed { .. }
            | Input::Join { .. }
            | Input::ForceLeave { .. }
            | Input::SetTags(_)
            | Input::Fire(_)
            | Input::Keys { .. }
            | Input::Tick => Vec::new(),
        }
    }
}

fn first<A, B>((a, _): (A, B)) -> A {
    a
}
