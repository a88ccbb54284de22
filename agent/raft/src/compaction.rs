//! When to compact: counts what the log has grown by and says when a snapshot pays.
//!
//! A snapshot is due once the log outgrows twice the last snapshot, and never
//! for less than four megabytes: so the file stays within a small multiple of
//! the state, and a snapshot is rewritten only after as much again was logged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// Growth below which a snapshot is never worth its writes, in bytes.
const GROWTH_BYTES_MIN: u64 = 4 << 20;

/// How much the log has grown since the last snapshot began.
#[derive(Debug, Default)]
pub struct Meter {
    grown_bytes: AtomicU64,
    snapshot_bytes: AtomicU64,
    asked: AtomicBool,
    due: Notify,
}

impl Meter {
    /// The log has grown.
    pub fn grown(&self, bytes: u64) {
        let grown = self.grown_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let limit = GROWTH_BYTES_MIN.max(2 * self.snapshot_bytes.load(Ordering::Relaxed));
        if grown > limit && !self.asked.swap(true, Ordering::Relaxed) {
            self.due.notify_one();
        }
    }

    /// Returns when a snapshot is due; once for each.
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
        self.asked.store(false, Ordering::Relaxed);
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

    async fn is_due(meter: &Meter) -> bool {
        tokio::time::timeout(Duration::from_millis(1), meter.due()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_is_due_once_for_each_limit_outgrown() {
        let meter = Meter::default();
        meter.grown(GROWTH_BYTES_MIN);
        assert!(!is_due(&meter).await);

        meter.grown(1);
        assert!(is_due(&meter).await);
        meter.grown(GROWTH_BYTES_MIN);
        assert!(!is_due(&meter).await, "asked already");

        let begun = meter.begun();
        meter.grown(10);
        meter.finished(begun, GROWTH_BYTES_MIN);
        meter.grown(2 * GROWTH_BYTES_MIN - 10);
        assert!(!is_due(&meter).await, "not twice the snapshot yet");
        meter.grown(1);
        assert!(is_due(&meter).await);
    }
}
