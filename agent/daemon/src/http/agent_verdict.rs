//! The health of this agent's own services in one word, for load balancers that ask it.

use std::sync::Arc;

use agent_core::local::{LocalView, NODE_MAINTENANCE_ID, SERVICE_MAINTENANCE_PREFIX};
use agent_core::state::tables::{Check, Status};

/// The worst of several checks. Ordered from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// All checks pass, or there are none.
    Passing,
    /// Some check warns.
    Warning,
    /// Some check is critical.
    Critical,
    /// The node or the service is in maintenance.
    Maintenance,
}

impl Verdict {
    /// Consul's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Passing => "passing",
            Verdict::Warning => "warning",
            Verdict::Critical => "critical",
            Verdict::Maintenance => "maintenance",
        }
    }

    /// The HTTP status that says it.
    pub fn code(self) -> u16 {
        match self {
            Verdict::Passing => 200,
            Verdict::Warning => 429,
            Verdict::Critical | Verdict::Maintenance => 503,
        }
    }

    fn of(check: &Check) -> Verdict {
        if check.id == NODE_MAINTENANCE_ID || check.id.starts_with(SERVICE_MAINTENANCE_PREFIX) {
            return Verdict::Maintenance;
        }
        match check.status {
            Status::Passing => Verdict::Passing,
            Status::Warning => Verdict::Warning,
            Status::Critical => Verdict::Critical,
        }
    }

    /// The verdict over `checks`.
    pub fn over<'a>(checks: impl IntoIterator<Item = &'a Check>) -> Verdict {
        checks.into_iter().map(Verdict::of).max().unwrap_or(Verdict::Passing)
    }
}

/// The checks that decide the health of one of this agent's services: its own and the node's, by id.
pub fn deciding_checks<'a>(view: &'a LocalView, service_id: &str) -> Vec<&'a Check> {
    let decides = |check: &Check| check.service_id.is_empty() || check.service_id == service_id;
    view.checks.values().map(|local: &'a Arc<_>| &local.check).filter(|check| decides(check)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, status: Status) -> Check {
        Check { id: id.to_owned(), status, ..Check::default() }
    }

    #[test]
    fn the_worst_check_decides() {
        let cases = [
            (vec![], Verdict::Passing),
            (vec![check("a", Status::Passing), check("b", Status::Warning)], Verdict::Warning),
            (vec![check("a", Status::Critical), check("b", Status::Warning)], Verdict::Critical),
            (vec![check("a", Status::Critical), check("_node_maintenance", Status::Critical)], Verdict::Maintenance),
            (vec![check("_service_maintenance:web", Status::Critical)], Verdict::Maintenance),
        ];
        for (checks, expected) in cases {
            assert_eq!(Verdict::over(&checks), expected, "{checks:?}");
        }
    }
}
