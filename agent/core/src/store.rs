//! The published state: one writer, any number of readers that never block.
//!
//! The writer (Raft's apply) publishes a new [`State`] and what it touched;
//! readers take a snapshot and may wait for topics. The order is fixed:
//! publish, then wake, so a woken reader always sees the change. A reader
//! registers its [`Watch`] before it takes its snapshot, so that no change
//! falls between the two:
//!
//! ```text
//! let mut watch = store.watch(&topics);
//! loop {
//!     let answer = query(&store.snapshot());
//!     if answer.index > seen { return answer }
//!     (&mut watch).await;          // still registered: what happens meanwhile is remembered
//! }
//! ```

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use arc_swap::ArcSwap;

use crate::state::State;
use crate::watch::{Ticket, Topic, Watches};

/// The state as readers see it, and those who wait for it to change.
pub struct Store {
    state: ArcSwap<State>,
    waiting: Arc<Mutex<Waiting>>,
}

impl Store {
    /// A store that starts from `state`.
    pub fn new(state: State) -> Self {
        Store { state: ArcSwap::from_pointee(state), waiting: Arc::default() }
    }

    /// The latest published state. Holding it costs memory only for what changes meanwhile.
    pub fn snapshot(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Asks the latest published state. Cheaper than a snapshot, since it counts nothing that others count too; `ask`
    /// must be short.
    pub fn read<T>(&self, ask: impl FnOnce(&State) -> T) -> T {
        ask(&self.state.load())
    }

    /// Makes `state` the latest and wakes those who wait for `changes`, in the order they began to wait.
    pub fn publish(&self, state: State, changes: &[Topic]) {
        self.state.store(Arc::new(state));
        let due = lock(&self.waiting).fire(changes);
        wake(due);
    }

    /// Makes `state` the latest and wakes everyone: what changed is not known (a snapshot was installed).
    pub fn replace(&self, state: State) {
        self.state.store(Arc::new(state));
        let due = lock(&self.waiting).fire_all();
        wake(due);
    }

    /// Waits for any of `topics` to be touched, from this call on.
    pub fn watch(&self, topics: &[Topic]) -> Watch {
        let ticket = lock(&self.waiting).register(topics);
        Watch { waiting: self.waiting.clone(), topics: topics.into(), ticket }
    }
}

/// Resolves when a topic was touched since it was made or last resolved.
///
/// May be awaited again after it resolved (`(&mut watch).await`): it stays
/// registered until dropped, and remembers what happens while nobody awaits it.
pub struct Watch {
    waiting: Arc<Mutex<Waiting>>,
    topics: Box<[Topic]>,
    ticket: Ticket,
}

impl Future for Watch {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        lock(&self.waiting).poll(self.ticket, context.waker())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let waiter = lock(&self.waiting).deregister(self.ticket, &self.topics);
        // A waker may run code of its own when dropped: not under the lock.
        drop(waiter);
    }
}

/// Everyone who waits.
#[derive(Default)]
struct Waiting {
    watches: Watches,
    waiters: BTreeMap<Ticket, Waiter>,
}

/// One who waits.
#[derive(Default)]
struct Waiter {
    due: bool,
    waker: Option<Waker>,
}

impl Waiting {
    fn register(&mut self, topics: &[Topic]) -> Ticket {
        let ticket = self.watches.subscribe(topics);
        self.waiters.insert(ticket, Waiter::default());
        ticket
    }

    fn deregister(&mut self, ticket: Ticket, topics: &[Topic]) -> Option<Waiter> {
        self.watches.cancel(ticket, topics);
        self.waiters.remove(&ticket)
    }

    fn fire(&mut self, changes: &[Topic]) -> Vec<Waker> {
        if self.watches.is_empty() {
            return Vec::new();
        }
        let due = self.watches.touched(changes);
        due.iter().filter_map(|ticket| self.waiters.get_mut(ticket)?.fire()).collect()
    }

    fn fire_all(&mut self) -> Vec<Waker> {
        self.waiters.values_mut().filter_map(Waiter::fire).collect()
    }

    fn poll(&mut self, ticket: Ticket, waker: &Waker) -> Poll<()> {
        let waiter = self.waiters.entry(ticket).or_default();
        if std::mem::take(&mut waiter.due) {
            return Poll::Ready(());
        }
        match &mut waiter.waker {
            Some(known) => known.clone_from(waker),
            None => waiter.waker = Some(waker.clone()),
        }
        Poll::Pending
    }
}

impl Waiter {
    fn fire(&mut self) -> Option<Waker> {
        self.due = true;
        self.waker.take()
    }
}

fn wake(due: Vec<Waker>) {
    for waker in due {
        waker.wake();
    }
}

/// Every change of `Waiting` is complete in itself, so a panic elsewhere leaves it usable.
fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
