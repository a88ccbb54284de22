//! A handful of members on a network of one millisecond, stepped by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::super::*;
use crate::Instant;

const LATENCY: Duration = Duration::from_millis(1);

enum Delivery {
    Datagram { from: SocketAddr, bytes: Vec<u8> },
    Request { from: usize, stream: StreamId, bytes: Vec<u8> },
    Answer { stream: StreamId, bytes: Vec<u8> },
    Failed { stream: StreamId },
}

/// Members, what is under way between them, and what they said.
#[derive(Default)]
pub(super) struct Pool {
    pub(super) members: Vec<Gossip>,
    pub(super) now: Instant,
    under_way: BTreeMap<(Instant, u64), (usize, Delivery)>,
    sent: u64,
    waiting: BTreeMap<RequestId, (usize, StreamId)>,
    /// Members that neither send nor hear anything.
    pub(super) dead: BTreeSet<usize>,
    /// Members whose datagrams are lost, both ways.
    pub(super) blocked: BTreeSet<usize>,
    /// Members that accept streams and never answer them.
    pub(super) silent: BTreeSet<usize>,
    /// Every datagram so far: to whom, from where, and what.
    pub(super) heard: Vec<(usize, SocketAddr, Vec<u8>)>,
    pub(super) events: Vec<(usize, Event)>,
    pub(super) notes: Vec<(usize, Note)>,
}

/// The address of a member.
pub(super) fn address(number: usize) -> SocketAddr {
    ([10, 0, 0, number as u8 + 1], 8301).into()
}

/// The configuration of a member.
pub(super) fn config(number: usize) -> Config {
    let id = NodeId(1000 + number as u128);
    Config { incarnation: 1, ..Config::lan(&format!("m{number}"), id, address(number), "lan.dc1") }
}

impl Pool {
    /// `count` members that have joined the first.
    pub(super) fn joined(count: usize) -> Pool {
        let mut pool = Pool::default();
        (0..count).for_each(|number| pool.add(config(number)));
        (1..count).for_each(|number| pool.join(number, 0));
        pool.run(10);
        pool
    }

    pub(super) fn add(&mut self, config: Config) {
        let rng = StdRng::seed_from_u64(self.members.len() as u64);
        self.members.push(Gossip::new(self.now, config, rng));
    }

    pub(super) fn join(&mut self, number: usize, through: usize) {
        self.join_at(number, &[address(through)]);
    }

    pub(super) fn join_at(&mut self, number: usize, addresses: &[SocketAddr]) {
        self.step(number, Input::Join { ticket: Ticket(1), addresses: addresses.to_vec() });
    }

    pub(super) fn step(&mut self, number: usize, input: Input) {
        let outputs = self.members[number].step(self.now, input);
        outputs.into_iter().for_each(|output| self.perform(number, output));
    }

    pub(super) fn run(&mut self, seconds: u64) {
        self.run_for(Duration::from_secs(seconds));
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.now = at;
            self.deliver();
            for number in 0..self.members.len() {
                let is_due = self.members[number].deadline().is_some_and(|(due, _)| due <= at);
                if is_due && !self.dead.contains(&number) {
                    self.step(number, Input::Tick);
                }
            }
        }
        self.now = end;
    }

    /// Runs until something holds, at most `seconds`; the time it took.
    pub(super) fn run_until(&mut self, seconds: u64, holds: impl Fn(&Pool) -> bool) -> Option<Duration> {
        let start = self.now;
        for _ in 0..seconds * 100 {
            if holds(self) {
                return Some(self.now.saturating_since(start));
            }
            self.run_for(Duration::from_millis(10));
        }
        None
    }

    /// What one member takes another for.
    pub(super) fn status(&self, of: usize, at: usize) -> Option<Status> {
        self.members[at].member(&format!("m{of}")).map(|member| member.status)
    }

    /// What everybody else that is not dead takes a member for.
    pub(super) fn everybody_says(&self, of: usize, status: Status) -> bool {
        let others = (0..self.members.len()).filter(|at| *at != of && !self.dead.contains(at));
        others.into_iter().all(|at| self.status(of, at) == Some(status))
    }

    /// Datagrams of a stranger.
    pub(super) fn inject(&mut self, to: usize, from: SocketAddr, bytes: &[u8]) {
        self.step(to, Input::Datagram { from, bytes: bytes.to_vec() });
    }

    /// A message one member sends another.
    pub(super) fn inject_message(&mut self, to: usize, from: usize, message: &wire::Message) {
        let mut packet = b"L\x01\x00\x07lan.dc1".to_vec();
        wire::append(&mut packet, &message.encode());
        self.inject(to, address(from), &packet);
    }

    pub(super) fn saw(&self, number: usize, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|(at, event)| *at == number && wanted(event)).count()
    }

    fn next(&self) -> Option<Instant> {
        let living = (0..self.members.len()).filter(|number| !self.dead.contains(number));
        let due = living.filter_map(|number| self.members[number].deadline()).map(|(at, _)| at).min();
        let arrives = self.under_way.first_key_value().map(|((at, _), _)| *at);
        due.into_iter().chain(arrives).min().map(|at| at.max(self.now))
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to, delivery) = entry.remove();
            if self.dead.contains(&to) {
                continue;
            }
            match delivery {
                Delivery::Datagram { from, bytes } => self.step(to, Input::Datagram { from, bytes }),
                Delivery::Request { from, stream, bytes } => {
                    let request = RequestId(self.sent);
                    self.waiting.insert(request, (from, stream));
                    // Every stream comes from a port of its own.
                    let port = 40_000 + self.sent as u16 % 20_000;
                    let from = ([10, 0, 0, from as u8 + 1], port).into();
                    self.step(to, Input::StreamRequest { request, from, bytes });
                }
                Delivery::Answer { stream, bytes } => self.step(to, Input::StreamReply { stream, bytes }),
                Delivery::Failed { stream } => {
                    self.step(to, Input::StreamFailed { stream, reason: "connection refused".to_owned() });
                }
            }
        }
    }

    fn perform(&mut self, number: usize, output: Output) {
        match output {
            Output::Datagram { to, bytes } => {
                assert!(bytes.len() <= DATAGRAM_BYTES_MAX, "{} bytes", bytes.len());
                let Some(to) = self.number_of(to) else { return };
                self.heard.push((to, address(number), bytes.clone()));
                if !self.blocked.contains(&number) && !self.blocked.contains(&to) {
                    self.send(to, Delivery::Datagram { from: address(number), bytes });
                }
            }
            Output::OpenStream { stream, to, bytes, timeout: _ } => {
                let bytes = body_of(&bytes, ANSWER_BYTES_MAX);
                match self.number_of(to).filter(|to| !self.dead.contains(to) && !self.silent.contains(to)) {
                    Some(to) => self.send(to, Delivery::Request { from: number, stream, bytes }),
                    None => self.send(number, Delivery::Failed { stream }),
                }
            }
            Output::Reply { request, bytes } => {
                let (to, stream) = self.waiting.remove(&request).expect("answered once");
                self.send(to, Delivery::Answer { stream, bytes: body_of(&bytes, ANSWER_BYTES_MAX) });
            }
            Output::Close { request } => {
                let (to, stream) = self.waiting.remove(&request).expect("answered once");
                self.send(to, Delivery::Failed { stream });
            }
            Output::Event(event) => self.events.push((number, event)),
            Output::Note(note) => self.notes.push((number, note)),
        }
    }

    fn send(&mut self, to: usize, delivery: Delivery) {
        self.sent += 1;
        self.under_way.insert((self.now + LATENCY, self.sent), (to, delivery));
    }

    /// The latest member with this address: an agent that restarted takes it over.
    fn number_of(&self, to: SocketAddr) -> Option<usize> {
        (0..self.members.len()).rev().find(|number| self.members[*number].me().profile.address == to)
    }
}

/// What a loop reads of a frame.
pub(super) fn body_of(frame: &[u8], bytes_max: usize) -> Vec<u8> {
    let (header, body) = frame.split_first_chunk::<FRAME_HEADER_BYTES>().unwrap();
    assert_eq!(frame_length(*header, bytes_max), Ok(body.len()));
    body.to_vec()
}
