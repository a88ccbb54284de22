//! The replicated log of the servers: openraft over redb, behind one handle.
//!
//! [`Consensus`] is all that the daemon sees. openraft's types stay inside this
//! crate, so that an upgrade of it touches nothing else.

pub mod consensus;

pub use consensus::{Consensus, Leadership, ReadError, ReadMode, Server, Stats, WriteError};
