//! When to compact: counts what the log has grown by and says when a snapshot pays.
//!
//! A snapshot is due once the log outgrows the last snapshot, and never for less
//! than four megabytes: so the disk holds a small multiple of the state, and a
//! snapshot is rewritten only after as much again was logged. A start that found
//! a long log to replay asks for one, too: the next start is quicker, and a
//! server that rests takes no more room than its state.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// Growth below which a snapshot is never worth its writes, in bytes.
const GROWTH_BYTES_MIN: u64 = 4 << 20;

/// The length of a log that a start replays without asking for a snapshot, in bytes.
const REPLAY_BYTES_MIN: u64 = 256 << 10;

/// How much the log has grown since the last snapshot began.
#[derive(Debug, Default)]
pub struct Meter {
    grown_bytes: AtomicU64,
    snapshot_bytes: AtomicU64,
    /// A start has replayed a long log.
    is_overdue: AtomicBool,
    due: Notify,
}

impl Meter {
    /// The log has grown.
    pub fn grown(&self, bytes: u64) {
        self.grown_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.is_due() {
            self.due.notify_one();
        }
    }

    /// Whether a snapshot is due.
    pub fn is_due(&self) -> bool {
        let limit = GROWTH_BYTES_MIN.max(self.snapshot_bytes.load(Ordering::Relaxed));
        self.grown_bytes.load(Ordering::Relaxed) > limit || self.is_overdue.load(Ordering::Relaxed)
    }

    /// Returns when a snapshot is due, or was a moment ago.
    pub async fn due(&self) {
        self.due.notified().await;
    }

    /// A snapshot begins: what to hand to [`Meter::finished`].
    pub fn begun(&self) -> u64 {
        self.grown_bytes.load(Ordering::Relaxed)
    }

    /// The snapshot that began at `begun` is stored.
    pub fn finished(&self, begun: u64, snapshot_bytes: u64) {
        self.snapshot_bytes.store(snapshot_bytes, Ordering::Relaxed);
        self.grown_bytes.fetch_sub(begun, Ordering::Relaxed);
        self.is_overdue.store(false, Ordering::Relaxed);
    }

    /// A log of this size was found at start, after the snapshot.
    pub fn found_log(&self, bytes: u64) {
        let long = REPLAY_BYTES_MIN.max(self.snapshot_bytes.load(Ordering::Relaxed) / 16);
        self.is_overdue.store(bytes > long, Ordering::Relaxed);
        self.grown(bytes);
    }

    /// A snapshot of this size was found at start.
    pub fn found(&self, snapshot_bytes: u64) {
        self.snapshot_bytes.store(snapshot_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_is_due_once_the_log_outgrew_four_megabytes_and_the_last_one() {
        let meter = Meter::default();
        meter.grown(GROWTH_BYTES_MIN);
        assert!(tokio::time::timeout(Duration::from_millis(1), meter.due()).await.is_err());

        meter.grown(1);
        meter.due().await;
        assert!(meter.is_due());

        let begun = meter.begun();
        meter.grown(10);
        meter.finished(begun, 2 * GROWTH_BYTES_MIN);
        meter.grown(2 * GROWTH_BYTES_MIN - 10);
        assert!(!meter.is_due(), "not as much as the snapshot yet");
        meter.grown(1);
        assert!(meter.is_due());
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_with_a_long_log_asks_for_a_snapshot_at_once() {
        for (snapshot, log, asks) in [(0, 1000, false), (0, 300 << 10, true), (64 << 20, 1 << 20, false)] {
            let meter = Meter::default();
            meter.found(snapshot);

            meter.found_log(log);

            assert_eq!(meter.is_due(), asks, "a log of {log} bytes after a snapshot of {snapshot}");
            meter.finished(meter.begun(), snapshot);
            assert!(!meter.is_due());
        }
    }
}
