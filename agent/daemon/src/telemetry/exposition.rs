//! How metrics are written: Consul's JSON and the Prometheus text format.
//!
//! Field order and number forms are those of Consul 1.8.7. Knows nothing of
//! where values come from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use agent_core::state::tables::UnixMs;
use serde::{Serialize, Serializer};

use super::series::{Aggregate, Total};

/// The length of an interval, in seconds.
const INTERVAL_S: f64 = 10.0;

/// Labels of a series, in order.
pub type Labels = Vec<(Cow<'static, str>, String)>;

/// A value of the moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauge {
    /// Its name without prefix and host.
    pub name: Cow<'static, str>,
    /// Its labels.
    pub labels: Labels,
    /// The value.
    pub value: f64,
}

/// The full name of a series, and its labels.
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) labels: Labels,
}

/// An interval as Consul prints it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Interval {
    timestamp: String,
    gauges: Vec<GaugeView>,
    points: [(); 0],
    counters: Vec<AggregateView>,
    samples: Vec<AggregateView>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GaugeView {
    name: String,
    #[serde(serialize_with = "number")]
    value: f64,
    labels: BTreeMap<Cow<'static, str>, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AggregateView {
    name: String,
    count: u64,
    #[serde(serialize_with = "number")]
    rate: f64,
    #[serde(serialize_with = "number")]
    sum: f64,
    #[serde(serialize_with = "number")]
    min: f64,
    #[serde(serialize_with = "number")]
    max: f64,
    #[serde(serialize_with = "number")]
    mean: f64,
    #[serde(serialize_with = "number")]
    stddev: f64,
    labels: BTreeMap<Cow<'static, str>, String>,
}

/// A number as Go prints it: whole ones without a fraction.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return serializer.serialize_i64(*value as i64);
    }
    serializer.serialize_f64(*value)
}

/// An interval that began at `start_ms`.
pub(super) fn interval(
    start_ms: UnixMs,
    gauges: Vec<(Shown, f64)>,
    counters: Vec<(Shown, Aggregate)>,
    samples: Vec<(Shown, Aggregate)>,
) -> Interval {
    let gauges = sorted(gauges).into_iter();
    Interval {
        timestamp: timestamp(start_ms),
        gauges: gauges
            .map(|(Shown { name, labels }, value)| GaugeView { name, value, labels: labels.into_iter().collect() })
            .collect(),
        points: [],
        counters: sorted(counters).into_iter().map(aggregate).collect(),
        samples: sorted(samples).into_iter().map(aggregate).collect(),
    }
}

fn aggregate((Shown { name, labels }, values): (Shown, Aggregate)) -> AggregateView {
    AggregateView {
        name,
        count: values.count,
        rate: values.sum / INTERVAL_S,
        sum: values.sum,
        min: values.min,
        max: values.max,
        mean: values.mean(),
        stddev: values.stddev(),
        labels: labels.into_iter().collect(),
    }
}

/// Series of one name belong together in both forms.
fn sorted<T>(mut series: Vec<(Shown, T)>) -> Vec<(Shown, T)> {
    series.sort_by(|(a, _), (b, _)| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
    series
}

/// Go's default print of a UTC time, to the second.
fn timestamp(at_ms: UnixMs) -> String {
    let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

/// The Prometheus text format 0.0.4.
pub(super) fn prometheus(
    gauges: Vec<(Shown, f64)>,
    counters: Vec<(Shown, Total)>,
    samples: Vec<(Shown, Total)>,
) -> String {
    let mut text = Text::default();
    for (shown, value) in sorted(gauges) {
        let name = text.family(&shown.name, "gauge");
        text.line(&name, "", &shown.labels, None, value);
    }
    for (shown, total) in sorted(counters) {
        let name = text.family(&shown.name, "counter");
        text.line(&name, "", &shown.labels, None, total.sum);
    }
    for (shown, total) in sorted(samples) {
        let name = text.family(&shown.name, "summary");
        for (quantile, value) in ["0.5", "0.9", "0.99"].into_iter().zip(total.quantiles) {
            text.line(&name, "", &shown.labels, Some(quantile), value);
        }
        text.line(&name, "_sum", &shown.labels, None, total.sum);
        text.line(&name, "_count", &shown.labels, None, total.count as f64);
    }
    text.text
}

#[derive(Default)]
struct Text {
    text: String,
    family: String,
}

impl Text {
    /// Opens the family of `name` unless it is open, and returns its Prometheus name.
    fn family(&mut self, name: &str, kind: &str) -> String {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        if self.family != name {
            self.family.clone_from(&name);
            // Writing to a String can't fail.
            let _ = write!(self.text, "# HELP {name} {name}\n# TYPE {name} {kind}\n");
        }
        name
    }

    fn line(&mut self, name: &str, suffix: &str, labels: &Labels, quantile: Option<&str>, value: f64) {
        self.text.push_str(name);
        self.text.push_str(suffix);
        let labels = labels.iter().map(|(label, value)| (&**label, value.as_str()));
        for (place, (label, value)) in labels.chain(quantile.map(|quantile| ("quantile", quantile))).enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            // Writing to a String can't fail.
            let _ = write!(self.text, "{}{label}=\"{value}\"", if place == 0 { '{' } else { ',' });
        }
        if self.text.ends_with('"') {
            self.text.push('}');
        }
        // Writing to a String can't fail.
        let _ = writeln!(self.text, " {value}");
    }
}
