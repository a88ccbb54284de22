//! What this agent registered: its services, its checks and their latest results.
//!
//! [`Local`] is the machine that owns them. It runs the schedule of checks
//! ([`crate::health`]), judges their results, and keeps the catalog's records
//! of this node equal to its own ([`anti_entropy`]). Readers get a [`LocalView`].
//! Never runs a probe, writes a file or talks to a server: it says what should
//! be done as [`Output`]s, and the daemon's `sync.rs` does it.

pub mod anti_entropy;
mod input;
mod machine;
mod view;

pub use input::{Definitions, Input, LogLine, Output, Persisted, Record, Refusal, RunId, SyncId, SyncResult, TtlState};
pub use machine::{Local, ScriptPolicy, Settings};
pub use view::{LocalCheck, LocalService, LocalView, Source};

/// The id of the check that stands for maintenance of the whole node.
pub const NODE_MAINTENANCE_ID: &str = "_node_maintenance";

/// What the id of a check that stands for maintenance of a service begins with; the service's id follows.
pub const SERVICE_MAINTENANCE_PREFIX: &str = "_service_maintenance:";
