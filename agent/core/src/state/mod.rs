//! The replicated state machine: what every server agrees on.
//!
//! [`tables`] is the schema, [`command`] all that may change it, [`apply`] how.
//! The other files hold one family each: its rules (called by `apply`) and its
//! queries (called by the API). A [`State`] is a set of persistent maps, so a
//! clone is a snapshot that costs nothing and never changes.
//!
//! Never reads a clock, configuration or randomness: whatever servers must
//! agree on travels inside the [`command::Proposal`].

pub mod apply;
mod autopilot;
pub mod catalog;
pub mod command;
pub mod invariants;
pub mod keys;
pub mod kv;
pub mod plugin;
pub mod session;
pub mod snapshot;
pub mod stored;
pub mod tables;
pub mod txn;
mod write;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod trial;

pub use apply::apply;
pub use command::{Applied, Command, Proposal, Refusal, Reply};
pub use stored::DecodeError;
pub use tables::State;

/// What a query found and the index a client may wait from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// The last change that could have altered the value; never zero, never going back.
    pub index: tables::Index,
    /// What was found.
    pub value: T,
}
