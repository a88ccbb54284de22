//! What an operator sees of a running agent: log lines and metrics.
//!
//! [`log`] formats lines as Consul's users know them and hands them to one
//! writer thread; [`metrics`] keeps counters and timers of ten-second intervals,
//! [`gauges`] looks values up when somebody asks, and [`exposition`] writes both.
//! Nothing here blocks the caller.

pub mod exposition;
pub mod gauges;
pub mod log;
mod log_file;
pub mod metrics;
pub mod names;
pub mod series;

pub use log::{Level, LogOptions, LogStream};
pub use metrics::Metrics;
pub use names::{Counter, Naming, Timer};
