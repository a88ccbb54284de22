//! What happened, in order, as one number: two runs of a seed must agree on it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lines kept for the report of a failure.
const TAIL_LINES: usize = 200;

/// The trace of one simulation. Cheap to clone.
#[derive(Clone)]
pub struct Trace {
    started: tokio::time::Instant,
    inner: Arc<Mutex<Inner>>,
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
        let inner = Inner { hash: 0xcbf2_9ce4_8422_2325, ..Inner::default() };
        Trace { started: tokio::time::Instant::now(), inner: Arc::new(Mutex::new(inner)) }
    }

    /// Adds what happened, with the virtual time.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        let line = format!("{:>12} µs  {what}", self.started.elapsed().as_micros());
        let mut inner = self.inner();
        // FNV-1a: small, and the same everywhere.
        for byte in line.bytes().chain([b'\n']) {
            inner.hash = (inner.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        inner.lines += 1;
        if inner.tail.len() == TAIL_LINES {
            inner.tail.pop_front();
        }
        inner.tail.push_back(line);
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

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}
