//! From nothing to service: a development agent, and a new durable server.

use std::io;

use crate::options::{Kind, Options};
use crate::report::{Figure, TIME};
use crate::subject::{Mode, Subject};

/// The line of the development agent.
pub const DEV: &str = "start of -dev to a leader";
/// The line of the durable server.
pub const DURABLE: &str = "new server to its first PUT";

/// Each with the timing of a fresh installation.
pub fn start(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let dev = Subject::ready(options, kind, Mode::Dev)?;
    let leads = dev.started.elapsed();
    drop(dev);
    let mut durable = Subject::ready(options, kind, Mode::Durable)?;
    durable.caller.put("/v1/kv/first", b"write")?;
    let wrote = durable.started.elapsed();
    let figure = |line, value: std::time::Duration| Figure { line, metric: TIME, value: value.as_secs_f64() * 1e3 };
    Ok(vec![figure(DEV, leads), figure(DURABLE, wrote)])
}
