//! Members, what is under way between them, and what came of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_core::Instant;
use agent_core::gossip::{
    ANSWER_BYTES_MAX, Config, Event, FRAME_HEADER_BYTES, Gossip, Input, NodeId, Note, Output, Profile, RequestId,
    Status, StreamId, Tags, frame_length,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::Weather;

/// What arrives, or is due, at one member.
#[derive(Debug)]
enum Arrival {
    Wake,
    Datagram { from: SocketAddr, bytes: Vec<u8> },
    Request { from: usize, stream: StreamId, bytes: Vec<u8> },
    Answer { stream: StreamId, bytes: Vec<u8> },
    Failed { stream: StreamId },
}

/// A pool under simulation.
pub struct World {
    members: Vec<Gossip>,
    down: BTreeSet<usize>,
    /// Virtual time.
    pub now: Instant,
    /// What the network does.
    pub weather: Weather,
    queue: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    arrivals: BTreeMap<u64, Arrival>,
    next: u64,
    /// When each member's next wake-up is queued for.
    wakes: Vec<Option<Instant>>,
    requests: BTreeMap<RequestId, (usize, StreamId)>,
    /// Streams that were opened, by whom, and until when an answer is waited for.
    streams: BTreeMap<(usize, StreamId), Instant>,
    events: Vec<(Instant, usize, Event)>,
    notes: Vec<(usize, Note)>,
    digest: u64,
    steps: u64,
}

/// The address of a member.
pub fn address(number: usize) -> SocketAddr {
    let [_, _, high, low] = (number as u32).to_be_bytes();
    ([10, 0, high, low], 8301).into()
}

/// The configuration of a member.
pub fn config(number: usize) -> Config {
    let id = NodeId(1 + number as u128);
    Config::lan(&format!("m{number:05}"), id, address(number), "lan.dc1")
}

impl World {
    /// Nobody yet.
    pub fn new(weather: Weather) -> World {
        World {
            members: Vec::new(),
            down: BTreeSet::new(),
            now: Instant::START,
            weather,
            queue: BinaryHeap::new(),
            arrivals: BTreeMap::new(),
            next: 0,
            wakes: Vec::new(),
            requests: BTreeMap::new(),
            streams: BTreeMap::new(),
            events: Vec::new(),
            notes: Vec::new(),
            digest: 0xcbf2_9ce4_8422_2325,
            steps: 0,
        }
    }

    /// A pool of `count` that know each other already.
    pub fn settled(count: usize, weather: Weather) -> World {
        World::settled_as(count, weather, config)
    }

    /// The same with other configurations.
    pub fn settled_as(count: usize, weather: Weather, config: impl Fn(usize) -> Config) -> World {
        let mut world = World::new(weather);
        (0..count).for_each(|number| world.add(config(number)));
        let profiles: Vec<Arc<Profile>> = world.members.iter().map(|member| member.me().profile).collect();
        for number in 0..count {
            world.members[number].assume(Instant::START, &profiles);
            world.wake_later(number);
        }
        world
    }

    /// Adds a member that knows nobody.
    pub fn add(&mut self, config: Config) {
        let rng = StdRng::seed_from_u64(0x5eed ^ self.members.len() as u64);
        self.members.push(Gossip::new(self.now, config, rng));
        self.wakes.push(None);
    }

    /// A member's view.
    pub fn member(&self, number: usize) -> &Gossip {
        &self.members[number]
    }

    /// Members that were not killed.
    pub fn up(&self) -> impl Iterator<Item = usize> {
        (0..self.members.len()).filter(|number| !self.down.contains(number))
    }

    /// Ends a member without a word.
    pub fn kill(&mut self, number: usize) {
        self.down.insert(number);
    }

    /// Gives a member an input now.
    pub fn tell(&mut self, number: usize, input: Input) {
        self.step(number, input);
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(Reverse((at, _, _))) = self.queue.peek()
            && *at <= end
        {
            self.next_event();
        }
        self.now = end;
    }

    /// Lets time pass until the share of members for which `holds` is at least `share`; how long that took.
    pub fn run_until(&mut self, share: f64, time_max: Duration, holds: impl Fn(&Gossip) -> bool) -> Option<Duration> {
        const LOOK_EVERY: Duration = Duration::from_millis(20);
        let start = self.now;
        while self.now.saturating_since(start) < time_max {
            let up = self.up().count();
            let count = self.up().filter(|number| holds(&self.members[*number])).count();
            if count as f64 >= share * up as f64 {
                return Some(self.now.saturating_since(start));
            }
            self.run(LOOK_EVERY);
        }
        None
    }

    /// Living members that somebody gave up since `since`, and how many gave up any.
    pub fn falsely_failed(&self, since: Instant) -> (BTreeSet<usize>, usize) {
        let mut accused = BTreeSet::new();
        let mut opinions = 0;
        for (at, _, event) in &self.events {
            if let Event::MemberFailed(member) = event
                && *at >= since
            {
                let number = self.number_of(member.profile.address);
                if let Some(number) = number.filter(|number| !self.down.contains(number)) {
                    accused.insert(number);
                    opinions += 1;
                }
            }
        }
        (accused, opinions)
    }

    /// What one member takes another for.
    pub fn status(&self, of: usize, at: usize) -> Option<Status> {
        let profile = self.members[of].me().profile;
        self.members[at].member(&profile.name).map(|member| member.status)
    }

    /// What a member said since the start.
    pub fn events_of(&self, number: usize) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |(_, at, _)| *at == number).map(|(_, _, event)| event)
    }

    /// What members had to say to their operators.
    pub fn notes(&self) -> &[(usize, Note)] {
        &self.notes
    }

    /// Everything that happened, as one number, and how many inputs that were.
    pub fn digest(&self) -> (u64, u64) {
        (self.digest, self.steps)
    }

    fn next_event(&mut self) {
        let Some(Reverse((at, id, member))) = self.queue.pop() else { return };
        self.now = at;
        let Some(arrival) = self.arrivals.remove(&id) else { return };
        let is_stale = matches!(arrival, Arrival::Wake) && self.wakes[member] != Some(at);
        if self.down.contains(&member) || is_stale {
            return;
        }
        let awake = self.weather.awake(member, at);
        if awake > at {
            if matches!(arrival, Arrival::Wake) {
                self.wakes[member] = Some(awake);
            }
            return self.push(awake, member, arrival);
        }
        match arrival {
            Arrival::Wake => {
                self.wakes[member] = None;
                self.step(member, Input::Tick);
            }
            Arrival::Datagram { from, bytes } => self.step(member, Input::Datagram { from, bytes }),
            Arrival::Request { from, stream, bytes } => {
                let request = RequestId(id);
                self.requests.insert(request, (from, stream));
                let from = SocketAddr::new(address(from).ip(), 40_000);
                self.step(member, Input::StreamRequest { request, from, bytes });
            }
            Arrival::Answer { stream, bytes } => self.step(member, Input::StreamReply { stream, bytes }),
            Arrival::Failed { stream } => {
                self.step(member, Input::StreamFailed { stream, reason: "connection refused".to_owned() });
            }
        }
    }

    fn step(&mut self, number: usize, input: Input) {
        self.steps += 1;
        let outputs = self.members[number].step(self.now, input);
        self.note(number as u64, self.now.since_start().as_nanos() as u64);
        outputs.into_iter().for_each(|output| self.perform(number, output));
        self.wake_later(number);
    }

    fn perform(&mut self, number: usize, output: Output) {
        match output {
            Output::Datagram { to, bytes } => {
                self.note(1, bytes.len() as u64);
                let Some(to) = self.number_of(to) else { return };
                if !self.weather.loses(number, to) {
                    let from = self.members[number].me().profile.address;
                    self.send(to, Arrival::Datagram { from, bytes });
                }
            }
            Output::OpenStream { stream, to, bytes, timeout } => {
                self.note(2, bytes.len() as u64);
                match self.number_of(to).filter(|to| !self.down.contains(to) && self.weather.connects(number, *to)) {
                    Some(to) => {
                        self.streams.insert((number, stream), self.now + timeout);
                        let request = Arrival::Request { from: number, stream, bytes: body_of(&bytes) };
                        self.send_by_stream((number, stream), to, request, true);
                    }
                    None => self.send(number, Arrival::Failed { stream }),
                }
            }
            Output::Reply { request, bytes } => {
                if let Some((to, stream)) = self.requests.remove(&request) {
                    let answer = Arrival::Answer { stream, bytes: body_of(&bytes) };
                    self.send_by_stream((to, stream), to, answer, false);
                }
            }
            Output::Close { request } => {
                if let Some((to, stream)) = self.requests.remove(&request) {
                    self.streams.remove(&(to, stream));
                    self.send(to, Arrival::Failed { stream });
                }
            }
            Output::Event(event) => {
                self.note(3, self.events.len() as u64);
                self.events.push((self.now, number, event));
            }
            Output::Note(note) => self.notes.push((number, note)),
        }
    }

    fn send(&mut self, to: usize, arrival: Arrival) {
        let at = self.now + self.weather.latency(to);
        self.push(at, to, arrival);
    }

    /// Sends what a stream carries, unless whoever opened it has given it up by then.
    fn send_by_stream(&mut self, opened: (usize, StreamId), to: usize, arrival: Arrival, connects: bool) {
        let Some(deadline) = self.streams.get(&opened).copied() else { return };
        let at = self.now + self.weather.resent(connects) + self.weather.latency(to);
        let is_late = at > deadline;
        if is_late || !connects {
            self.streams.remove(&opened);
        }
        if is_late {
            let (opener, stream) = opened;
            return self.push(deadline, opener, Arrival::Failed { stream });
        }
        self.push(at, to, arrival);
    }

    fn push(&mut self, at: Instant, member: usize, arrival: Arrival) {
        self.next += 1;
        self.arrivals.insert(self.next, arrival);
        self.queue.push(Reverse((at, self.next, member)));
    }

    fn wake_later(&mut self, number: usize) {
        let due = self.members[number].deadline().map(|(at, _)| at.max(self.now));
        if due != self.wakes[number] {
            self.wakes[number] = due;
            if let Some(at) = due {
                self.push(at, number, Arrival::Wake);
            }
        }
    }

    fn number_of(&self, address: SocketAddr) -> Option<usize> {
        let SocketAddr::V4(address) = address else { return None };
        let [_, _, high, low] = address.ip().octets();
        let number = usize::from(u16::from_be_bytes([high, low]));
        (number < self.members.len()).then_some(number)
    }

    /// FNV-1a.
    fn note(&mut self, kind: u64, what: u64) {
        for word in [kind, what] {
            self.digest = (self.digest ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// A tag that tells one version of a member from another.
pub fn tagged(value: &str) -> Tags {
    Tags::new([("build".to_owned(), value.to_owned())].into()).expect("a short tag is within bounds")
}

/// What a loop reads of a frame.
fn body_of(frame: &[u8]) -> Vec<u8> {
    let (header, body) = frame.split_first_chunk::<FRAME_HEADER_BYTES>().expect("every frame has a header");
    assert_eq!(frame_length(*header, ANSWER_BYTES_MAX), Ok(body.len()));
    body.to_vec()
}
