//! DNS over UDP: addresses and ports of a small and of a large service.

use std::io;

use crate::dns::{A, SRV, load};
use crate::load::Plan;
use crate::options::{Kind, Options};
use crate::parts::catalog::instances;
use crate::report::Figure;
use crate::subject::{Mode, Subject};

/// The line of addresses of three instances.
pub const A_3: &str = "DNS A, 3 instances";
/// The line of ports of three instances.
pub const SRV_3: &str = "DNS SRV, 3 instances";
/// The line of addresses of fifty instances.
pub const A_50: &str = "DNS A, 50 instances";
/// The line of ports of fifty instances.
pub const SRV_50: &str = "DNS SRV, 50 instances";

const CLIENTS: usize = 64;
const SMALL: &str = "small.service.consul";
const LARGE: &str = "large.service.consul";
const LINES: [(&str, &str, u16); 4] = [(A_3, SMALL, A), (SRV_3, SMALL, SRV), (A_50, LARGE, A), (SRV_50, LARGE, SRV)];

/// The four lines, one after the other on one process; the limit echoes the same packets for all of them.
pub fn dns(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    // Four loads to a turn: shorter ones keep the part under two minutes.
    let plan = Plan { clients: CLIENTS, warm_up: options.warm_up / 2, length: options.length * 2 / 3 };
    if kind == Kind::Limit {
        let mut subject = Subject::start(options, kind, Mode::Quick)?;
        subject.wait_until("/", |_| true)?;
        let outcome = load(plan, &subject, SMALL, A)?.without_errors()?;
        return Ok(LINES.iter().flat_map(|(line, ..)| outcome.figures(line)).collect());
    }
    let subject = Subject::ready(options, kind, Mode::Quick)?;
    instances(&subject, "small", 3)?;
    instances(&subject, "large", 50)?;
    let mut figures = Vec::new();
    for (line, name, kind) in LINES {
        figures.extend(load(plan, &subject, name, kind)?.without_errors()?.figures(line));
    }
    Ok(figures)
}
