//! What an alias check shows: the worst of the checks it mirrors.
//!
//! An alias of a service mirrors the service's checks and its node's; an alias
//! of a node mirrors the node's. Aliases of the node are left out: mirrors that
//! look at each other would never leave the critical state they start in.

use crate::health::spec::Outcome;
use crate::state::tables::{Check, Status};

/// The kind of a check that mirrors others.
pub const KIND: &str = "alias";

/// What the alias check `own_id` of `service_id` (empty for a node) on `node` shows, given all checks of that node.
pub fn evaluate<'a>(
    own_id: &str,
    node: &str,
    service_id: &str,
    service_exists: bool,
    checks: impl Iterator<Item = &'a Check>,
) -> Outcome {
    if !service_id.is_empty() && !service_exists {
        let output = format!("Service {service_id} could not be found on node {node}");
        return Outcome { status: Status::Critical, output };
    }
    let mut worst: Option<&Check> = None;
    for check in checks.filter(|c| mirrored(own_id, service_id, c)) {
        if worst.is_none_or(|worst| check.status > worst.status) {
            worst = Some(check);
        }
    }
    let output = match worst {
        None => "No checks found.".to_owned(),
        Some(Check { status: Status::Passing, .. }) => "All checks passing.".to_owned(),
        Some(check) => format!("Aliased check {:?} failing: {}", check.name, check.output),
    };
    Outcome { status: worst.map_or(Status::Passing, |worst| worst.status), output }
}

fn mirrored(own_id: &str, service_id: &str, check: &Check) -> bool {
    let of_node = check.service_id.is_empty() && check.kind != KIND;
    let of_service = !service_id.is_empty() && check.service_id == service_id && check.id != own_id;
    of_node || of_service
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, service_id: &str, status: Status) -> Check {
        Check {
            id: id.into(),
            name: id.into(),
            service_id: service_id.into(),
            status,
            output: "o".into(),
            ..Check::default()
        }
    }

    #[test]
    fn the_worst_of_service_and_node_is_shown() {
        let checks = [
            check("web-1", "web", Status::Warning),
            check("web-2", "web", Status::Critical),
            check("db", "db", Status::Critical),
            check("disk", "", Status::Passing),
        ];
        let cases = [
            ("web", true, Status::Critical, "Aliased check \"web-2\" failing: o"),
            ("", true, Status::Passing, "All checks passing."),
            ("bare", true, Status::Passing, "All checks passing."),
            ("nosvc", false, Status::Critical, "Service nosvc could not be found on node n1"),
        ];
        for (service, exists, status, output) in cases {
            let outcome = evaluate("a", "n1", service, exists, checks.iter());
            assert_eq!(outcome, Outcome { status, output: output.into() }, "{service}");
        }
    }

    #[test]
    fn nothing_to_mirror_passes_and_says_so() {
        let checks = [check("db", "db", Status::Critical)];
        let expected = Outcome { status: Status::Passing, output: "No checks found.".into() };
        assert_eq!(evaluate("a", "n1", "bare", true, checks.iter()), expected);
    }

    #[test]
    fn two_aliases_of_a_node_do_not_hold_each_other_down() {
        let mirror = |id: &str| Check { kind: KIND.into(), ..check(id, "", Status::Critical) };
        let checks = [mirror("a"), mirror("b")];
        assert_eq!(evaluate("a", "n1", "", true, checks.iter()).status, Status::Passing);
    }
}
