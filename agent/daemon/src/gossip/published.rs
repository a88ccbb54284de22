//! A value that one publishes and many wait for.
//!
//! Owns the order in which they wake: first come, first served, so that two
//! runs of one simulation agree. Reading takes no lock and waits for nobody.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

/// The newest value. Clones share it.
pub(super) struct Published<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    value: ArcSwap<T>,
    changed: Notify,
}

impl<T> Clone for Published<T> {
    fn clone(&self) -> Self {
        Published { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Published<T> {
    pub fn new(value: T) -> Self {
        Published { shared: Arc::new(Shared { value: ArcSwap::from_pointee(value), changed: Notify::new() }) }
    }

    pub fn get(&self) -> Arc<T> {
        self.shared.value.load_full()
    }

    /// Publishes first and wakes afterwards: who wakes sees it.
    pub fn set(&self, value: T) {
        self.shared.value.store(Arc::new(value));
        self.shared.changed.notify_waiters();
    }

    /// The first value that `is_wanted`.
    pub async fn wait_for(&self, is_wanted: impl Fn(&T) -> bool) -> Arc<T> {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            let value = self.get();
            if is_wanted(&value) {
                return value;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_wake_in_the_order_in_which_they_came() {
        for _ in 0..20 {
            let published = Published::new(0);
            let (woken, mut order) = mpsc::channel(10);
            for number in 0..10 {
                let (published, woken) = (published.clone(), woken.clone());
                tokio::spawn(async move {
                    published.wait_for(|value| *value == 1).await;
                    woken.send(number).await.expect("the test reads them");
                });
            }
            tokio::task::yield_now().await;
            published.set(1);
            drop(woken);
            let mut woke = Vec::new();
            while let Some(number) = order.recv().await {
                woke.push(number);
            }
            assert_eq!(woke, Vec::from_iter(0..10));
        }
    }
}
