//! What lictor promises at least, line by line, and whether this run kept it.

use crate::options::Kind;
use crate::parts::{catalog, cluster, dns, failover, idle, key, plugin, pool, register, restart, soak, start, watch};
use crate::report::{
    ANONYMOUS, CPU, DISK, EACH, ERRORS, GROWTH, Metric, RATE, RESIDENT, Report, SHARE, TIME, TOTAL_WRITTEN, WORST,
    number,
};

#[derive(Clone, Copy, Debug)]
enum Bound {
    /// At least this many times Consul's.
    Times(f64),
    /// At least this many times etcd's.
    TimesEtcd(f64),
    /// At most this share of Consul's.
    Share(f64),
    /// At most this.
    AtMost(f64),
}

const TARGETS: &[(&str, Metric, Bound)] = &[
    (key::PUT, RATE, Bound::Times(3.0)),
    (key::GET, RATE, Bound::Times(3.0)),
    (key::STALE, RATE, Bound::Times(3.0)),
    (catalog::HEALTH, RATE, Bound::Times(8.0)),
    (catalog::SERVICES, RATE, Bound::Times(8.0)),
    (register::REGISTER, RATE, Bound::Times(4.0)),
    (dns::A_3, RATE, Bound::Times(3.0)),
    (dns::SRV_3, RATE, Bound::Times(3.0)),
    (dns::A_50, RATE, Bound::Times(8.0)),
    (dns::SRV_50, RATE, Bound::Times(8.0)),
    (start::DEV, TIME, Bound::Share(1.0)),
    (start::DURABLE, TIME, Bound::Share(0.2)),
    (restart::RESTART, TIME, Bound::Share(0.25)),
    (restart::RESTART, RESIDENT, Bound::Share(0.25)),
    (restart::RESTART, DISK, Bound::Share(0.25)),
    (idle::IDLE, RESIDENT, Bound::Share(1.0 / 3.0)),
    (idle::IDLE, ANONYMOUS, Bound::Share(0.5)),
    (idle::IDLE, SHARE, Bound::Share(1.0 / 3.0)),
    (idle::IDLE, TOTAL_WRITTEN, Bound::AtMost(0.0)),
    (watch::ONE_KEY, EACH, Bound::Share(1.0 / 3.0)),
    (watch::ONE_KEY, EACH, Bound::AtMost(25.0)),
    (watch::ONE_KEY_AWAKE, TIME, Bound::AtMost(150.0)),
    (watch::MANY_KEYS, EACH, Bound::Share(1.0 / 3.0)),
    (watch::MANY_KEYS, EACH, Bound::AtMost(25.0)),
    (watch::MANY_KEYS_AWAKE, TIME, Bound::AtMost(150.0)),
    (watch::ALL_KEYS_AWAKE, TIME, Bound::AtMost(150.0)),
    (cluster::PUT, RATE, Bound::Times(3.0)),
    (cluster::PUT, RATE, Bound::TimesEtcd(2.0)),
    (cluster::FOLLOWER, RATE, Bound::Times(3.0)),
    (cluster::FOLLOWER_CONSISTENT, RATE, Bound::Times(3.0)),
    (cluster::CLIENT, RATE, Bound::Times(3.0)),
    (cluster::CLIENT_CONSISTENT, RATE, Bound::Times(3.0)),
    (failover::WRITES, TIME, Bound::AtMost(3000.0)),
    (failover::WRITES_QUICK, TIME, Bound::Share(0.5)),
    (failover::HEALTH_QUICK, TIME, Bound::Share(1.0)),
    (pool::SERVER, RESIDENT, Bound::AtMost(20.0)),
    (pool::CLIENT, RESIDENT, Bound::AtMost(14.0)),
    (pool::SERVER, SHARE, Bound::Share(0.5)),
    (pool::CLIENT, SHARE, Bound::Share(0.5)),
    (pool::SERVER, TOTAL_WRITTEN, Bound::AtMost(0.0)),
    (pool::CLIENT, TOTAL_WRITTEN, Bound::AtMost(0.0)),
    (plugin::CHECKS, CPU, Bound::Share(0.05)),
    (plugin::WARM, CPU, Bound::AtMost(80.0)),
    (plugin::CHECKS, SHARE, Bound::AtMost(5.0)),
    (plugin::NATIVE, WORST, Bound::AtMost(100.0)),
    (plugin::LOAD, TIME, Bound::AtMost(20.0)),
    (plugin::LOADED, EACH, Bound::AtMost(2048.0)),
    (soak::SOAK, ERRORS, Bound::AtMost(0.0)),
    (soak::SOAK, WORST, Bound::AtMost(1000.0)),
    (soak::SOAK, GROWTH, Bound::AtMost(10.0)),
];

/// Prints the promises this run could judge, if any, and returns whether it kept them all.
pub fn print(report: &Report) -> bool {
    let mut all = true;
    let mut rows = Vec::new();
    for (line, metric, bound) in TARGETS {
        let ours = report.median(line, *metric, Kind::Lictor);
        let other = if matches!(bound, Bound::TimesEtcd(_)) { Kind::Etcd } else { Kind::Consul };
        let theirs = report.median(line, *metric, other);
        let Some((promise, measured, met)) = judge(*bound, *metric, ours, theirs) else { continue };
        let verdict = if met { "met" } else { "NOT MET" };
        rows.push(format!("| {line} | {} | {promise} | {measured} | {verdict} |", metric.name));
        all &= met;
    }
    if !rows.is_empty() {
        println!("\n## the least promised\n\n| line | figure | at least | measured | |\n|---|---|---|---|---|");
        println!("{}", rows.join("\n"));
    }
    all
}

/// The promise in words, what was measured, and whether it was kept; nothing when a side was not measured.
fn judge(bound: Bound, metric: Metric, ours: Option<f64>, theirs: Option<f64>) -> Option<(String, String, bool)> {
    let ours = ours?;
    Some(match bound {
        Bound::Times(times) => {
            let ratio = ours / theirs?;
            (format!("{times} times Consul"), format!("{ratio:.2} times"), ratio >= times)
        }
        Bound::TimesEtcd(times) => {
            let ratio = ours / theirs?;
            (format!("{times} times etcd"), format!("{ratio:.2} times"), ratio >= times)
        }
        Bound::Share(share) => {
            let ratio = ours / theirs?;
            (format!("{share:.2} of Consul's or less"), format!("{ratio:.2}"), ratio <= share)
        }
        Bound::AtMost(most) => (format!("{} {} or less", number(most), metric.unit), number(ours), ours <= most),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_judged_by_what_it_compares_with() {
        let met = |bound, ours, theirs| judge(bound, RATE, Some(ours), theirs).map(|(_, _, met)| met);
        assert_eq!(met(Bound::Times(3.0), 30.0, Some(10.0)), Some(true));
        assert_eq!(met(Bound::Times(3.0), 29.0, Some(10.0)), Some(false));
        assert_eq!(met(Bound::Share(0.25), 2.5, Some(10.0)), Some(true));
        assert_eq!(met(Bound::AtMost(25.0), 26.0, None), Some(false));
        assert_eq!(met(Bound::Times(3.0), 30.0, None), None, "Consul was not measured");
    }
}
