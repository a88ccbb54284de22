//! What checks measured, kept until somebody asks for metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use agent_wasm::{Metric, MetricKind};

/// A value as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// `plugin.check.` and the name the plugin gave.
    pub name: String,
    /// `plugin`, `check`, and those the plugin gave.
    pub labels: Vec<(String, String)>,
    /// The latest value of a gauge; of a counter the sum since the agent started.
    pub value: f64,
}

/// Name and labels of a series.
type Series = (String, Vec<(String, String)>);

/// What was measured, by check.
#[derive(Default)]
pub(super) struct Measurements(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    checks: BTreeMap<String, OfCheck>,
    /// How many runs have measured something.
    runs: u64,
}

/// What one check measured.
#[derive(Default)]
struct OfCheck {
    /// The number of its latest run.
    run: u64,
    series: BTreeMap<Series, f64>,
}

/// Series kept of one check. A plugin whose labels never repeat is not followed further than that.
const SERIES_MAX: usize = 256;

/// Checks whose series are kept. Where nobody asks for metrics, those of checks that are gone make room when there are more.
const CHECKS_MAX: usize = 1024;

impl Measurements {
    /// Takes in what one run measured.
    pub(super) fn take(&self, plugin: &str, check: &str, metrics: Vec<Metric>) {
        if metrics.is_empty() {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let series = kept.of(check);
        for Metric { name, kind, value, labels } in metrics {
            let mut all = vec![("plugin".to_owned(), plugin.to_owned()), ("check".to_owned(), check.to_owned())];
            all.extend(labels);
            let key = (format!("plugin.check.{name}"), all);
            if series.len() >= SERIES_MAX && !series.contains_key(&key) {
                continue;
            }
            match kind {
                MetricKind::Gauge => {
                    series.insert(key, value);
                }
                MetricKind::Counter => *series.entry(key).or_insert(0.0) += value.max(0.0),
            }
        }
    }

    /// All series of checks that are `current`; the others are forgotten.
    pub(super) fn shown(&self, current: impl Fn(&str) -> bool) -> Vec<Measured> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.checks.retain(|check, _| current(check));
        let series = kept.checks.values().flat_map(|check| &check.series);
        series
            .map(|((name, labels), value)| Measured { name: name.clone(), labels: labels.clone(), value: *value })
            .collect()
    }
}

impl Kept {
    /// The series of a check that runs now. Those of the check that ran longest ago make room.
    fn of(&mut self, check: &str) -> &mut BTreeMap<Series, f64> {
        if self.checks.len() >= CHECKS_MAX && !self.checks.contains_key(check) {
            let oldest = self.checks.iter().min_by_key(|(_, kept)| kept.run).map(|(check, _)| check.clone());
            oldest.and_then(|check| self.checks.remove(&check));
        }
        self.runs += 1;
        let kept = self.checks.entry(check.to_owned()).or_default();
        kept.run = self.runs;
        &mut kept.series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, kind: MetricKind, value: f64) -> Metric {
        Metric { name: name.to_owned(), kind, value, labels: vec![("unit".to_owned(), "a".to_owned())] }
    }

    #[test]
    fn gauges_show_the_latest_value_and_counters_the_sum() {
        let kept = Measurements::default();
        for value in [2.0, 5.0] {
            let metrics = vec![metric("depth", MetricKind::Gauge, value), metric("seen", MetricKind::Counter, value)];
            kept.take("redis", "cache", metrics);
        }
        let shown = kept.shown(|_| true);
        let values: Vec<_> = shown.iter().map(|series| (series.name.as_str(), series.value)).collect();
        assert_eq!(values, [("plugin.check.depth", 5.0), ("plugin.check.seen", 7.0)]);
        let labels = [("plugin", "redis"), ("check", "cache"), ("unit", "a")];
        assert_eq!(shown[0].labels, labels.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn checks_that_come_and_go_take_no_more_than_their_room() {
        let kept = Measurements::default();
        for number in 0..CHECKS_MAX + 5 {
            kept.take("redis", "stays", vec![metric("depth", MetricKind::Gauge, 1.0)]);
            kept.take("redis", &format!("job-{number}"), vec![metric("depth", MetricKind::Gauge, 2.0)]);
        }
        let shown = kept.shown(|_| true);
        assert_eq!(shown.len(), CHECKS_MAX);
        assert!(shown.iter().any(|series| series.value == 1.0), "what still runs is kept");
    }

    #[test]
    fn what_a_check_measured_goes_with_it() {
        let kept = Measurements::default();
        kept.take("redis", "cache", vec![metric("depth", MetricKind::Gauge, 1.0)]);
        assert_eq!(kept.shown(|check| check != "cache"), []);
        assert_eq!(kept.shown(|_| true), []);
    }
}
