//! What happens to messages on their way, and to hosts that are slow.

use std::collections::BTreeSet;
use std::time::Duration;

use agent_core::Instant;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Longer than any stream of a pool may take.
const TCP_GIVES_UP: Duration = Duration::from_secs(60);

/// How a network and its hosts behave. The default is a good one.
#[derive(Debug)]
pub struct Weather {
    /// What decides.
    pub rng: StdRng,
    /// The share of packets that are lost: datagrams for good, those of streams until they are sent again.
    pub loss: f64,
    /// The time a message takes at least.
    pub latency_min: Duration,
    /// The time a message takes at most.
    pub latency_max: Duration,
    /// Members whose datagrams are lost, both ways.
    pub blocked: BTreeSet<usize>,
    /// Members below this number and those from it on cannot reach each other at all.
    pub split: Option<usize>,
    /// Members that hear everything late, while their own timers run on time.
    pub late: BTreeSet<usize>,
    /// How late.
    pub lag: Duration,
    /// Members on hosts that stand still most of the time.
    pub slow: BTreeSet<usize>,
    /// How long a slow host stands still, again and again.
    pub stall: Duration,
    /// How long it runs in between.
    pub run: Duration,
}

impl Weather {
    /// Good weather: 0.2 to 1 ms, nothing lost, nobody slow.
    pub fn good(seed: u64) -> Weather {
        Weather {
            rng: StdRng::seed_from_u64(seed),
            loss: 0.0,
            latency_min: Duration::from_micros(200),
            latency_max: Duration::from_millis(1),
            blocked: BTreeSet::new(),
            split: None,
            late: BTreeSet::new(),
            lag: Duration::from_secs(2),
            slow: BTreeSet::new(),
            stall: Duration::from_secs(3),
            run: Duration::from_millis(300),
        }
    }

    /// Whether a datagram from one member to another is lost.
    pub fn loses(&mut self, from: usize, to: usize) -> bool {
        let is_unlucky = self.loss > 0.0 && self.rng.random::<f64>() < self.loss;
        is_unlucky || !self.connects(from, to) || self.blocked.contains(&from) || self.blocked.contains(&to)
    }

    /// How much longer a stream takes to carry a message because packets are lost; with `connects`, to be opened first.
    ///
    /// TCP's way: a lost SYN is sent again after one second, data after 200 ms, each time after twice as long.
    pub fn resent(&mut self, connects: bool) -> Duration {
        const SYN: Duration = Duration::from_secs(1);
        const DATA: Duration = Duration::from_millis(200);
        // There and back again to connect; that data arrived is not waited for.
        let opened = if connects { self.tries(SYN, 2) } else { Duration::ZERO };
        opened + self.tries(DATA, 1)
    }

    /// How long it takes until as many packets in a row as are needed come through.
    fn tries(&mut self, first: Duration, packets: i32) -> Duration {
        let (mut waited, mut wait) = (Duration::ZERO, first);
        while self.loss > 0.0 && waited < TCP_GIVES_UP && self.rng.random::<f64>() >= (1.0 - self.loss).powi(packets) {
            waited += wait;
            wait *= 2;
        }
        waited
    }

    /// Whether one member can reach another at all.
    pub fn connects(&self, from: usize, to: usize) -> bool {
        self.split.is_none_or(|at| (from < at) == (to < at))
    }

    /// How long a message to this member takes.
    pub fn latency(&mut self, to: usize) -> Duration {
        let (min, max) = (self.latency_min.as_nanos() as u64, self.latency_max.as_nanos() as u64);
        let lag = if self.late.contains(&to) { self.lag } else { Duration::ZERO };
        lag + Duration::from_nanos(self.rng.random_range(min..=max))
    }

    /// When a member is next able to do something: now, or when its host runs again.
    pub fn awake(&self, member: usize, now: Instant) -> Instant {
        if !self.slow.contains(&member) {
            return now;
        }
        // Slow hosts do not stand still together.
        let phase = Duration::from_millis(137 * member as u64);
        let cycle = self.stall + self.run;
        let into = (now.since_start() + phase).as_nanos() % cycle.as_nanos();
        let into = Duration::from_nanos(into as u64);
        if into < self.stall { now + (self.stall - into) } else { now }
    }
}
