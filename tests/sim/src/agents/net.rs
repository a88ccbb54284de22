//! The network of a world of agents: who is there, which ways are cut, and what is on its way.
//!
//! One network carries everything, so that a cut hits gossip, Raft and requests
//! alike: datagrams are late, lost, repeated and overtake each other; bytes of
//! streams ([`super::streams`]) are late and in order, stand still on a cut way,
//! and break when that lasts. Owns no rule of what is carried.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::streams::{Connection, SimStream};
use crate::outside::SimRandom;
use crate::trace::Trace;

/// How long a connection attempt that nobody answers goes on, in microseconds.
const DIAL_US_MAX: u64 = 3_000_000;

/// How often what is held up by a cut way is tried again, in microseconds.
const RETRY_US: u64 = 100_000;

/// How much longer a piece of a stream takes that was lost and sent again, in microseconds.
const SENT_AGAIN_US: u64 = 200_000;

/// Where ports of clients begin.
const PORTS_FROM: u16 = 20_000;

/// How the network treats what it carries.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The shortest delay one way, in microseconds.
    pub delay_us_min: u64,
    /// The longest ordinary delay one way, in microseconds.
    pub delay_us_max: u64,
    /// How often, in a thousand, something takes 20 to 80 milliseconds instead.
    pub spikes: u64,
    /// How often, in a thousand, a datagram or a piece of a stream is lost.
    pub lost: u64,
    /// How often, in a thousand, a datagram arrives twice.
    pub twice: u64,
}

impl Weather {
    /// One rack.
    pub const CALM: Weather = Weather { delay_us_min: 100, delay_us_max: 1_000, spikes: 0, lost: 0, twice: 0 };
    /// A bad day.
    pub const ROUGH: Weather = Weather { delay_us_min: 300, delay_us_max: 8_000, spikes: 20, lost: 20, twice: 20 };
}

/// What arrives at a listener.
pub(super) type Arriving = (SimStream, SocketAddr);

/// A datagram and who sent it.
pub(super) type Letter = (Vec<u8>, SocketAddr);

/// Something that happens at its time.
enum Event {
    Letter {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Dial(Dial),
    /// The next piece of a stream towards this end.
    Piece {
        connection: u64,
        to: usize,
    },
    /// What is left of a process says that a connection is no more.
    Reset {
        connection: u64,
        to: usize,
    },
}

struct Dial {
    from: SocketAddr,
    to: SocketAddr,
    since: u64,
    answer: oneshot::Sender<io::Result<SimStream>>,
}

/// What is to be done once the lock is free: each may wake or drop something that comes back here.
#[derive(Default)]
pub(super) struct Effects {
    pub wake: Vec<Waker>,
    accept: Option<(mpsc::Sender<Arriving>, Arriving)>,
    answer: Option<(oneshot::Sender<io::Result<SimStream>>, io::Result<SimStream>)>,
    letter: Option<(mpsc::Sender<Letter>, Letter)>,
    over: Option<Connection>,
}

impl Effects {
    pub(super) fn perform(self) {
        let Effects { wake, accept, answer, letter, over } = self;
        if let Some((listener, stream)) = accept {
            // A full listener forgets who wants in, as a kernel does.
            let _ = listener.try_send(stream);
        }
        if let Some((answer, stream)) = answer {
            // Who has given up drops the stream.
            let _ = answer.send(stream);
        }
        if let Some((socket, letter)) = letter {
            // A full socket drops what comes.
            let _ = socket.try_send(letter);
        }
        wake.into_iter().for_each(Waker::wake);
        drop(over);
    }
}

/// The network of one world. Cheap to clone.
#[derive(Clone)]
pub struct Net {
    pub(super) clock: Clock,
    random: SimRandom,
    trace: Trace,
    inner: Arc<Mutex<Inner>>,
}

pub(super) struct Inner {
    weather: Weather,
    /// Ways that are cut, as (from, to).
    cut: BTreeSet<(IpAddr, IpAddr)>,
    /// Who is up, in which life.
    up: BTreeMap<IpAddr, u64>,
    events: BTreeMap<(u64, u64), Event>,
    numbers: u64,
    pub(super) listeners: BTreeMap<SocketAddr, mpsc::Sender<Arriving>>,
    pub(super) sockets: BTreeMap<SocketAddr, mpsc::Sender<Letter>>,
    pub(super) connections: BTreeMap<u64, Connection>,
}

impl Inner {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn at(&mut self, us: u64, event: Event) {
        let number = self.number();
        self.events.insert((us, number), event);
    }

    fn is_cut(&self, from: IpAddr, to: IpAddr) -> bool {
        self.cut.contains(&(from, to))
    }

    fn life(&self, host: IpAddr) -> Option<u64> {
        self.up.get(&host).copied()
    }
}

impl Net {
    /// A calm network with nobody on it.
    pub fn new(clock: &Clock, random: &SimRandom, trace: &Trace) -> Self {
        let inner = Inner {
            weather: Weather::CALM,
            cut: BTreeSet::new(),
            up: BTreeMap::new(),
            events: BTreeMap::new(),
            numbers: 0,
            listeners: BTreeMap::new(),
            sockets: BTreeMap::new(),
            connections: BTreeMap::new(),
        };
        let inner = Arc::new(Mutex::new(inner));
        Net { clock: clock.clone(), random: random.clone(), trace: trace.clone(), inner }
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the weather for everything that is sent from now on.
    pub fn set_weather(&self, weather: Weather) {
        self.inner().weather = weather;
    }

    /// Cuts the ways for which `is_cut` says so, and no others.
    pub fn cut(&self, hosts: &[IpAddr], is_cut: impl Fn(IpAddr, IpAddr) -> bool) {
        let pairs = hosts.iter().flat_map(|from| hosts.iter().map(move |to| (*from, *to)));
        self.inner().cut = pairs.filter(|(from, to)| from != to && is_cut(*from, *to)).collect();
    }

    /// Nothing is cut any more, and the weather is fine.
    pub fn heal(&self) {
        let mut inner = self.inner();
        inner.cut.clear();
        inner.weather = Weather::CALM;
    }

    /// A host is up.
    pub fn boot(&self, host: IpAddr) {
        let mut inner = self.inner();
        let life = inner.number();
        inner.up.insert(host, life);
    }

    /// A host is down. Its kernel resets its connections when only the process died; when the power failed, nobody
    /// says anything until the host is up again.
    pub fn crash(&self, host: IpAddr, power_failed: bool) {
        let late = self.delay();
        let mut inner = self.inner();
        inner.up.remove(&host);
        inner.listeners.retain(|address, _| address.ip() != host);
        inner.sockets.retain(|address, _| address.ip() != host);
        let mut resets = Vec::new();
        for (number, connection) in &mut inner.connections {
            for end in 0..2 {
                if connection.ends[end].host == host && !connection.ends[end].is_gone {
                    connection.ends[end].is_gone = true;
                    resets.push(Event::Reset { connection: *number, to: 1 - end });
                }
            }
        }
        if !power_failed {
            let at = self.clock.us() + late;
            resets.into_iter().for_each(|reset| inner.at(at, reset));
        }
    }

    fn delay(&self) -> u64 {
        let weather = self.inner().weather;
        match self.random.happens(weather.spikes) {
            true => 20_000 + self.random.below(60_000),
            false => weather.delay_us_min + self.random.below(weather.delay_us_max - weather.delay_us_min + 1),
        }
    }

    /// Does everything that is due.
    pub fn deliver(&self) {
        loop {
            let (event, number) = {
                let mut inner = self.inner();
                let Some(first) = inner.events.first_entry().filter(|first| first.key().0 <= self.clock.us()) else {
                    return;
                };
                let number = first.key().1;
                (first.remove(), number)
            };
            self.trace.count(self.clock.us() ^ (number << 40));
            match event {
                Event::Letter { from, to, bytes } => self.deliver_letter(from, to, bytes),
                Event::Dial(dial) => self.deliver_dial(dial),
                Event::Piece { connection, to } => self.deliver_piece(connection, to),
                Event::Reset { connection, to } => {
                    let effects = {
                        let mut inner = self.inner();
                        let way =
                            inner.connections.get(&connection).map(|open| (open.ends[1 - to].host, open.ends[to].host));
                        match way.filter(|(from, to)| !inner.is_cut(*from, *to)) {
                            Some(_) => end(&mut inner, connection),
                            None => Effects::default(),
                        }
                    };
                    effects.perform();
                }
            }
        }
    }

    /// Sends a datagram.
    pub(super) fn post(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.trace.count(bytes.len() as u64);
        let weather = self.inner().weather;
        let copies = match (self.random.happens(weather.lost), self.random.happens(weather.twice)) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        };
        for _ in 0..copies {
            let at = self.clock.us() + self.delay();
            self.inner().at(at, Event::Letter { from, to, bytes: bytes.to_vec() });
        }
    }

    fn deliver_letter(&self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let inner = self.inner();
        if inner.is_cut(from.ip(), to.ip()) {
            return;
        }
        let letter = inner.sockets.get(&to).cloned().map(|socket| (socket, (bytes, from)));
        drop(inner);
        Effects { letter, ..Effects::default() }.perform();
    }

    /// Opens a stream from a host.
    pub(super) fn dial(&self, from: IpAddr, to: SocketAddr) -> oneshot::Receiver<io::Result<SimStream>> {
        let (answer, answered) = oneshot::channel();
        let there_and_back = self.delay() + self.delay();
        let mut inner = self.inner();
        let port = PORTS_FROM + u16::try_from(inner.number() % 40_000).expect("below 40,000");
        let (since, from) = (self.clock.us(), SocketAddr::new(from, port));
        inner.at(since + there_and_back, Event::Dial(Dial { from, to, since, answer }));
        answered
    }

    fn deliver_dial(&self, dial: Dial) {
        if dial.answer.is_closed() {
            return;
        }
        let now = self.clock.us();
        let mut inner = self.inner();
        let (from, to) = (dial.from.ip(), dial.to.ip());
        let lives = inner.life(from).zip(inner.life(to));
        let Some((of_caller, of_called)) = lives.filter(|_| !inner.is_cut(from, to) && !inner.is_cut(to, from)) else {
            if now - dial.since < DIAL_US_MAX {
                inner.at(now + RETRY_US, Event::Dial(dial));
                return;
            }
            drop(inner);
            let answer = Some((dial.answer, Err(io::ErrorKind::TimedOut.into())));
            return Effects { answer, ..Effects::default() }.perform();
        };
        let Some(listener) = inner.listeners.get(&dial.to).filter(|listener| !listener.is_closed()).cloned() else {
            drop(inner);
            let answer = Some((dial.answer, Err(io::ErrorKind::ConnectionRefused.into())));
            return Effects { answer, ..Effects::default() }.perform();
        };
        let number = inner.number();
        let breaks_after = 1_000_000 + self.random.below(4_000_000);
        inner.connections.insert(number, Connection::new([(from, of_caller), (to, of_called)], breaks_after));
        drop(inner);
        let stream = |side| SimStream::new(self.clone(), number, side);
        let accept = Some((listener, (stream(1), dial.from)));
        Effects { accept, answer: Some((dial.answer, Ok(stream(0)))), ..Effects::default() }.perform();
    }

    /// When a piece that is sent now arrives, unless one before it is later.
    pub(super) fn piece_due(&self) -> u64 {
        let lost = self.inner().weather.lost;
        let again = if self.random.happens(lost) { SENT_AGAIN_US } else { 0 };
        self.clock.us() + self.delay() + again
    }

    pub(super) fn expect_piece(inner: &mut Inner, connection: u64, to: usize, at: u64) {
        inner.at(at, Event::Piece { connection, to });
    }

    fn deliver_piece(&self, connection: u64, to: usize) {
        let now = self.clock.us();
        let effects = {
            let mut inner = self.inner();
            let Some(open) = inner.connections.get(&connection) else { return };
            let (sender, receiver) = (&open.ends[1 - to], &open.ends[to]);
            let is_up = inner.life(receiver.host);
            if inner.is_cut(sender.host, receiver.host) || is_up.is_none() {
                let open = inner.connections.get_mut(&connection).expect("it was there");
                if open.is_stuck(to, now) {
                    end(&mut inner, connection)
                } else {
                    inner.at(now + RETRY_US, Event::Piece { connection, to });
                    Effects::default()
                }
            } else if is_up != Some(receiver.life) || receiver.is_gone && (sender.is_gone || !open.is_closing(to)) {
                end(&mut inner, connection)
            } else {
                let open = inner.connections.get_mut(&connection).expect("it was there");
                let (wake, next) = open.arrive(to, now);
                if let Some(at) = next {
                    inner.at(at.max(now), Event::Piece { connection, to });
                }
                Effects { wake: wake.into_iter().collect(), ..Effects::default() }
            }
        };
        effects.perform();
    }
}

/// Breaks a connection: both ends learn of it, and it is forgotten when both are gone.
pub(super) fn end(inner: &mut Inner, connection: u64) -> Effects {
    let Some(open) = inner.connections.get_mut(&connection) else { return Effects::default() };
    let wake = open.break_off();
    let is_over = open.ends.iter().all(|end| end.is_gone);
    let over = if is_over { inner.connections.remove(&connection) } else { None };
    Effects { wake, over, ..Effects::default() }
}
