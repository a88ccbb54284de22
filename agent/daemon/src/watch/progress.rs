//! How far a watch has come: which answers are news, and how long to wait after failures.

use std::time::Duration;

use serde_json::Value;

/// The wait after the first failure; it grows with the square of their number.
const RETRY_BASE: Duration = Duration::from_secs(5);

/// The longest wait after failures.
const RETRY_MAX: Duration = Duration::from_secs(180);

/// How far a watch has come.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The index of the last answer; none at first and after a failure.
    index: Option<u64>,
    last: Option<Value>,
    failures: u32,
}

impl Progress {
    /// The index to wait from; zero asks for the answer at once.
    pub fn index(&self) -> u64 {
        self.index.unwrap_or(0)
    }

    /// Takes an answer in; returns it when it is news. The first always is, also the first after a failure: the agent may
    /// be another by now.
    pub fn answered(&mut self, index: u64, value: Value) -> Option<&Value> {
        self.failures = 0;
        if self.index == Some(index) {
            return None;
        }
        let is_first = self.index.replace(index).is_none();
        if !is_first && self.last.as_ref() == Some(&value) {
            return None;
        }
        self.last = Some(value);
        self.last.as_ref()
    }

    /// Takes a failure in; returns how long to wait before asking again.
    pub fn failed(&mut self) -> Duration {
        self.index = None;
        self.failures = self.failures.saturating_add(1);
        RETRY_BASE.saturating_mul(self.failures.saturating_mul(self.failures)).min(RETRY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_changed_is_no_news() {
        let mut progress = Progress::default();
        assert!(progress.answered(5, Value::from(1)).is_some());
        assert!(progress.answered(5, Value::from(2)).is_none(), "the wait ran out");
        assert!(progress.answered(6, Value::from(1)).is_none(), "something else has changed");
        assert!(progress.answered(3, Value::from(2)).is_some(), "the index went back");
    }

    #[test]
    fn after_a_failure_everything_is_news() {
        let mut progress = Progress::default();
        progress.answered(5, Value::from(1));
        progress.failed();
        assert_eq!(progress.index(), 0, "it asks for what is there now");
        assert!(progress.answered(5, Value::from(1)).is_some());
        assert!(progress.answered(6, Value::from(1)).is_none());
    }

    #[test]
    fn failures_are_waited_out_longer_and_longer() {
        let mut progress = Progress::default();
        let waits: Vec<u64> = (0..7).map(|_| progress.failed().as_secs()).collect();
        assert_eq!(waits, [5, 20, 45, 80, 125, 180, 180]);
        progress.answered(1, Value::Null);
        assert_eq!(progress.failed().as_secs(), 5);
    }
}
