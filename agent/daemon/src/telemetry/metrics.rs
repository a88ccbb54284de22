//! Counters, gauges and samples in ten-second intervals.
//!
//! The shape of `/v1/agent/metrics` is Consul's: an interval that has ended, or
//! the running one right after the start. The Prometheus form accumulates since
//! the start. Names and labels come from our own code, so their number is bounded.
//! Source of names and meaning: Consul's telemetry page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use agent_core::state::tables::UnixMs;
use serde_json::{Value, json};

use crate::env::Clock;

/// The length of an interval, in milliseconds.
const INTERVAL_MS: u64 = 10_000;

/// Labels of a metric, in order.
pub type Labels = Vec<(&'static str, String)>;

/// The metrics of one agent. Shared by reference; every call is a short lock.
pub struct Metrics {
    clock: Arc<dyn Clock>,
    /// Inserted into the names of gauges, as Consul does; empty with `telemetry.disable_hostname`.
    host: String,
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    running: Interval,
    finished: Option<Interval>,
    totals: Interval,
}

#[derive(Clone, Default)]
struct Interval {
    start_ms: UnixMs,
    gauges: BTreeMap<(&'static str, Labels), f64>,
    counters: BTreeMap<(&'static str, Labels), Aggregate>,
    samples: BTreeMap<(&'static str, Labels), Aggregate>,
}

#[derive(Clone, Copy, Default)]
struct Aggregate {
    count: u64,
    sum: f64,
    sum_of_squares: f64,
    min: f64,
    max: f64,
}

impl Aggregate {
    fn add(&mut self, value: f64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = if self.count == 0 { value } else { self.max.max(value) };
        self.count += 1;
        self.sum += value;
        self.sum_of_squares += value * value;
    }

    fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }

    fn stddev(&self) -> f64 {
        if self.count < 2 {
            return 0.0;
        }
        let count = self.count as f64;
        let variance = (count * self.sum_of_squares - self.sum * self.sum) / (count * (count - 1.0));
        variance.max(0.0).sqrt()
    }
}

impl Metrics {
    /// Empty metrics. `host` goes into the names of gauges, unless it is empty.
    pub fn new(clock: Arc<dyn Clock>, host: &str) -> Self {
        let registry = Mutex::new(Registry::default());
        Metrics { clock, host: host.to_owned(), registry }
    }

    /// Adds `by` to a counter.
    pub fn count(&self, name: &'static str, by: u64) {
        self.count_labelled(name, Labels::new(), by);
    }

    /// Adds `by` to a counter with labels.
    pub fn count_labelled(&self, name: &'static str, labels: Labels, by: u64) {
        self.with_registry(|registry| {
            let value = by as f64;
            registry.totals.counters.entry((name, labels.clone())).or_default().add(value);
            registry.running.counters.entry((name, labels)).or_default().add(value);
        });
    }

    /// Sets a gauge.
    pub fn gauge(&self, name: &'static str, value: f64) {
        self.with_registry(|registry| {
            registry.totals.gauges.insert((name, Labels::new()), value);
            registry.running.gauges.insert((name, Labels::new()), value);
        });
    }

    /// Adds a duration in milliseconds to a sample.
    pub fn sample_ms(&self, name: &'static str, ms: f64) {
        self.sample_ms_labelled(name, Labels::new(), ms);
    }

    /// Adds a duration in milliseconds to a sample with labels.
    pub fn sample_ms_labelled(&self, name: &'static str, labels: Labels, ms: f64) {
        self.with_registry(|registry| {
            registry.totals.samples.entry((name, labels.clone())).or_default().add(ms);
            registry.running.samples.entry((name, labels)).or_default().add(ms);
        });
    }

    /// The latest finished interval as `/v1/agent/metrics` shows it; the running one in the first ten seconds.
    pub fn json(&self) -> Value {
        let interval = self.with_registry(|registry| registry.finished.as_ref().unwrap_or(&registry.running).clone());
        let gauges: Vec<Value> = interval
            .gauges
            .iter()
            .map(|((name, labels), value)| json!({"Name": self.gauge_name(name), "Value": value, "Labels": labels_json(labels)}))
            .collect();
        json!({
            "Timestamp": timestamp(interval.start_ms),
            "Gauges": gauges,
            "Points": [],
            "Counters": aggregates_json(&interval.counters),
            "Samples": aggregates_json(&interval.samples),
        })
    }

    /// Everything since the start in the Prometheus text format 0.0.4.
    pub fn prometheus(&self) -> String {
        let totals = self.with_registry(|registry| registry.totals.clone());
        let mut text = String::new();
        let mut last = "";
        for ((name, labels), value) in &totals.gauges {
            header(&mut text, &mut last, name, "gauge");
            line(&mut text, name, "", labels, *value);
        }
        for ((name, labels), counter) in &totals.counters {
            header(&mut text, &mut last, name, "counter");
            line(&mut text, name, "", labels, counter.sum);
        }
        for ((name, labels), sample) in &totals.samples {
            header(&mut text, &mut last, name, "summary");
            line(&mut text, name, "_sum", labels, sample.sum);
            line(&mut text, name, "_count", labels, sample.count as f64);
        }
        text
    }

    fn gauge_name(&self, name: &str) -> String {
        match name.split_once('.') {
            Some((prefix, rest)) if !self.host.is_empty() => format!("{prefix}.{}.{rest}", self.host),
            _ => name.to_owned(),
        }
    }

    /// Runs `use_registry` on the registry, after starting a new interval if the running one has ended.
    fn with_registry<T>(&self, use_registry: impl FnOnce(&mut Registry) -> T) -> T {
        let now_ms = self.clock.wall_ms();
        let start_ms = now_ms - now_ms % INTERVAL_MS;
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        if registry.running.start_ms == 0 {
            registry.running.start_ms = start_ms;
        } else if registry.running.start_ms != start_ms {
            // Gauges keep their value until they are set again.
            let next = Interval { start_ms, gauges: registry.running.gauges.clone(), ..Interval::default() };
            registry.finished = Some(std::mem::replace(&mut registry.running, next));
        }
        use_registry(&mut registry)
    }
}

fn aggregates_json(aggregates: &BTreeMap<(&'static str, Labels), Aggregate>) -> Vec<Value> {
    aggregates
        .iter()
        .map(|((name, labels), aggregate)| {
            json!({
                "Name": name,
                "Count": aggregate.count,
                "Rate": aggregate.sum / (INTERVAL_MS as f64 / 1000.0),
                "Sum": aggregate.sum,
                "Min": aggregate.min,
                "Max": aggregate.max,
                "Mean": aggregate.mean(),
                "Stddev": aggregate.stddev(),
                "Labels": labels_json(labels),
            })
        })
        .collect()
}

fn labels_json(labels: &Labels) -> Value {
    labels.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str()))).collect()
}

/// Go's default print of a UTC time, to the second.
fn timestamp(at_ms: UnixMs) -> String {
    let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

fn header(text: &mut String, last: &mut &'static str, name: &'static str, kind: &str) {
    if *last != name {
        *last = name;
        let name = prometheus_name(name);
        // Writing to a String can't fail.
        let _ = write!(text, "# HELP {name} {name}\n# TYPE {name} {kind}\n");
    }
}

fn line(text: &mut String, name: &str, suffix: &str, labels: &Labels, value: f64) {
    text.push_str(&prometheus_name(name));
    text.push_str(suffix);
    for (place, (label, value)) in labels.iter().enumerate() {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        // Writing to a String can't fail.
        let _ = write!(text, "{}{label}=\"{value}\"", if place == 0 { '{' } else { ',' });
    }
    if !labels.is_empty() {
        text.push('}');
    }
    // Writing to a String can't fail.
    let _ = writeln!(text, " {value}");
}

fn prometheus_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct Fixed(AtomicU64);

    impl Clock for Fixed {
        fn wall_ms(&self) -> UnixMs {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn metrics_at(now_ms: u64) -> (Arc<Fixed>, Metrics) {
        let clock = Arc::new(Fixed(AtomicU64::new(now_ms)));
        (Arc::clone(&clock), Metrics::new(clock, "box"))
    }

    #[test]
    fn the_finished_interval_is_shown() {
        let (clock, metrics) = metrics_at(1_000_000);
        metrics.count("consul.kvs.apply", 2);
        metrics.count("consul.kvs.apply", 4);
        clock.0.store(1_010_000, Ordering::Relaxed);
        metrics.count("consul.kvs.apply", 100);
        let shown = metrics.json();
        assert_eq!(shown["Timestamp"], "1970-01-01 00:16:40 +0000 UTC");
        assert_eq!(shown["Counters"][0]["Sum"], 6.0);
        assert_eq!(shown["Counters"][0]["Mean"], 3.0);
    }

    #[test]
    fn gauges_carry_the_host_and_outlive_their_interval() {
        let (clock, metrics) = metrics_at(1_000_000);
        metrics.gauge("consul.raft.last_index", 7.0);
        clock.0.store(1_020_000, Ordering::Relaxed);
        assert_eq!(metrics.json()["Gauges"][0]["Name"], "consul.box.raft.last_index");
        clock.0.store(1_040_000, Ordering::Relaxed);
        assert_eq!(metrics.json()["Gauges"][0]["Value"], 7.0);
    }

    #[test]
    fn prometheus_text_escapes_labels() {
        let (_, metrics) = metrics_at(1_000_000);
        metrics.count_labelled("consul.dns.query", vec![("node", "a\"b".to_owned())], 3);
        let expected = "# HELP consul_dns_query consul_dns_query\n# TYPE consul_dns_query counter\nconsul_dns_query{node=\"a\\\"b\"} 3\n";
        assert_eq!(metrics.prometheus(), expected);
    }
}
