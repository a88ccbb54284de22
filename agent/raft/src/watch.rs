//! A watch channel that wakes its waiters first come, first served.
//!
//! Owns the latest value and the queue of those who wait for the next one.
//! Tokio's own watch picks the waking order at random, which would make two
//! runs of one seed differ. Never blocks longer than a copy of the value takes.

use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context, Poll, Waker};

use openraft::async_runtime::watch::{RecvError, SendError, Watch, WatchReceiver, WatchSender};
use openraft::{OptionalSend, OptionalSync};

/// The channel family.
#[derive(Debug)]
pub struct FifoWatch;

struct Shared<T> {
    value: RwLock<T>,
    waiters: Mutex<Waiters>,
}

struct Waiters {
    version: u64,
    senders: usize,
    receivers: usize,
    next_ticket: u64,
    queue: VecDeque<(u64, Waker)>,
}

impl<T> Shared<T> {
    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value, then wakes the queue in order if `modify` says that it did.
    fn modify(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let changed = modify(&mut self.value.write().unwrap_or_else(PoisonError::into_inner));
        if changed {
            let mut waiters = self.waiters();
            waiters.version += 1;
            let queue = mem::take(&mut waiters.queue);
            drop(waiters);
            queue.into_iter().for_each(|(_, waker)| waker.wake());
        }
        changed
    }
}

/// The sending half; clones share the channel.
pub struct FifoSender<T>(Arc<Shared<T>>);

/// The receiving half; a clone has seen what the original has.
pub struct FifoReceiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// A borrowed value. Holds off senders: keep it short.
pub struct FifoRef<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Deref for FifoRef<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl Watch for FifoWatch {
    type Sender<T: OptionalSend + OptionalSync> = FifoSender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = FifoReceiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = FifoRef<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (FifoSender<T>, FifoReceiver<T>) {
        let waiters = Waiters { version: 0, senders: 1, receivers: 1, next_ticket: 0, queue: VecDeque::new() };
        let shared = Arc::new(Shared { value: RwLock::new(init), waiters: Mutex::new(waiters) });
        (FifoSender(shared.clone()), FifoReceiver { shared, seen: 0 })
    }
}

impl<T> Clone for FifoSender<T> {
    fn clone(&self) -> Self {
        self.0.waiters().senders += 1;
        FifoSender(self.0.clone())
    }
}

impl<T> Drop for FifoSender<T> {
    fn drop(&mut self) {
        let mut waiters = self.0.waiters();
        waiters.senders -= 1;
        if waiters.senders == 0 {
            let queue = mem::take(&mut waiters.queue);
            drop(waiters);
            queue.into_iter().for_each(|(_, waker)| waker.wake());
        }
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<FifoWatch, T> for FifoSender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.waiters().receivers == 0 {
            return Err(SendError(value));
        }
        self.0.modify(|current| {
            *current = value;
            true
        });
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        self.0.modify(modify)
    }

    fn borrow_watched(&self) -> FifoRef<'_, T> {
        FifoRef(self.0.read())
    }

    fn subscribe(&self) -> FifoReceiver<T> {
        let mut waiters = self.0.waiters();
        waiters.receivers += 1;
        FifoReceiver { shared: self.0.clone(), seen: waiters.version }
    }
}

impl<T> Clone for FifoReceiver<T> {
    fn clone(&self) -> Self {
        self.shared.waiters().receivers += 1;
        FifoReceiver { shared: self.shared.clone(), seen: self.seen }
    }
}

impl<T> Drop for FifoReceiver<T> {
    fn drop(&mut self) {
        self.shared.waiters().receivers -= 1;
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<FifoWatch, T> for FifoReceiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        Changed { receiver: self, ticket: None }.await
    }

    fn borrow_watched(&self) -> FifoRef<'_, T> {
        FifoRef(self.shared.read())
    }

    fn borrow_and_update(&mut self) -> FifoRef<'_, T> {
        // The version is read before the value: a send in between is then seen twice, never missed.
        self.seen = self.shared.waiters().version;
        FifoRef(self.shared.read())
    }
}

/// Waits in the queue; leaves it when dropped.
struct Changed<'a, T> {
    receiver: &'a mut FifoReceiver<T>,
    ticket: Option<u64>,
}

impl<T> Future for Changed<'_, T> {
    type Output = Result<(), RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut waiters = this.receiver.shared.waiters();
        // A value nobody has seen yet wins over a closed channel.
        if waiters.version != this.receiver.seen {
            this.receiver.seen = waiters.version;
            return Poll::Ready(Ok(()));
        }
        if waiters.senders == 0 {
            return Poll::Ready(Err(RecvError(())));
        }
        let place = this.ticket.and_then(|ticket| waiters.queue.iter_mut().find(|(id, _)| *id == ticket));
        match place {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => {
                let ticket = waiters.next_ticket;
                waiters.next_ticket += 1;
                waiters.queue.push_back((ticket, context.waker().clone()));
                this.ticket = Some(ticket);
            }
        }
        Poll::Pending
    }
}

impl<T> Drop for Changed<'_, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.receiver.shared.waiters().queue.retain(|(id, _)| *id != ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn waiters_wake_in_the_order_they_came() {
        let (sender, receiver) = FifoWatch::channel(0);
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let (mut receiver, order) = (receiver.clone(), order.clone());
                tokio::spawn(async move {
                    receiver.changed().await.unwrap();
                    order.lock().unwrap().push(number);
                })
            })
            .collect();
        tokio::task::yield_now().await;

        sender.send(1).unwrap();

        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn an_unseen_value_wins_over_a_closed_channel() {
        let (sender, mut receiver) = FifoWatch::channel(0);
        sender.send(1).unwrap();
        drop(sender);

        assert!(receiver.changed().await.is_ok());
        assert_eq!(*receiver.borrow_watched(), 1);
        assert!(receiver.changed().await.is_err());
    }

    #[tokio::test]
    async fn a_dropped_wait_leaves_the_queue() {
        let (sender, mut receiver) = FifoWatch::channel(0);
        {
            let mut changed = std::pin::pin!(receiver.changed());
            assert!(std::future::poll_fn(|context| Poll::Ready(changed.as_mut().poll(context).is_pending())).await);
        }

        assert!(sender.0.waiters().queue.is_empty());
    }

    #[test]
    fn sending_without_receivers_gives_the_value_back() {
        let (sender, receiver) = FifoWatch::channel(0);
        drop(receiver);

        assert_eq!(sender.send(5).unwrap_err().0, 5);
    }
}
