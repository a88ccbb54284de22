//! One command being applied: the state it changes and what it has touched so far.
//!
//! The rules in [`super::kv`], [`super::catalog`], [`super::session`] and
//! [`super::txn`] are methods of [`Write`]. Every change of a record goes
//! through a `mark_` function of its family, so that indexes and topics cannot
//! be forgotten separately.

use std::collections::BTreeSet;

use super::tables::{Index, State, UnixMs};
use crate::watch::Topic;

/// A command at work on a state.
pub(super) struct Write<'a> {
    /// What it changes.
    pub state: &'a mut State,
    /// The log index it is applied at.
    pub index: Index,
    /// The proposer's wall time.
    pub now_ms: UnixMs,
    /// What it has touched.
    pub touched: BTreeSet<Topic>,
}

impl<'a> Write<'a> {
    /// A write that has changed nothing yet.
    pub fn new(state: &'a mut State, index: Index, now_ms: UnixMs) -> Self {
        Write { state, index, now_ms, touched: BTreeSet::new() }
    }

    /// Runs `rules` on a draft of the state and keeps what they did only if they succeed.
    pub fn all_or_nothing<T, E>(&mut self, rules: impl FnOnce(&mut Write<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut draft = self.state.clone();
        let mut write = Write::new(&mut draft, self.index, self.now_ms);
        let done = rules(&mut write)?;
        let touched = write.touched;
        *self.state = draft;
        self.touched.extend(touched);
        Ok(done)
    }
}
