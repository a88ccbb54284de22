//! What an operator sees of a running agent: log lines and metrics.
//!
//! [`log`] formats lines as Consul's users know them and hands them to one
//! writer thread; [`metrics`] keeps ten-second intervals of counters, gauges
//! and samples. Neither ever blocks the caller.

pub mod log;
pub mod metrics;

pub use log::{Level, LogOptions, LogStream};
pub use metrics::Metrics;
