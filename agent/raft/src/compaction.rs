//! When to compact: counts what the log has grown by and says when a snapshot pays.
//!
//! A snapshot is due once the log outgrows twice the last snapshot, and never
//! for less than four megabytes: so the file stays within a small multiple of
//! the state, and a snapshot is rewritten only after as much again was logged.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Growth below which a snapshot is never worth its writes, in bytes.
const GROWTH_BYTES_MIN: u64 = 4 << 20;

/// How much the log has grown since the last snapshot began.
#[derive(Debug, Default)]
pub struct Meter {
    grown_bytes: AtomicU64,
    snapshot_bytes: AtomicU64,
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
        let limit = GROWTH_BYTES_MIN.max(2 * self.snapshot_bytes.load(Ordering::Relaxed));
        self.grown_bytes.load(Ordering::Relaxed) > limit
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
    async fn a_snapshot_is_due_once_the_log_outgrew_four_megabytes_and_twice_the_last_one() {
        let meter = Meter::default();
        meter.grown(GROWTH_BYTES_MIN);
        assert!(tokio::time::timeout(Duration::from_millis(1), meter.due()).await.is_err());

        meter.grown(1);
        meter.due().await;
        assert!(meter.is_due());

        let begun = meter.begun();
        meter.grown(10);
        meter.finished(begun, GROWTH_BYTES_MIN);
        meter.grown(2 * GROWTH_BYTES_MIN - 10);
        assert!(!meter.is_due(), "not twice the snapshot yet");
        meter.grown(1);
        assert!(meter.is_due());
    }
}
