//! What this agent registered: its services, its checks and their latest results.
//!
//! [`Local`] is the machine that owns them. It runs the schedule of checks
//! ([`crate::health`]), judges their results, and keeps the catalog's records
//! of this node equal to its own ([`anti_entropy`]). Readers get a [`LocalView`].
//! Never runs a probe, writes a file or talks to a server: it says what should
//! be done as [`Output`]s, and the daemon's `sync.rs` does it.
//!
//! One file per duty: `register` (definitions), `results` (what probes and
//! clients say), `mirror` (alias checks), `settle` (what is due, and syncing).

pub mod anti_entropy;
mod cadence;
mod input;
mod machine;
mod mirror;
mod register;
mod results;
mod settle;
#[cfg(test)]
mod tests;
mod timers;
mod view;

pub use input::{
    Definitions, Input, LogLine, Output, Persisted, Plugins, Record, Refusal, RunId, SyncId, SyncResult, TtlState,
    Weight,
};
pub use machine::{Local, ScriptPolicy, Settings};
pub use view::{LocalCheck, LocalService, LocalView, Source};

/// The id of the check that stands for maintenance of the whole node.
pub const NODE_MAINTENANCE_ID: &str = "_node_maintenance";

/// What the id of a check that stands for maintenance of a service begins with; the service's id follows.
pub const SERVICE_MAINTENANCE_PREFIX: &str = "_service_maintenance:";

/// The most services one agent may register.
pub const SERVICES_MAX: usize = 16_384;

/// The most checks one agent may register.
pub const CHECKS_MAX: usize = 65_536;
