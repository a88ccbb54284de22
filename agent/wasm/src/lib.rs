//! The host of plugins: WASI 0.2 components of the worlds in `wit/`, health checks and template renderers.
//!
//! [`Host`] owns the engine, [`Plugin`] is a loaded component, each run of it gets a fresh store, what [`Grants`] names and what [`Limits`]
//! allows, and ends in a value: nothing a plugin does ends the process or holds a thread for longer than a tick. The crate knows no
//! configuration, no schedule and no catalog; those come as arguments. Start with `host.rs`, then `run.rs`.

mod bindings;
pub mod catalog;
mod compiled;
mod description;
mod engine;
mod error;
mod failure;
mod grants;
mod host;
mod http;
mod limits;
mod lines;
mod load;
mod log;
mod lookup;
mod outcome;
mod plugin;
mod results;
mod run;
mod sockets;
mod state;

pub use description::{Description, Wants};
pub use error::{HostError, LoadError};
pub use failure::{Failure, FailureKind};
pub use grants::{DirectoryGrant, GrantError, Grants, NetworkGrant, UrlGrant, environment};
pub use host::{Host, HostSettings, Target};
pub use limits::Limits;
pub use load::{COMPILED_BYTES_MAX, COMPONENT_BYTES_MAX};
pub use log::{LogLevel, LogLine, PluginLog};
pub use lookup::{Addresses, Lookup, SystemLookup};
pub use outcome::{CheckOutcome, File, Metric, MetricKind, Ran, RenderRequest, Status, Usage};
pub use plugin::{Plugin, World};

/// Different things one render may read. Reads past that answer `invalid`.
pub const READS_MAX: usize = 1024;
