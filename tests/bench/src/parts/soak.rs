//! Minutes of everything at once: errors, growth, the worst wait.

use std::io;

use crate::http::{Turn, load};
use crate::load::Plan;
use crate::options::{Kind, Options};
use crate::parts::catalog::instances;
use crate::parts::key::{fill, read_key, write_key};
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

/// A tenth of the time is warm-up; memory is compared between its end and the end of the soak.
pub fn soak(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let mut subject = Subject::ready(options, kind, Mode::Quick)?;
    fill(&mut subject)?;
    instances(&subject, "web", 50)?;
    let plan = Plan { clients: CLIENTS, warm_up: options.soak / 10, length: options.soak * 9 / 10 };
    let outcome = load(plan, &subject, mixed)?;
    if let Some(error) = &outcome.seen.first_error {
        eprintln!("the first error: {error}");
    }
    let (before, after) = (outcome.before.anonymous as f64, outcome.after.anonymous as f64);
    let figure = |metric, value| Figure { line: SOAK, metric, value };
    let mut figures = outcome.figures(SOAK);
    figures.push(figure(ERRORS, outcome.seen.errors as f64));
    figures.push(figure(WORST, outcome.seen.latency.longest().as_secs_f64() * 1e3));
    figures.push(figure(GROWTH, 100.0 * (after - before) / before));
    Ok(figures)
}
