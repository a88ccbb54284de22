//! The leader of three servers is killed: how long until another one takes writes, and until its node is critical.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::options::{Kind, Options};
use crate::report::{Figure, TIME};
use crate::subject::{Mode, Subject, Target};

/// Until writes are taken again, with the timing of a fresh installation.
pub const WRITES: &str = "kill -9 of the leader to the next write, default timing";
/// The same with `raft_multiplier = 1`.
pub const WRITES_QUICK: &str = "kill -9 of the leader to the next write, raft_multiplier 1";
/// Until the health of the dead host is critical.
pub const HEALTH: &str = "kill -9 of the leader to its serfHealth critical, default timing";
/// The same with `raft_multiplier = 1`.
pub const HEALTH_QUICK: &str = "kill -9 of the leader to its serfHealth critical, raft_multiplier 1";

const PATIENCE: Duration = Duration::from_secs(60);

/// Both timings, each with a cluster of its own.
pub fn failover(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let mut figures = lose_leader(options, kind, Mode::Durable, WRITES, HEALTH)?;
    figures.extend(lose_leader(options, kind, Mode::Quick, WRITES_QUICK, HEALTH_QUICK)?);
    Ok(figures)
}

fn lose_leader(
    options: &Options,
    kind: Kind,
    mode: Mode,
    writes: &'static str,
    health: &'static str,
) -> io::Result<Vec<Figure>> {
    let mut cluster = Cluster::ready(options, kind, mode, 0)?;
    // The catalog shows all three, so that there is something to turn critical.
    for place in 0..cluster.servers.len() {
        let path = node(&cluster.servers[place]);
        cluster.servers[0].wait_until(&path, |body| body.windows(7).any(|part| part == b"passing"))?;
    }
    let leader = cluster.leader()?;
    let dead = cluster.servers.remove(leader);
    let path = format!("{}?stale", node(&dead));
    let survivor = &mut cluster.servers[0];
    survivor.caller.put("/v1/kv/before", b"x")?;
    let killed = Instant::now();
    dead.kill()?;
    // A server holds a write for a while and then says that there is no leader.
    while survivor.caller.put("/v1/kv/after", b"x").is_err() {
        if killed.elapsed() > PATIENCE {
            return Err(io::Error::other("no write was taken again"));
        }
        survivor.pause(Duration::from_millis(5));
    }
    let wrote = killed.elapsed();
    survivor.wait_until(&path, |body| body.windows(8).any(|part| part == b"critical"))?;
    let critical = killed.elapsed();
    let figure = |line, time: Duration| Figure { line, metric: TIME, value: time.as_secs_f64() * 1e3 };
    Ok(vec![figure(writes, wrote), figure(health, critical)])
}

fn node(server: &Subject) -> String {
    format!("/v1/health/node/n-{}", server.address.to_string().replace('.', "-"))
}
