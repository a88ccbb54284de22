//! What happened, in order, as one number: two runs of a seed must agree on it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::agents::clock::Clock;

/// Lines kept for the report of a failure.
const TAIL_LINES: usize = 200;

/// The trace of one simulation. Cheap to clone.
#[derive(Clone)]
pub struct Trace {
    time: Time,
    inner: Arc<Mutex<Inner>>,
}

/// Whose time it shows.
#[derive(Clone)]
enum Time {
    Runtime(tokio::time::Instant),
    World(Clock),
}

#[derive(Default)]
struct Inner {
    hash: u64,
    lines: u64,
    tail: std::collections::VecDeque<String>,
}

impl Trace {
    /// An empty trace that counts time from now.
    pub fn new() -> Self {
        Self::with(Time::Runtime(tokio::time::Instant::now()))
    }

    /// An empty trace of a world that has its own time.
    pub fn of_world(clock: &Clock) -> Self {
        Self::with(Time::World(clock.clone()))
    }

    fn with(time: Time) -> Self {
        let inner = Inner { hash: 0xcbf2_9ce4_8422_2325, ..Inner::default() };
        Trace { time, inner: Arc::new(Mutex::new(inner)) }
    }

    /// Adds what happened, with the virtual time.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        let us = match &self.time {
            Time::Runtime(started) => started.elapsed().as_micros(),
            Time::World(clock) => u128::from(clock.us()),
        };
        let line = format!("{us:>12} µs  {what}");
        let mut inner = self.inner();
        inner.add(line.bytes().chain([b'\n']));
        inner.lines += 1;
        if inner.tail.len() == TAIL_LINES {
            inner.tail.pop_front();
        }
        inner.tail.push_back(line);
    }

    /// Adds something that happens too often for a line.
    pub fn count(&self, what: u64) {
        self.inner().add(what.to_le_bytes());
    }

    /// The trace as one number, and how many lines it has.
    pub fn digest(&self) -> (u64, u64) {
        let inner = self.inner();
        (inner.hash, inner.lines)
    }

    /// The last lines, for the report of a failure.
    pub fn tail(&self) -> String {
        self.inner().tail.iter().map(|line| format!("{line}\n")).collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// FNV-1a: small, and the same everywhere.
    fn add(&mut self, bytes: impl IntoIterator<Item = u8>) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}
