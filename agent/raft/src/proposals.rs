//! The proposals of a leader that are under way: counted, and held off while leadership is handed over.
//!
//! Costs a write two atomic additions. Knows nothing of Raft.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Added to the count for everyone who keeps new proposals out. More than there can be requests.
const CLOSED: usize = 1 << 24;

/// Who is under way, and whether others may set out.
#[derive(Debug, Default)]
pub(crate) struct Proposals {
    /// The number under way, and [`CLOSED`] for each that closed.
    count: AtomicUsize,
    finished: Notify,
}

/// One proposal that is under way, until this is dropped.
pub(crate) struct UnderWay<'a>(&'a Proposals);

/// No proposal sets out until this is dropped.
pub(crate) struct Closed<'a>(&'a Proposals);

impl Proposals {
    /// Sets out; `None` when that is not allowed now, and nothing may be proposed.
    pub(crate) fn begin(&self) -> Option<UnderWay<'_>> {
        let before = self.count.fetch_add(1, Ordering::AcqRel);
        let under_way = UnderWay(self);
        (before < CLOSED).then_some(under_way)
    }

    /// Lets no proposal set out from now on.
    pub(crate) fn close(&self) -> Closed<'_> {
        self.count.fetch_add(CLOSED, Ordering::AcqRel);
        Closed(self)
    }

    /// Resolves when none is under way. Call while they are closed.
    pub(crate) async fn finished(&self) {
        loop {
            let finished = self.finished.notified();
            if self.count.load(Ordering::Acquire).is_multiple_of(CLOSED) {
                return;
            }
            finished.await;
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let left = self.0.count.fetch_sub(1, Ordering::AcqRel) - 1;
        if left > 0 && left.is_multiple_of(CLOSED) {
            self.0.finished.notify_waiters();
        }
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(CLOSED, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_closes_waits_for_those_under_way_and_for_nobody_else() {
        let proposals = Proposals::default();
        let under_way = proposals.begin().expect("it is open");
        let closed = proposals.close();
        assert!(proposals.begin().is_none());

        let started = tokio::time::Instant::now();
        let ends = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            drop(under_way);
        };
        tokio::join!(proposals.finished(), ends);
        assert_eq!(started.elapsed().as_secs(), 2);

        drop(closed);
        assert!(proposals.begin().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_under_way_is_finished_at_once() {
        let proposals = Proposals::default();
        let (_one, _two) = (proposals.close(), proposals.close());
        proposals.finished().await;
        assert!(proposals.begin().is_none());
    }
}
