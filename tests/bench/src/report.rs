//! Figures, collected over the rounds and printed as a Markdown table: medians, ranges, ratios.
//!
//! It knows no target; `targets.rs` reads it.

use std::collections::BTreeMap;

use crate::options::Kind;

/// What a figure measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in the table.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
}

const fn metric(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit }
}

/// Exchanges that ended inside the window.
pub const RATE: Metric = metric("rate", "/s");
/// The latency half of the exchanges did not exceed.
pub const P50: Metric = metric("p50", "µs");
/// The latency 99 in 100 exchanges did not exceed.
pub const P99: Metric = metric("p99", "µs");
/// Processor time of the agent for each exchange.
pub const CPU: Metric = metric("agent's CPU", "µs each");
/// Processor time of the load generator for each exchange.
pub const GENERATOR: Metric = metric("generator's CPU", "µs each");
/// Memory in use at the end.
pub const RESIDENT: Metric = metric("resident memory", "MiB");
/// Memory of the process's own at the end.
pub const ANONYMOUS: Metric = metric("anonymous memory", "MiB");
/// Bytes the agent caused to be written for each exchange.
pub const WRITTEN: Metric = metric("written", "bytes each");
/// `fsync` and `fdatasync` calls for each exchange.
pub const SYNCS: Metric = metric("fsyncs", "each");
/// From the start of the process, or of a write, to what the line names.
pub const TIME: Metric = metric("time", "ms");
/// Blocks of the data folder.
pub const DISK: Metric = metric("on disk", "MiB");
/// Processor time in a stretch of time.
pub const SHARE: Metric = metric("CPU", "% of a core");
/// Bytes caused to be written in a stretch of time.
pub const TOTAL_WRITTEN: Metric = metric("written in all", "KiB");
/// Resident memory that one more adds: a watcher, a plugin.
pub const EACH: Metric = metric("memory", "KiB each");
/// Anonymous memory a watcher adds.
pub const WATCHER_ANONYMOUS: Metric = metric("anonymous memory", "KiB each");
/// Clients that met an error.
pub const ERRORS: Metric = metric("errors", "clients");
/// The longest latency of all.
pub const WORST: Metric = metric("worst latency", "ms");
/// Anonymous memory at the end above that at the start.
pub const GROWTH: Metric = metric("anonymous memory's growth", "%");

/// One measured value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// What was done.
    pub line: &'static str,
    /// What was measured.
    pub metric: Metric,
    /// How much.
    pub value: f64,
}

/// Bytes in MiB.
pub fn mib(size_bytes: u64) -> f64 {
    size_bytes as f64 / f64::from(1 << 20)
}

#[derive(Debug)]
struct Row {
    line: &'static str,
    metric: Metric,
    values: BTreeMap<Kind, Vec<f64>>,
}

/// All figures so far, in the order they first came.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a round's figure.
    pub fn add(&mut self, kind: Kind, figure: Figure) {
        let Figure { line, metric, value } = figure;
        let known = self.rows.iter().position(|row| row.line == line && row.metric == metric);
        let at = known.unwrap_or_else(|| {
            self.rows.push(Row { line, metric, values: BTreeMap::new() });
            self.rows.len() - 1
        });
        self.rows[at].values.entry(kind).or_default().push(value);
    }

    /// The median over the rounds, when there was any.
    pub fn median(&self, line: &str, metric: Metric, kind: Kind) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.line == line && row.metric == metric)?;
        row.values.get(&kind).map(|values| median(values))
    }

    /// The rows added since there were `from`, as a table, and how many there are now.
    pub fn print_from(&self, from: usize) -> usize {
        println!("\n| line | figure | lictor | Consul | lictor / Consul | limit or etcd |");
        println!("|---|---|---|---|---|---|");
        for row in &self.rows[from..] {
            let cell = |kind| row.values.get(&kind).map_or("–".to_owned(), |values| spread(values));
            let median_of = |kind| row.values.get(&kind).map(|values| median(values));
            let ratio = match (median_of(Kind::Lictor), median_of(Kind::Consul)) {
                (Some(ours), Some(theirs)) if theirs > 0.0 => format!("{:.2}", ours / theirs),
                _ => "–".to_owned(),
            };
            let other = if row.values.contains_key(&Kind::Etcd) { Kind::Etcd } else { Kind::Limit };
            let [lictor, consul, limit] = [Kind::Lictor, Kind::Consul, other].map(cell);
            let Metric { name, unit } = row.metric;
            println!("| {} | {name}, {unit} | {lictor} | {consul} | {ratio} | {limit} |", row.line);
        }
        self.rows.len()
    }
}

/// The middle one; of an even number of them the mean of the middle two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// The median, and the range when there is one.
fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if least == most {
        return number(least);
    }
    format!("{} ({}–{})", number(median(values)), number(least), number(most))
}

/// Three or four digits that matter, thousands set apart.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        large if large >= 1000.0 => {
            let digits = format!("{value:.0}");
            let (first, rest) = digits.split_at(digits.len() % 3);
            let groups = rest.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
            std::iter::once(first.to_owned())
                .filter(|first| !first.is_empty())
                .chain(groups)
                .collect::<Vec<_>>()
                .join(" ")
        }
        large if large >= 100.0 => format!("{value:.0}"),
        large if large >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases =
            [(0.0, "0"), (0.123, "0.12"), (12.34, "12.3"), (999.4, "999"), (1234.5, "1 234"), (1e6, "1 000 000")];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn the_median_ignores_one_bad_round() {
        let mut report = Report::default();
        for value in [10.0, 11.0, 900.0] {
            report.add(Kind::Lictor, Figure { line: "put", metric: RATE, value });
        }
        assert_eq!(report.median("put", RATE, Kind::Lictor), Some(11.0));
        assert_eq!(report.median("put", RATE, Kind::Consul), None);
    }
}
