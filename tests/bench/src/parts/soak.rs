//! Minutes of everything at once: errors, growth, the worst wait.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::http::{Turn, load};
use crate::load::Plan;
use crate::options::{Kind, Options};
use crate::parts::catalog::instances;
use crate::parts::key::{fill, read_key, write_key};
use crate::process::usage;
use crate::report::{ERRORS, Figure, GROWTH, WORST};
use crate::subject::{Mode, Subject};
use crate::wire;

/// The line.
pub const SOAK: &str = "soak, 256 clients";

const CLIENTS: usize = 256;
/// Keys each client writes.
const KEYS_EACH: u64 = 200;

/// Of eight requests four read a key, two write one, one reads a service, one registers an instance of another.
/// The keys and nodes written repeat themselves, so that the data stops growing during the warm-up.
fn mixed(turn: Turn, request: &mut Vec<u8>) {
    match turn.turn % 8 {
        0..4 => read_key(turn, request),
        4 | 5 => write_key(turn, KEYS_EACH, request),
        6 => wire::get(request, format_args!("/v1/health/service/web?passing")),
        _ => register(turn, request),
    }
}

/// The one instance of this client, on a port that changes.
fn register(turn: Turn, request: &mut Vec<u8>) {
    let (client, port) = (turn.client, 1024 + turn.turn % 60_000);
    let body = format!(
        r#"{{"Node":"soak-{client:03}","Address":"10.2.0.1","Service":{{"ID":"api","Service":"api","Port":{port}}}}}"#
    );
    wire::put(request, format_args!("/v1/catalog/register"), body.as_bytes());
}

/// Reads the anonymous memory of a process every second while `act` runs, in bytes.
fn sampled<T>(process: u32, act: impl FnOnce() -> T) -> (T, Vec<u64>) {
    let (done, waiting) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let sampler = scope.spawn(move || {
            let mut samples = Vec::new();
            while waiting.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                samples.extend(usage(process).map(|usage| usage.anonymous));
            }
            samples
        });
        let acted = act();
        drop(done);
        (acted, sampler.join().unwrap_or_default())
    })
}

/// By how many percent the median of the last fifth is above that of the first: a snapshot that is being written moves
/// single samples by a quarter.
fn growth(samples: &[u64]) -> f64 {
    let fifth = samples.len() / 5;
    let median = |part: &[u64]| {
        let mut sorted = part.to_vec();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default() as f64
    };
    let (first, last) = (median(&samples[..fifth]), median(&samples[samples.len() - fifth..]));
    100.0 * (last - first) / first.max(1.0)
}

/// A tenth of the time is warm-up; memory is compared between what follows it and the end.
pub fn soak(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let mut subject = Subject::ready(options, kind, Mode::Quick)?;
    fill(&mut subject)?;
    instances(&subject, "web", 50)?;
    let plan = Plan { clients: CLIENTS, warm_up: options.soak / 10, length: options.soak * 9 / 10 };
    let (outcome, samples) = sampled(subject.id(), || load(plan, &subject, mixed));
    let outcome = outcome?;
    if let Some(error) = &outcome.seen.first_error {
        eprintln!("the first error: {error}");
    }
    let after_warm_up = &samples[samples.len() / 10..];
    let figure = |metric, value| Figure { line: SOAK, metric, value };
    let mut figures = outcome.figures(SOAK);
    figures.push(figure(ERRORS, outcome.seen.errors as f64));
    figures.push(figure(WORST, outcome.seen.latency.longest().as_secs_f64() * 1e3));
    figures.push(figure(GROWTH, growth(after_warm_up)));
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_low_sample_is_no_growth_and_a_slope_is() {
        let mut level = vec![40; 50];
        level[0] = 20;
        assert_eq!(growth(&level), 0.0);
        let slope: Vec<u64> = (100..200).collect();
        assert!(growth(&slope) > 50.0);
    }
}
