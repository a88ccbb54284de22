//! How a run ends that did not end well, in words for the person who reads the check's output.
//!
//! What was denied during a run is collected in [`Denials`], since a plugin may swallow the error and trap later: the failure then says both.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

/// Why a run gave no result. Its text is a sentence or more that names the limit or grant to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What ended the run.
    pub kind: FailureKind,
    /// What the run was denied before, one clause each, at most eight: `was refused a connection to 10.0.0.1:80, which allow.network does not grant`.
    pub denied: Vec<String>,
}

/// What ended a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The guest trapped: a panic, an access out of bounds, an exhausted stack. The text says which.
    Trapped(String),
    /// It used its CPU time, which is this.
    OutOfCpu(Duration),
    /// It took longer than the wall time allows, which is this.
    TimedOut(Duration),
    /// It asked for more memory than its limit, which is this in bytes, and did not get over it.
    OutOfMemory(u64),
    /// The memory of all running plugins together is used up; this is the budget in bytes.
    HostOutOfMemory(u64),
    /// What came back breaks the interface: a path with `..`, too many or too large files.
    BrokenPromise(String),
    /// It could not be started with what it is granted: a directory that is not there.
    NotStarted(String),
    /// The renderer answered an error of its own; this is its text, cut to 4 KiB.
    Renderer(String),
    /// The plugin is one for the other world: a check asked to render, or a renderer to check.
    WrongWorld(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match self.denied.as_slice() {
            [] => Ok(()),
            denied => write!(f, "; before that it {}", denied.join(", and ")),
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FailureKind::Trapped(why) => write!(f, "the plugin broke down: {why}"),
            FailureKind::OutOfCpu(limit) => {
                write!(f, "the plugin used its {} of CPU time; raise limits.cpu or let it do less", time(*limit))
            }
            FailureKind::TimedOut(limit) => {
                write!(f, "the plugin did not finish within {}; raise limits.wall or let it wait less", time(*limit))
            }
            FailureKind::OutOfMemory(limit) => {
                write!(f, "the plugin asked for more than its {} of memory; raise limits.memory", bytes(*limit))
            }
            FailureKind::HostOutOfMemory(max) => write!(
                f,
                "the plugins that run at this moment need more than their {} together; raise plugin_memory_max or run fewer at once",
                bytes(*max)
            ),
            FailureKind::BrokenPromise(why) => write!(f, "the plugin's result is not usable: {why}"),
            FailureKind::NotStarted(why) => write!(f, "the plugin could not be started: {why}"),
            FailureKind::Renderer(why) => write!(f, "the renderer says: {why}"),
            FailureKind::WrongWorld(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<FailureKind> for Failure {
    fn from(kind: FailureKind) -> Failure {
        Failure { kind, denied: Vec::new() }
    }
}

/// Clauses kept of one run.
const DENIALS_MAX: usize = 8;

/// What a run was denied. Shared with the host functions that deny.
#[derive(Debug, Default)]
pub(crate) struct Denials(Mutex<Denied>);

#[derive(Debug, Default)]
struct Denied {
    clauses: Vec<String>,
    memory_limit: bool,
    memory_budget: bool,
    budget: u64,
}

impl Denials {
    /// Adds a clause that continues "the plugin ...", once.
    pub(crate) fn add(&self, clause: impl FnOnce() -> String) {
        let mut denied = self.lock();
        if denied.clauses.len() < DENIALS_MAX {
            let clause = clause();
            if !denied.clauses.contains(&clause) {
                denied.clauses.push(clause);
            }
        }
    }

    pub(crate) fn memory_limit(&self) {
        self.lock().memory_limit = true;
    }

    /// The host's budget, of this many bytes, refused.
    pub(crate) fn memory_budget(&self, max: u64) {
        let mut denied = self.lock();
        denied.memory_budget = true;
        denied.budget = max;
    }

    pub(crate) fn budget(&self) -> u64 {
        self.lock().budget
    }

    /// Whether memory was refused: by the run's limit, by the host's budget.
    pub(crate) fn memory(&self) -> (bool, bool) {
        let denied = self.lock();
        (denied.memory_limit, denied.memory_budget)
    }

    pub(crate) fn clauses(&self) -> Vec<String> {
        self.lock().clauses.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Denied> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A duration as people write it: `100 ms`, `1.5 s`.
fn time(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms < 1000 => format!("{ms} ms"),
        _ => format!("{} s", duration.as_secs_f64()),
    }
}

/// A size as people write it: `16 MiB`, `4 KiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 20 && b.is_multiple_of(1 << 20) => format!("{} MiB", b >> 20),
        b if b >= 1 << 20 => format!("{:.1} MiB", b as f64 / (1 << 20) as f64),
        b if b >= 1 << 10 && b.is_multiple_of(1 << 10) => format!("{} KiB", b >> 10),
        b => format!("{b} bytes"),
    }
}
