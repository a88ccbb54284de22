//! What one run of a check found, built in a line.

use crate::bindings::check::exports::lictor::plugin::check as wit;

/// The three states of a check, the better ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// All is well.
    Passing,
    /// It works, but somebody should look.
    Warning,
    /// It does not work.
    Critical,
}

/// What one run found: a status, a text for a person, and what was measured.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The state of what was checked.
    pub status: Status,
    /// What a person should read about it.
    pub output: String,
    metrics: Vec<wit::Metric>,
}

impl Outcome {
    /// An outcome of this status.
    pub fn new(status: Status, output: impl Into<String>) -> Outcome {
        Outcome { status, output: output.into(), metrics: Vec::new() }
    }

    /// All is well.
    pub fn passing(output: impl Into<String>) -> Outcome {
        Outcome::new(Status::Passing, output)
    }

    /// It works, but somebody should look.
    pub fn warning(output: impl Into<String>) -> Outcome {
        Outcome::new(Status::Warning, output)
    }

    /// It does not work. Returning an error comes to the same.
    pub fn critical(output: impl Into<String>) -> Outcome {
        Outcome::new(Status::Critical, output)
    }

    /// Adds a value that goes up and down. The name is of `a-z`, `0-9` and `_`.
    #[must_use]
    pub fn gauge(self, name: &str, value: f64) -> Outcome {
        self.metric(name, wit::Kind::Gauge, value, &[])
    }

    /// Adds a gauge with labels, at most eight.
    #[must_use]
    pub fn gauge_with(self, name: &str, value: f64, labels: &[(&str, &str)]) -> Outcome {
        self.metric(name, wit::Kind::Gauge, value, labels)
    }

    /// Adds how much was counted since the last run.
    #[must_use]
    pub fn counter(self, name: &str, value: f64) -> Outcome {
        self.metric(name, wit::Kind::Counter, value, &[])
    }

    fn metric(mut self, name: &str, kind: wit::Kind, value: f64, labels: &[(&str, &str)]) -> Outcome {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.metrics.push(wit::Metric { name: name.into(), kind, value, labels });
        self
    }

    pub(crate) fn into_wit(self) -> wit::Outcome {
        let status = match self.status {
            Status::Passing => wit::Status::Passing,
            Status::Warning => wit::Status::Warning,
            Status::Critical => wit::Status::Critical,
        };
        wit::Outcome { status, output: self.output, metrics: self.metrics }
    }
}
