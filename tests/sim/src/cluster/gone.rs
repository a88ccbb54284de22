//! The end of one life of a server, for everyone who waits inside it.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Says once that a server is gone. Wakes in the order of waiting, so that a seed repeats.
#[derive(Default)]
pub struct Gone {
    said: AtomicBool,
    notify: Notify,
}

impl Gone {
    /// The server is gone.
    pub fn say(&self) {
        self.said.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    /// Runs `work` inside the server's life: `None` when that ended first.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut notified = std::pin::pin!(self.notify.notified());
        notified.as_mut().enable();
        if self.said.load(Ordering::Acquire) {
            return None;
        }
        tokio::select! {
            biased;
            () = notified => None,
            answer = work => Some(answer),
        }
    }
}
