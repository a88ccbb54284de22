//! Keys: durable writes, default reads, stale reads.

use std::io;
use std::process::Command;
use std::time::Duration;

use crate::http::{Turn, load};
use crate::limit::syncs_per_second;
use crate::load::{Outcome, Plan};
use crate::options::{Kind, Options};
use crate::report::{Figure, RATE, SYNCS, WRITTEN};
use crate::subject::{Mode, Subject};
use crate::wire;

/// The line of writes.
pub const PUT: &str = "KV PUT";
/// The line of the disk alone: what a server that syncs for each write could do at most.
const DISK_SYNCS: &str = "fsyncs one after the other";
/// The line of default reads.
pub const GET: &str = "KV GET";
/// The line of stale reads.
pub const STALE: &str = "KV GET ?stale";

const CLIENTS: usize = 64;
/// Keys each client writes in turn; they bound the data.
const KEYS_EACH: u64 = 1_000;
/// Keys that are read.
const KEYS_READ: u64 = 1_000;

/// Renders the write of one of `keys_each` keys of this client, in turn. The value has 100 bytes and is never the one
/// the key has, since a write that changes nothing is cheaper.
pub fn write_key(turn: Turn, keys_each: u64, request: &mut Vec<u8>) {
    let (client, number) = (turn.client, turn.turn % keys_each);
    let value = format!("{:0>100}", turn.turn);
    wire::put(request, format_args!("/v1/kv/bench/write/{client:03}/{number:04}"), value.as_bytes());
}

/// Renders the read of one of the keys that [`fill`] wrote.
pub fn read_key(turn: Turn, request: &mut Vec<u8>) {
    wire::get(request, format_args!("/v1/kv/bench/read/{:04}", turn.pick(KEYS_READ)));
}

/// Writes the keys that are read.
///
/// # Errors
/// A write fails.
pub fn fill(subject: &mut Subject) -> io::Result<()> {
    (0..KEYS_READ)
        .try_for_each(|number| subject.caller.put(&format!("/v1/kv/bench/read/{number:04}"), &[b'v'; 100]).map(drop))
}

fn write_in_turn(turn: Turn, request: &mut Vec<u8>) {
    write_key(turn, KEYS_EACH, request);
}

/// Writes.
pub fn put(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    if kind == Kind::Limit {
        let value = syncs_per_second(options.length)?;
        return Ok(vec![Figure { line: DISK_SYNCS, metric: RATE, value }]);
    }
    let subject = Subject::ready(options, kind, Mode::Quick)?;
    let outcome = load(Plan::of(options, CLIENTS), &subject, write_in_turn)?.without_errors()?;
    let mut figures = outcome.figures(PUT);
    figures.push(written(PUT, &outcome));
    drop(subject);
    if let Some(value) = syncs_per_write(options, kind)? {
        figures.push(Figure { line: PUT, metric: SYNCS, value });
    }
    Ok(figures)
}

/// Bytes written for each exchange of a load.
pub fn written(line: &'static str, outcome: &Outcome) -> Figure {
    let bytes = outcome.after.written - outcome.before.written;
    Figure { line, metric: WRITTEN, value: bytes as f64 / outcome.exchanges() }
}

/// Counts, in a short load of its own, the syncs under strace: it stops the agent at these calls only.
fn syncs_per_write(options: &Options, kind: Kind) -> io::Result<Option<f64>> {
    if Command::new("strace").arg("-V").output().is_err() {
        return Ok(None);
    }
    // With -D the agent stays our own child, and the tracer ends with it.
    let tracer = ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-c", "-e", "trace=fsync,fdatasync,msync"];
    let mut subject = Subject::start_below(&tracer, options, kind, Mode::Quick)?;
    subject.wait_for_leadership()?;
    let plan = Plan { clients: CLIENTS, warm_up: Duration::ZERO, length: Duration::from_secs(1) };
    let outcome = load(plan, &subject, write_in_turn)?.without_errors()?;
    let syncs = calls(&subject.kill()?);
    Ok(Some(syncs as f64 / outcome.exchanges()))
}

/// The sum of the column `calls` of strace's table.
fn calls(table: &str) -> u64 {
    let calls = |line: &str| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        match words[..] {
            [_, _, _, calls, .., "fsync" | "fdatasync" | "msync"] => calls.parse::<u64>().ok(),
            _ => None,
        }
    };
    table.lines().filter_map(calls).sum()
}

/// Default reads.
pub fn get(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    read(options, kind, GET, read_key)
}

/// Stale reads.
pub fn stale(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    read(options, kind, STALE, |turn, request| {
        wire::get(request, format_args!("/v1/kv/bench/read/{:04}?stale", turn.pick(KEYS_READ)));
    })
}

fn read(
    options: &Options,
    kind: Kind,
    line: &'static str,
    render: impl Fn(Turn, &mut Vec<u8>) + Copy + Sync + 'static,
) -> io::Result<Vec<Figure>> {
    let mut subject = Subject::ready(options, kind, Mode::Quick)?;
    fill(&mut subject)?;
    let outcome = load(Plan::of(options, CLIENTS), &subject, render)?.without_errors()?;
    Ok(outcome.figures(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_summed_over_the_kinds_of_sync() {
        let table = "% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 90.00    0.002491          49        50           fsync
 10.00    0.000100          10        10         2 fdatasync
------ ----------- ----------- --------- --------- ----------------
100.00    0.002591          49        60         2 total";
        assert_eq!(calls(table), 60);
    }
}
