//! A hundred agents that have nothing to do: three servers and 97 clients, real processes all of them.

use std::io;
use std::time::Duration;

use crate::cluster::{Cluster, SERVERS};
use crate::options::{Kind, Options};
use crate::process::Usage;
use crate::report::{ANONYMOUS, Figure, Metric, RESIDENT, SHARE, TOTAL_WRITTEN, mib};
use crate::subject::{Mode, Subject, Target};

/// The line of servers.
pub const SERVER: &str = "one of 3 servers in a pool of 100, idle for 60 s";
/// The line of clients.
pub const CLIENT: &str = "one of 97 clients, idle for 60 s";

const MEMBERS: usize = 100;
/// After the last one joined: gossip spreads, the catalog is written, logs are compacted.
const SETTLE: Duration = Duration::from_secs(45);
const WATCHED: Duration = Duration::from_secs(60);

/// Means over the servers, and over the clients.
pub fn pool(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let mut cluster = Cluster::ready(options, kind, Mode::Durable, MEMBERS - SERVERS)?;
    let all_passing = |body: &[u8]| body.windows(12).filter(|part| part == b"\"serfHealth\"").count() == MEMBERS;
    cluster.servers[0].wait_until("/v1/health/state/passing", all_passing)?;
    cluster.servers[0].pause(SETTLE);
    let look = |agents: &[Subject]| agents.iter().map(Subject::usage).collect::<io::Result<Vec<Usage>>>();
    let before = (look(&cluster.servers)?, look(&cluster.clients)?);
    cluster.servers[0].pause(WATCHED);
    let after = (look(&cluster.servers)?, look(&cluster.clients)?);
    let mut figures = means(SERVER, &before.0, &after.0);
    figures.extend(means(CLIENT, &before.1, &after.1));
    Ok(figures)
}

fn means(line: &'static str, before: &[Usage], after: &[Usage]) -> Vec<Figure> {
    let mean = |of: &dyn Fn(&Usage, &Usage) -> f64| {
        before.iter().zip(after).map(|(before, after)| of(before, after)).sum::<f64>() / before.len() as f64
    };
    let figure = |metric: Metric, value| Figure { line, metric, value };
    vec![
        figure(RESIDENT, mean(&|_, after| mib(after.resident))),
        figure(ANONYMOUS, mean(&|_, after| mib(after.anonymous))),
        figure(SHARE, mean(&|before, after| 100.0 * (after.cpu - before.cpu).as_secs_f64() / WATCHED.as_secs_f64())),
        figure(TOTAL_WRITTEN, mean(&|before, after| (after.written - before.written) as f64 / 1024.0)),
    ]
}
