//! The rules of the agent.
//!
//! Everything here is pure: no runtime, no sockets, no files, no clock, no
//! randomness. Stateful rules are machines that are handed the time and return
//! what should be done; the loops in `agent-daemon` do it.
//!
//! Start with [`state`] (what is replicated), then [`store`] (how readers see
//! it) and [`watch`] (how they wait for it to change).

pub mod autopilot;
pub mod coordinate;
pub mod dns;
pub mod duration;
pub mod filter;
pub mod gossip;
pub mod hcl;
pub mod health;
pub mod last_seen;
pub mod local;
pub mod plugin;
pub mod pressure;
pub mod reconcile;
pub mod server_list;
pub mod session_timer;
pub mod state;
pub mod store;
pub mod time;
pub mod tombstone_timer;
pub mod watch;

pub use time::Instant;
