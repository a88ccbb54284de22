//! A durable server nobody asks anything.

use std::io;
use std::time::Duration;

use crate::options::{Kind, Options};
use crate::report::{ANONYMOUS, Figure, RESIDENT, SHARE, TOTAL_WRITTEN, mib};
use crate::subject::{Mode, Subject, Target};

/// The line.
pub const IDLE: &str = "idle for 60 s";

const WATCHED: Duration = Duration::from_secs(60);

/// From the moment it has settled. Idle processes do not disturb each other, so all are watched at once.
pub fn idle(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let subject = Subject::ready(options, kind, Mode::Durable)?;
    subject.settle()?;
    let before = subject.usage()?;
    subject.caller.pause(WATCHED);
    let after = subject.usage()?;
    let figure = |metric, value| Figure { line: IDLE, metric, value };
    Ok(vec![
        figure(RESIDENT, mib(after.resident)),
        figure(ANONYMOUS, mib(after.anonymous)),
        figure(SHARE, 100.0 * (after.cpu - before.cpu).as_secs_f64() / WATCHED.as_secs_f64()),
        figure(TOTAL_WRITTEN, (after.written - before.written) as f64 / 1024.0),
    ])
}
