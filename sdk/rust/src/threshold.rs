//! Limits on a measured number, the same in every plugin's config.

use serde::Deserialize;

use crate::{Outcome, Status};

/// The four limits that a config may set on a number. All are optional; a value on the limit is still good.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Thresholds {
    /// Warn above this.
    pub warning_above: Option<f64>,
    /// Critical above this.
    pub critical_above: Option<f64>,
    /// Warn below this.
    pub warning_below: Option<f64>,
    /// Critical below this.
    pub critical_below: Option<f64>,
}

impl Thresholds {
    /// How a value does, and which limit it crossed. What is no number is critical.
    pub fn judge(&self, value: f64) -> (Status, Option<String>) {
        if value.is_nan() {
            return (Status::Critical, Some("not a number".into()));
        }
        let crossed = [
            (Status::Critical, self.critical_above, "above", value > self.critical_above.unwrap_or(f64::INFINITY)),
            (Status::Critical, self.critical_below, "below", value < self.critical_below.unwrap_or(f64::NEG_INFINITY)),
            (Status::Warning, self.warning_above, "above", value > self.warning_above.unwrap_or(f64::INFINITY)),
            (Status::Warning, self.warning_below, "below", value < self.warning_below.unwrap_or(f64::NEG_INFINITY)),
        ];
        let worst = crossed.into_iter().find(|(.., crossed)| *crossed);
        worst.map_or((Status::Passing, None), |(status, limit, side, _)| {
            (status, Some(format!("{side} {}", limit.unwrap_or_default())))
        })
    }

    /// The outcome of a named value: `lag is 12, above 10`.
    pub fn outcome(&self, what: &str, value: f64) -> Outcome {
        match self.judge(value) {
            (status, Some(limit)) => Outcome::new(status, format!("{what} is {value}, {limit}")),
            (status, None) => Outcome::new(status, format!("{what} is {value}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_limit_that_is_crossed_counts() {
        let limits = Thresholds {
            warning_above: Some(5.0),
            critical_above: Some(10.0),
            critical_below: Some(0.0),
            ..Default::default()
        };
        let cases = [
            (5.0, Status::Passing, None),
            (5.5, Status::Warning, Some("above 5")),
            (10.5, Status::Critical, Some("above 10")),
            (-1.0, Status::Critical, Some("below 0")),
            (f64::NAN, Status::Critical, Some("not a number")),
        ];
        for (value, status, limit) in cases {
            assert_eq!(limits.judge(value), (status, limit.map(str::to_owned)), "{value}");
        }
    }
}
