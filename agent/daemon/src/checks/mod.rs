//! Probes: one file per kind of check. Each runs once and returns an outcome.
//!
//! [`Prober`] is the door: [`SystemProber`] is the operating system, the
//! simulator brings its own. A probe never fails: whatever goes wrong is the
//! outcome. It knows nothing of schedules, thresholds or the catalog.

use agent_core::health::spec::{CheckSpec, Outcome};

use crate::env::BoxFuture;

/// Runs checks.
pub trait Prober: Send + Sync {
    /// Runs `spec` once, within its timeout. Dropping the future ends the run and what it started.
    fn probe<'a>(&'a self, spec: &'a CheckSpec) -> BoxFuture<'a, Outcome>;
}
