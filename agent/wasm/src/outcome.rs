//! What comes back from a run, with what it cost.

use std::time::Duration;

/// The result of a run and what the run used.
#[derive(Clone, Debug, PartialEq)]
pub struct Ran<T> {
    /// The result.
    pub result: T,
    /// What the run used, whatever its result.
    pub usage: Usage,
    /// What a renderer read, sorted, each once, at most [`crate::READS_MAX`]. Empty for checks.
    pub reads: Vec<crate::catalog::Read>,
    /// What the run was denied, in clauses that continue "the plugin"; at most eight. A run may be denied something and still succeed.
    pub denied: Vec<String>,
}

/// What a run used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of the guest and of what the host did for it in the same task.
    pub cpu: Duration,
    /// From start to end.
    pub wall: Duration,
    /// Linear memory at its largest.
    pub memory_bytes_peak: u64,
    /// Lines it wanted to log past the 64 it may.
    pub log_lines_dropped: u64,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckOutcome {
    /// The state.
    pub status: Status,
    /// What a person should read, cut to `limits.output_bytes`.
    pub output: String,
    /// At most 32 values, those that broke a rule of `wit/check.wit` left out.
    pub metrics: Vec<Metric>,
}

pub use agent_core::state::tables::Status;

/// A value a check measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// 1 to 64 characters of `a-z`, `0-9` and `_`.
    pub name: String,
    /// How it counts.
    pub kind: MetricKind,
    /// A number, never NaN or infinite.
    pub value: f64,
    /// At most eight: label and value, each at most 128 bytes; labels are of `a-z`, `0-9` and `_`.
    pub labels: Vec<(String, String)>,
}

/// How a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A value that goes up and down.
    Gauge,
    /// How much was added since the last run.
    Counter,
}

/// What is to be rendered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RenderRequest {
    /// The config as a JSON object; hold it against the plugin's schema first.
    pub config: String,
    /// The template's text; empty for renderers that need none.
    pub template: String,
    /// The node that renders.
    pub node: String,
    /// Its data centre.
    pub datacenter: String,
}

/// A file that a renderer made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Relative to the destination, of plain segments (no `..`, no `.`, no empty one), at most 1,024 bytes; empty for the destination itself.
    pub path: String,
    /// What is in it.
    pub content: Vec<u8>,
}
