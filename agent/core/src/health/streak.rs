//! What a run of results amounts to: how many in a row it takes to change a check's status.
//!
//! Passing and warning results count as successes, as Consul counts them.
//! Results below a threshold change nothing, not even the output.

use crate::health::spec::CheckSpec;
use crate::state::tables::Status;

/// Consecutive results of one check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streak {
    successes: u32,
    failures: u32,
}

impl Streak {
    /// Counts one result and returns the status the check has now, or `None` while it stays what it was.
    pub fn judge(&mut self, spec: &CheckSpec, result: Status) -> Option<Status> {
        match result {
            Status::Passing | Status::Warning => {
                self.successes = self.successes.saturating_add(1);
                self.failures = 0;
                (self.successes >= spec.success_before_passing).then_some(result)
            }
            Status::Critical => {
                self.failures = self.failures.saturating_add(1);
                self.successes = 0;
                let warns_at = match spec.failures_before_warning {
                    0 => spec.failures_before_critical,
                    given => given,
                };
                if self.failures >= spec.failures_before_critical {
                    Some(Status::Critical)
                } else if self.failures >= warns_at {
                    Some(Status::Warning)
                } else {
                    None
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::spec::CheckKind;
    use Status::{Critical, Passing, Warning};

    fn spec(success: u32, warning: u32, critical: u32) -> CheckSpec {
        CheckSpec {
            success_before_passing: success,
            failures_before_warning: warning,
            failures_before_critical: critical,
            ..CheckSpec::new("c", CheckKind::Fixed)
        }
    }

    #[test]
    fn thresholds_hold_a_status_until_enough_results_agree() {
        let cases: [(&str, CheckSpec, &[Status], &[Option<Status>]); 6] = [
            ("no thresholds", spec(0, 0, 0), &[Critical, Passing], &[Some(Critical), Some(Passing)]),
            ("three to pass", spec(3, 0, 0), &[Passing, Passing, Passing], &[None, None, Some(Passing)]),
            ("a failure starts over", spec(2, 0, 0), &[Passing, Critical, Passing], &[None, Some(Critical), None]),
            ("warning counts as success", spec(2, 0, 0), &[Passing, Warning], &[None, Some(Warning)]),
            ("three to fail", spec(0, 0, 3), &[Critical, Critical, Critical], &[None, None, Some(Critical)]),
            (
                "warns on the way",
                spec(0, 2, 3),
                &[Critical, Critical, Critical],
                &[None, Some(Warning), Some(Critical)],
            ),
        ];
        for (name, spec, results, expected) in cases {
            let mut streak = Streak::default();
            let judged: Vec<_> = results.iter().map(|r| streak.judge(&spec, *r)).collect();
            assert_eq!(judged, expected, "{name}");
        }
    }
}
