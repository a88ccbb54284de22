//! A new version of a plugin beside the one that serves: every check with both, without effect.

use std::sync::Arc;

use agent_core::health::spec::{CheckKind, CheckSpec};
use agent_core::local::LocalView;
use agent_core::plugin::rollout;

use super::Run;
use super::slot::{Serving, Slot};

/// Checks that take part in a trial. An agent with more of one plugin tries those whose ids come first.
const CHECKS_MAX: usize = 32;

/// The checks of this agent that the plugin runs.
pub(super) fn checks(view: &LocalView, plugin: &str) -> Vec<Arc<CheckSpec>> {
    let uses = |spec: &CheckSpec| matches!(&spec.kind, CheckKind::Plugin { plugin: name, .. } if name == plugin);
    view.checks.values().map(|check| &check.spec).filter(|spec| uses(spec)).take(CHECKS_MAX).cloned().collect()
}

/// Runs every check once with both versions, one right after the other; returns what speaks against the candidate.
pub(super) async fn run(
    slot: &Slot,
    serving: &Serving,
    candidate: &Serving,
    checks: &[Arc<CheckSpec>],
) -> Option<String> {
    for spec in checks {
        let Some(run) = Run::of(spec) else { continue };
        let before = serving.run(slot, &run).await.0.map(|outcome| outcome.status);
        let after = candidate.run(slot, &run).await.0.map(|outcome| outcome.status);
        if let Some(fault) = rollout::fault(run.check, before, after) {
            return Some(fault);
        }
    }
    None
}
