//! A durable server with data, stopped and started again.

use std::io;

use crate::http::each;
use crate::options::{Kind, Options};
use crate::report::{ANONYMOUS, DISK, Figure, RESIDENT, TIME, mib};
use crate::subject::{Mode, Subject, Target};
use crate::wire;

/// The line.
pub const RESTART: &str = "restart with 100 000 keys";

const KEYS: u64 = 100_000;
const CLIENTS: usize = 64;

/// Stopped by a signal, started again, and asked for the last key until it answers.
pub fn restart(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let mut subject = Subject::ready(options, kind, Mode::Quick)?;
    each(&subject, CLIENTS, KEYS, |number, request| {
        wire::put(request, format_args!("/v1/kv/bench/{number:06}"), &[b'v'; 100]);
    })?;
    subject.settle()?;
    subject.restart(options)?;
    subject.wait_until(&format!("/v1/kv/bench/{:06}", KEYS - 1), |body| !body.is_empty())?;
    let time = subject.started.elapsed();
    subject.settle()?;
    let usage = subject.usage()?;
    let figure = |metric, value| Figure { line: RESTART, metric, value };
    Ok(vec![
        figure(TIME, time.as_secs_f64() * 1e3),
        figure(RESIDENT, mib(usage.resident)),
        figure(ANONYMOUS, mib(usage.anonymous)),
        figure(DISK, mib(subject.size_on_disk()?)),
    ])
}
