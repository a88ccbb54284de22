//! The replicated log of the servers: openraft over redb, behind one handle.
//!
//! [`Consensus`] is all that the daemon sees. openraft's types stay inside this
//! crate, so that an upgrade of it touches nothing else.
//!
//! ```text
//! Consensus::write -> openraft -> log (ring) -> disk: one thread, one sync for all that waits
//!                         |
//!                         +-> machine: agent_core::state::apply -> Store::publish -> answer
//! ```

mod compaction;
pub mod consensus;
pub mod disk;
mod log;
mod machine;
pub mod members;
pub mod network;
mod proposals;
mod reads;
mod record;
pub mod recover;
mod rounds;
pub mod runtime;
mod serve;
mod snapshot;
pub mod start;
mod types;
mod watch;
pub mod wire;

pub use consensus::{Consensus, Leadership, ReadError, ReadMode, Server, Stats, WriteError};
pub use members::{Change, ChangeError, Follower};
pub use network::{Answering, Transport, TransportError};
pub use start::{Config, StartError, Timing};
pub use wire::{Refused, Rpc};
