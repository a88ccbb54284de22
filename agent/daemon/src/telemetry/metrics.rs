//! The metrics of one agent: where values go in, and what is shown of them.
//!
//! Every series has its place from the start and its memory from its first value
//! on, so recording allocates nothing, looks nothing up and shares no lock with
//! another series. `/v1/agent/metrics` shows the ten-second interval that ended
//! last, the Prometheus form everything since the start. Gauges are not kept:
//! whoever reads brings them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use hyper::Method;

use super::exposition::{self, Gauge, Interval, Labels, Shown};
use super::names::{COUNTERS, Counter, HTTP, Naming, TIMERS, Timer};
use super::series::Series;
use crate::env::Clock;

/// The length of an interval, in milliseconds.
const INTERVAL_MS: u64 = 10_000;

/// What the method of a request is shown as. The last stands for every other, since clients may invent them.
const METHODS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "OTHER"];

/// The metrics of one agent. Shared by reference.
pub struct Metrics {
    clock: Arc<dyn Clock>,
    naming: ArcSwap<Naming>,
    /// The routes of the HTTP API, by number.
    routes: &'static [&'static str],
    /// Counters, then timers, then one for each method of each route.
    places: Box<[OnceLock<Box<Series>>]>,
    /// The interval the agent was started in.
    first: u64,
    /// Blocking queries that wait right now.
    blocking: AtomicU64,
}

/// A blocking query that waits; counted until dropped.
pub struct Waiting<'a>(&'a AtomicU64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Empty metrics. `routes` are the names of HTTP routes; [`Metrics::http`] takes their place in it.
    pub fn new(clock: Arc<dyn Clock>, naming: Naming, routes: &'static [&'static str]) -> Self {
        let count = COUNTERS.len() + TIMERS.len() + routes.len() * METHODS.len();
        let places = (0..count).map(|_| OnceLock::new()).collect();
        let first = clock.wall_ms() / INTERVAL_MS;
        let naming = ArcSwap::from_pointee(naming);
        Metrics { clock, naming, routes, places, first, blocking: AtomicU64::new(0) }
    }

    /// Changes which names are shown from now on.
    pub fn filter(&self, allow: Vec<String>, block: Vec<String>) {
        let naming = Naming { allow, block, ..Naming::clone(&self.naming.load()) };
        self.naming.store(Arc::new(naming));
    }

    /// Counts one.
    pub fn count(&self, counter: Counter) {
        self.add(counter as usize, false, 1.0);
    }

    /// Counts a read that clients asked for: an RPC and a query.
    pub fn count_read(&self) {
        let interval = self.clock.wall_ms() / INTERVAL_MS;
        for counter in [Counter::Rpc, Counter::Query] {
            self.series(counter as usize, false).add(interval, 1.0);
        }
    }

    /// Records how long something took, in milliseconds.
    pub fn time(&self, timer: Timer, ms: f64) {
        self.add(COUNTERS.len() + timer as usize, true, ms);
    }

    /// Records how long a request to the HTTP API took, in milliseconds. `route` is its place among the names given
    /// to [`Metrics::new`].
    pub fn http(&self, method: &Method, route: usize, ms: f64) {
        let other = METHODS.len() - 1;
        let method = METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(other);
        self.add(COUNTERS.len() + TIMERS.len() + route * METHODS.len() + method, true, ms);
    }

    /// Counts a blocking query for as long as the result lives.
    pub fn waiting(&self) -> Waiting<'_> {
        self.blocking.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.blocking)
    }

    /// How many blocking queries wait right now.
    pub fn queries_blocking(&self) -> u64 {
        self.blocking.load(Ordering::Relaxed)
    }

    /// The interval that ended last as `/v1/agent/metrics` shows it; the running one when the agent started in it.
    pub fn interval(&self, gauges: &[Gauge]) -> Interval {
        let now = self.clock.wall_ms() / INTERVAL_MS;
        let interval = if now <= self.first { now } else { now - 1 };
        let shown = |range: std::ops::Range<usize>| {
            let values = self.shown(range);
            values.filter_map(|(shown, series)| Some((shown, series.during(interval)?))).collect()
        };
        exposition::interval(
            interval * INTERVAL_MS,
            self.gauges(gauges),
            shown(0..COUNTERS.len()),
            shown(COUNTERS.len()..self.places.len()),
        )
    }

    /// Everything since the start in the Prometheus text format 0.0.4.
    pub fn prometheus(&self, gauges: &[Gauge]) -> String {
        let now = self.clock.wall_ms() / INTERVAL_MS;
        let shown = |range| self.shown(range).map(|(shown, series)| (shown, series.total(now))).collect();
        exposition::prometheus(self.gauges(gauges), shown(0..COUNTERS.len()), shown(COUNTERS.len()..self.places.len()))
    }

    fn add(&self, place: usize, timed: bool, value: f64) {
        self.series(place, timed).add(self.clock.wall_ms() / INTERVAL_MS, value);
    }

    fn series(&self, place: usize, timed: bool) -> &Series {
        self.places[place].get_or_init(|| Box::new(Series::new(timed)))
    }

    fn gauges(&self, gauges: &[Gauge]) -> Vec<(Shown, f64)> {
        let naming = self.naming.load();
        let named = |gauge: &Gauge| {
            Some((Shown { name: naming.gauge(&gauge.name)?, labels: gauge.labels.clone() }, gauge.value))
        };
        gauges.iter().filter_map(named).collect()
    }

    /// The series in use at these places, under their full names.
    fn shown(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = (Shown, &Series)> {
        let naming = self.naming.load_full();
        range.filter_map(move |place| {
            let series = self.places[place].get()?;
            let (name, labels) = self.identity(place);
            Some((Shown { name: naming.value(name)?, labels }, &**series))
        })
    }

    /// The name and labels of the series at a place.
    fn identity(&self, place: usize) -> (&'static str, Labels) {
        if let Some((_, name)) = COUNTERS.get(place) {
            return (name, Labels::new());
        }
        let place = place - COUNTERS.len();
        if let Some((timer, name)) = TIMERS.get(place) {
            let by_node = matches!(timer, Timer::DnsDomainQuery | Timer::DnsPtrQuery);
            let labels = by_node.then(|| ("node".into(), self.naming.load().node.clone()));
            return (name, labels.into_iter().collect());
        }
        let place = place - TIMERS.len();
        let (route, method) = (self.routes[place / METHODS.len()], METHODS[place % METHODS.len()]);
        (HTTP, vec![("method".into(), method.to_owned()), ("path".into(), route.to_owned())])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use agent_core::state::tables::UnixMs;

    struct Fixed(AtomicU64);

    impl Clock for Fixed {
        fn wall_ms(&self) -> UnixMs {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn metrics_at(now_ms: u64) -> (Arc<Fixed>, Metrics) {
        let clock = Arc::new(Fixed(AtomicU64::new(now_ms)));
        let naming = Naming { host: "box".to_owned(), node: "n\"1".to_owned(), ..Naming::default() };
        (Arc::clone(&clock), Metrics::new(clock, naming, &["unknown", "/v1/kv/"]))
    }

    fn json_of(metrics: &Metrics) -> Value {
        serde_json::to_value(metrics.interval(&[])).expect("metrics are JSON")
    }

    #[test]
    fn the_interval_that_ended_last_is_shown_and_then_forgotten() {
        let (clock, metrics) = metrics_at(1_000_000);
        metrics.time(Timer::KvsApply, 2.0);
        metrics.time(Timer::KvsApply, 4.0);
        assert_eq!(json_of(&metrics)["Samples"][0]["Count"], 2, "the first interval is shown while it runs");
        clock.0.store(1_010_000, Ordering::Relaxed);
        metrics.time(Timer::KvsApply, 100.0);
        let shown = json_of(&metrics);
        assert_eq!(shown["Timestamp"], "1970-01-01 00:16:40 +0000 UTC");
        assert_eq!((&shown["Samples"][0]["Sum"], &shown["Samples"][0]["Mean"]), (&json!(6), &json!(3)));
        clock.0.store(1_060_000, Ordering::Relaxed);
        assert_eq!(json_of(&metrics)["Samples"], json!([]), "nothing happened lately");
    }

    #[test]
    fn fields_are_in_consuls_order_and_whole_numbers_plain() {
        let (_, metrics) = metrics_at(1_000_000);
        metrics.count(Counter::RaftApply);
        let gauge = Gauge { name: "raft.applied_index".into(), labels: Vec::new(), value: 7.0 };
        let text = serde_json::to_string(&metrics.interval(&[gauge])).expect("metrics are JSON");
        let expected = concat!(
            r#"{"Timestamp":"1970-01-01 00:16:40 +0000 UTC","#,
            r#""Gauges":[{"Name":"consul.box.raft.applied_index","Value":7,"Labels":{}}],"Points":[],"#,
            r#""Counters":[{"Name":"consul.raft.apply","Count":1,"Rate":0.1,"Sum":1,"Min":1,"Max":1,"Mean":1,"#,
            r#""Stddev":0,"Labels":{}}],"Samples":[]}"#,
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn prometheus_text_has_families_and_escaped_labels() {
        let (_, metrics) = metrics_at(1_000_000);
        metrics.count(Counter::RaftApply);
        metrics.count(Counter::RaftApply);
        metrics.time(Timer::DnsPtrQuery, 0.5);
        let gauge =
            Gauge { name: "state.nodes".into(), labels: vec![("datacenter".into(), "dc1".to_owned())], value: 3.0 };
        let expected = concat!(
            "# HELP consul_box_state_nodes consul_box_state_nodes\n# TYPE consul_box_state_nodes gauge\n",
            "consul_box_state_nodes{datacenter=\"dc1\"} 3\n",
            "# HELP consul_raft_apply consul_raft_apply\n# TYPE consul_raft_apply counter\nconsul_raft_apply 2\n",
            "# HELP consul_dns_ptr_query consul_dns_ptr_query\n# TYPE consul_dns_ptr_query summary\n",
            "consul_dns_ptr_query{node=\"n\\\"1\",quantile=\"0.5\"} 0.5\n",
            "consul_dns_ptr_query{node=\"n\\\"1\",quantile=\"0.9\"} 0.5\n",
            "consul_dns_ptr_query{node=\"n\\\"1\",quantile=\"0.99\"} 0.5\n",
            "consul_dns_ptr_query_sum{node=\"n\\\"1\"} 0.5\nconsul_dns_ptr_query_count{node=\"n\\\"1\"} 1\n",
        );
        assert_eq!(metrics.prometheus(&[gauge]), expected);
    }

    #[test]
    fn methods_that_clients_invent_share_one_series() {
        let (_, metrics) = metrics_at(1_000_000);
        for method in ["GET", "BREW", "WHEN"] {
            metrics.http(&Method::from_bytes(method.as_bytes()).expect("a token"), 1, 1.0);
        }
        let shown = json_of(&metrics);
        let labels: Vec<&Value> =
            shown["Samples"].as_array().expect("a list").iter().map(|sample| &sample["Labels"]).collect();
        let expected = ["GET", "OTHER"].map(|method| json!({"method": method, "path": "/v1/kv/"}));
        assert_eq!(labels, expected.iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_shown_may_change() {
        let (_, metrics) = metrics_at(1_000_000);
        metrics.count(Counter::RaftApply);
        metrics.filter(Vec::new(), vec!["consul.raft".to_owned()]);
        assert_eq!(json_of(&metrics)["Counters"], json!([]));
        metrics.filter(Vec::new(), Vec::new());
        assert_eq!(json_of(&metrics)["Counters"][0]["Name"], "consul.raft.apply");
    }

    #[test]
    fn a_blocking_query_counts_while_it_waits() {
        let (_, metrics) = metrics_at(1_000_000);
        let waiting = metrics.waiting();
        assert_eq!(metrics.queries_blocking(), 1);
        drop(waiting);
        assert_eq!(metrics.queries_blocking(), 0);
    }
}
