//! Ten thousand blocking queries: what each costs in memory, and how soon the last one learns of a write.

use std::io;
use std::time::Duration;

use crate::crowd::Crowd;
use crate::histogram::Histogram;
use crate::http::each;
use crate::options::{Kind, Options};
use crate::process::Usage;
use crate::report::{CPU, EACH, Figure, Metric, TIME, WATCHER_ANONYMOUS};
use crate::subject::{Mode, Subject, Target};
use crate::wire;

/// Memory with every watcher on one key.
pub const ONE_KEY: &str = "10 000 watchers of one key";
/// The last one awake after a write to it.
pub const ONE_KEY_AWAKE: &str = "10 000 watchers of one key, last awake";
/// Memory with every watcher on a key of its own.
pub const MANY_KEYS: &str = "10 000 watchers of 10 000 keys";
/// The one awake after a write to its key, 99 times in 100.
pub const MANY_KEYS_AWAKE: &str = "10 000 watchers of 10 000 keys, the one awake (p99)";
/// The last one awake after all keys are deleted by one write.
pub const ALL_KEYS_AWAKE: &str = "10 000 watchers of 10 000 keys, last awake";

const WATCHERS: usize = 10_000;
/// Writes that wake everyone; the slowest counts.
const BROADCASTS: u32 = 3;
/// The longest pause between two of them: an agent that still tidies up may do so.
const BREATH: Duration = Duration::from_secs(1);
/// The longest pause before the memory of a crowd is read.
const GATHERED: Duration = Duration::from_secs(3);
/// Writes that wake one watcher each.
const SINGLES: usize = 200;

fn figure(line: &'static str, metric: Metric, value: f64) -> Figure {
    Figure { line, metric, value }
}

/// Both scenes, each on a process of its own; the limit has only the first.
pub fn watch(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let mut figures = one_key(options, kind)?;
    if kind != Kind::Limit {
        figures.extend(many_keys(options, kind)?);
    }
    Ok(figures)
}

/// The memory a gathered crowd takes.
fn memory(line: &'static str, before: Usage, after: Usage) -> [Figure; 2] {
    let each = |after: u64, before: u64| (after as f64 - before as f64) / 1024.0 / WATCHERS as f64;
    [
        figure(line, EACH, each(after.resident, before.resident)),
        figure(line, WATCHER_ANONYMOUS, each(after.anonymous, before.anonymous)),
    ]
}

fn one_key(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let mut subject = Subject::ready(options, kind, Mode::Quick)?;
    subject.caller.put("/v1/kv/watched", b"before")?;
    subject.settle_within(BREATH)?;
    let before = subject.usage()?;
    let mut crowd = Crowd::gather(subject.api(), WATCHERS, |_| "/v1/kv/watched".to_owned())?;
    subject.settle_within(GATHERED)?;
    let gathered = subject.usage()?;
    let mut slowest = 0.0_f64;
    for number in 0..BROADCASTS {
        let begun = tokio::time::Instant::now();
        subject.caller.put("/v1/kv/watched", number.to_string().as_bytes())?;
        slowest = slowest.max((crowd.all_awake()? - begun).as_secs_f64() * 1e3);
        subject.settle_within(BREATH)?;
    }
    let woken = f64::from(BROADCASTS) * WATCHERS as f64;
    let cpu = (subject.usage()?.cpu - gathered.cpu).as_secs_f64() * 1e6 / woken;
    let mut figures = memory(ONE_KEY, before, gathered).to_vec();
    figures.extend([figure(ONE_KEY_AWAKE, TIME, slowest), figure(ONE_KEY_AWAKE, CPU, cpu)]);
    Ok(figures)
}

fn path(number: usize) -> String {
    format!("/v1/kv/watched/{number:05}")
}

fn many_keys(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let mut subject = Subject::ready(options, kind, Mode::Quick)?;
    each(&subject, 64, WATCHERS as u64, |number, request| {
        wire::put(request, format_args!("{}", path(number as usize)), b"0");
    })?;
    subject.settle_within(BREATH)?;
    let before = subject.usage()?;
    let mut crowd = Crowd::gather(subject.api(), WATCHERS, path)?;
    subject.settle_within(GATHERED)?;
    let gathered = subject.usage()?;
    let mut latency = Histogram::new();
    for number in (0..WATCHERS).step_by(WATCHERS / SINGLES) {
        let begun = tokio::time::Instant::now();
        subject.caller.put(&path(number), b"1")?;
        latency.record(crowd.awake(1)? - begun);
    }
    subject.settle_within(BREATH)?;
    let begun = tokio::time::Instant::now();
    subject.caller.delete("/v1/kv/watched/?recurse")?;
    let last = crowd.all_awake()? - begun;
    let mut figures = memory(MANY_KEYS, before, gathered).to_vec();
    figures.extend([
        figure(MANY_KEYS_AWAKE, TIME, latency.quantile(0.99).as_secs_f64() * 1e3),
        figure(ALL_KEYS_AWAKE, TIME, last.as_secs_f64() * 1e3),
    ]);
    Ok(figures)
}
