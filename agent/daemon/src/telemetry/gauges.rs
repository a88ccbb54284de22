//! Values of the moment, looked up when somebody asks for metrics.
//!
//! Names and meaning are Consul's. Memory and tasks stand under the names of
//! Go's heap and goroutines, so that dashboards keep working.

use agent_core::autopilot::Report;
use agent_core::gossip::{Counters, Stats};
use agent_core::state::State;
use agent_raft::consensus;

use super::exposition::{Gauge, Labels};
use crate::plugin::{Measured, Plugins};

/// What the catalog and the key/value store hold.
pub fn of_state(state: &State, datacenter: &str) -> Vec<Gauge> {
    let labels = || vec![("datacenter".into(), datacenter.to_owned())];
    [
        ("state.kv_entries", state.kv.len()),
        ("state.nodes", state.nodes.len()),
        ("state.service_instances", state.services.len()),
        ("state.services", state.service_indexes.len()),
    ]
    .map(|(name, count)| Gauge { name: name.into(), labels: labels(), value: count as f64 })
    .into()
}

/// Who is in the pool, and what gossip did and refused. What was counted only grows; `refused_streams` were closed at
/// once because too many were open.
pub fn of_pool(stats: &Stats, counters: &Counters, refused_streams: u64) -> Vec<Gauge> {
    let Stats { members, failed, left, health_score, intent_queue, event_queue, query_queue, .. } = *stats;
    let labelled = |name: &'static str, label: &'static str, values: &[(&str, u64)]| -> Vec<Gauge> {
        let gauge = |(value, count): &(&str, u64)| Gauge {
            name: name.into(),
            labels: vec![(label.into(), (*value).to_owned())],
            value: *count as f64,
        };
        values.iter().map(gauge).collect()
    };
    let mut gauges = labelled(
        "memberlist.node.instances",
        "node_state",
        &[("alive", (members - failed - left) as u64), ("failed", failed as u64), ("left", left as u64)],
    );
    gauges.extend(labelled(
        "memberlist.refused",
        "reason",
        &[
            ("key", counters.refused_key),
            ("plain", counters.refused_plain),
            ("pool", counters.refused_label),
            ("version", counters.refused_version),
            ("network", counters.refused_network),
            ("malformed", counters.malformed),
            ("name", counters.name_conflicts),
            ("id", counters.id_conflicts),
            ("full", counters.pool_full),
            ("streams", refused_streams),
        ],
    ));
    gauges.extend(
        [
            ("memberlist.health.score", u64::from(health_score)),
            ("memberlist.udp.received", counters.bytes_in),
            ("memberlist.udp.sent", counters.bytes_out),
            ("memberlist.tcp.accept", counters.streams_in),
            ("memberlist.tcp.connect", counters.streams_out),
            ("memberlist.tcp.failed", counters.streams_failed),
            ("memberlist.msg.skipped", counters.messages_skipped),
            ("memberlist.queue.dropped", counters.rumours_dropped),
            ("memberlist.probes", counters.probes),
            ("memberlist.probes_failed", counters.probes_failed),
            ("memberlist.msg.suspect", counters.suspicions),
            ("memberlist.msg.dead", counters.failures),
            ("memberlist.refutations", counters.refutations),
            ("serf.events", counters.events),
            ("serf.queue.Intent", intent_queue as u64),
            ("serf.queue.Event", event_queue as u64),
            ("serf.queue.Query", query_queue as u64),
        ]
        .map(|(name, count)| plain(name, count as f64)),
    );
    gauges
}

/// Where this server's Raft is, and what it does as a leader. Only a leader has a report of the servers.
pub fn of_server(state: &State, stats: consensus::Stats, report: Option<&Report>) -> Vec<Gauge> {
    let leads = report.is_some();
    let with_ttl = || state.sessions.values().filter(|session| session.ttl_ms > 0).count();
    let mut gauges = vec![
        plain("raft.applied_index", stats.applied_index as f64),
        plain("raft.last_index", stats.last_log_index as f64),
        plain("server.isLeader", f64::from(u8::from(leads))),
        plain("session_ttl.active", if leads { with_ttl() as f64 } else { 0.0 }),
    ];
    if let Some(report) = report {
        gauges.push(plain("autopilot.failure_tolerance", report.failure_tolerance as f64));
        gauges.push(plain("autopilot.healthy", f64::from(u8::from(report.healthy))));
    }
    gauges
}

/// Memory and tasks of the process. Call inside a runtime; `status` is the text of `/proc/self/status`.
pub fn of_process(status: &str) -> Vec<Gauge> {
    let bytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib as f64 * 1024.0)
    };
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut gauges = vec![plain("runtime.num_goroutines", tasks as f64)];
    gauges.extend(bytes("RssAnon").map(|value| plain("runtime.alloc_bytes", value)));
    gauges.extend(bytes("VmRSS").map(|value| plain("runtime.sys_bytes", value)));
    gauges
}

/// What plugins measured, and how they are.
pub fn of_plugins(plugins: &Plugins, current: impl Fn(&str) -> bool) -> Vec<Gauge> {
    let measured = plugins.measured(current).into_iter().map(|Measured { name, labels, value }| {
        let labels = labels.into_iter().map(|(label, value)| (label.into(), value)).collect();
        Gauge { name: name.into(), labels, value }
    });
    let mut gauges: Vec<Gauge> = measured.collect();
    for (name, slot) in &*plugins.slots() {
        let state = slot.state();
        let figures = [
            ("plugin.serving", f64::from(u8::from(slot.serving().is_some()))),
            ("plugin.swapped", state.swapped as f64),
            ("plugin.refused", state.refusals as f64),
        ];
        let gauge = |(figure, value): (&'static str, f64)| Gauge {
            name: figure.into(),
            labels: vec![("plugin".into(), name.clone())],
            value,
        };
        gauges.extend(figures.map(gauge));
    }
    if !gauges.is_empty() {
        gauges.push(plain("plugin.memory_in_use", plugins.memory_in_use() as f64));
    }
    gauges
}

/// A gauge without labels.
pub fn plain(name: &'static str, value: f64) -> Gauge {
    Gauge { name: name.into(), labels: Labels::new(), value }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agent_core::state::tables::Session;

    use super::*;

    #[tokio::test]
    async fn memory_is_read_off_the_process_status() {
        let gauges = of_process("Name:\tlictor\nVmRSS:\t    3072 kB\nRssAnon:\t    2048 kB\n");
        let values: Vec<(&str, f64)> = gauges.iter().map(|gauge| (&*gauge.name, gauge.value)).collect();
        let expected =
            [("runtime.num_goroutines", 0.0), ("runtime.alloc_bytes", 2_097_152.0), ("runtime.sys_bytes", 3_145_728.0)];
        assert_eq!(values, expected);
    }

    #[test]
    fn only_a_leader_counts_sessions() {
        let mut state = State::default();
        for (id, ttl_ms) in [("a", 0), ("b", 10_000)] {
            let session = Session { id: id.to_owned(), ttl_ms, ..Session::default() };
            state.sessions.insert(id.to_owned(), Arc::new(session));
        }
        let report = Report { healthy: true, failure_tolerance: 1, servers: Vec::new() };
        let active = |leads: bool| {
            let gauges = of_server(&state, consensus::Stats::default(), leads.then_some(&report));
            gauges.iter().find(|gauge| gauge.name == "session_ttl.active").map(|gauge| gauge.value)
        };
        assert_eq!((active(true), active(false)), (Some(1.0), Some(0.0)));
    }
}
