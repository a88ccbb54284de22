//! Limits on a measured number and demands on a text, the same in every plugin's config.

use serde::Deserialize;

use crate::{Outcome, Result, Status, bail};

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

/// What a config may demand of a value that comes as text: to be equal to another, or to be a number within limits.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Demands {
    /// The value must be this.
    pub equals: Option<String>,
    /// The limits, for a number.
    #[serde(flatten)]
    pub thresholds: Thresholds,
}

impl Demands {
    /// The outcome of a named value: `lag is 12, above 10`; a number is the gauge `value`, too.
    ///
    /// # Errors
    /// When it is not what it must equal, and when it is no number without having to equal anything.
    pub fn outcome(&self, what: &str, value: &str) -> Result<Outcome> {
        if let Some(wanted) = self.equals.as_ref().filter(|wanted| *wanted != value) {
            bail!("{what} is {value}, not {wanted}");
        }
        match value.parse::<f64>() {
            Ok(number) => Ok(self.thresholds.outcome(what, number).gauge("value", number)),
            Err(_) if self.equals.is_some() => Ok(Outcome::passing(format!("{what} is {value}"))),
            Err(_) => bail!("{what} is {value:?}, which is no number: compare it with `equals`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_number_within_limits_or_what_it_must_equal() {
        let limits = Thresholds { warning_above: Some(5.0), ..Default::default() };
        let cases = [
            (None, "7", Ok((Status::Warning, "lag is 7, above 5"))),
            (Some("7"), "7", Ok((Status::Warning, "lag is 7, above 5"))),
            (Some("up"), "up", Ok((Status::Passing, "lag is up"))),
            (Some("up"), "down", Err("lag is down, not up")),
            (None, "up", Err("lag is \"up\", which is no number: compare it with `equals`")),
        ];
        for (equals, value, expected) in cases {
            let demands = Demands { equals: equals.map(str::to_owned), thresholds: limits };
            let found = demands.outcome("lag", value).map(|found| (found.status, found.output));
            let expected = expected.map(|(status, output)| (status, output.to_owned()));
            assert_eq!(found.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{value}");
        }
    }

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
