//! Three servers on one machine: durable writes at the leader, reads by way of a follower and of a client agent.

use std::io;

use super::key::{fill, read_key, write_key, written};
use crate::cluster::Cluster;
use crate::etcd;
use crate::http::{Turn, load};
use crate::load::Plan;
use crate::options::{Kind, Options};
use crate::report::Figure;
use crate::subject::Mode;
use crate::wire;

/// The line of writes.
pub const PUT: &str = "KV PUT, three servers";
/// The line of default reads through a follower.
pub const FOLLOWER: &str = "KV GET through a follower";
/// The line of consistent reads through a follower.
pub const FOLLOWER_CONSISTENT: &str = "KV GET ?consistent through a follower";
/// The line of default reads through a client.
pub const CLIENT: &str = "KV GET through a client";
/// The line of consistent reads through a client.
pub const CLIENT_CONSISTENT: &str = "KV GET ?consistent through a client";

const CLIENTS: usize = 64;
/// Keys each client writes in turn; they bound the data.
const KEYS_EACH: u64 = 1_000;

/// Writes at the leader.
pub fn put(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let mut cluster = Cluster::ready(options, kind, Mode::Quick, 0)?;
    let plan = Plan::of(options, CLIENTS);
    let leader = cluster.leader()?;
    let target = cluster.by_way_of(&cluster.servers[leader]);
    let outcome = match kind {
        Kind::Etcd => etcd::load(plan, &target, KEYS_EACH)?,
        Kind::Lictor | Kind::Consul | Kind::Limit => {
            load(plan, &target, |turn, request| write_key(turn, KEYS_EACH, request))?
        }
    };
    let outcome = outcome.without_errors()?;
    let mut figures = outcome.figures(PUT);
    figures.push(written(PUT, &outcome));
    Ok(figures)
}

fn read_consistently(turn: Turn, request: &mut Vec<u8>) {
    wire::get(request, format_args!("/v1/kv/bench/read/{:04}?consistent", turn.pick(1_000)));
}

/// Reads.
pub fn get(options: &Options, kind: Kind) -> io::Result<Vec<Figure>> {
    let mut cluster = Cluster::ready(options, kind, Mode::Quick, 1)?;
    let leader = cluster.leader()?;
    fill(&mut cluster.servers[leader])?;
    let follower = &cluster.servers[(leader + 1) % cluster.servers.len()];
    let client = &cluster.clients[0];
    let plan = Plan::of(options, CLIENTS);
    let mut figures = Vec::new();
    for (line, consistent_line, asked) in
        [(FOLLOWER, FOLLOWER_CONSISTENT, follower), (CLIENT, CLIENT_CONSISTENT, client)]
    {
        let target = cluster.by_way_of(asked);
        figures.extend(load(plan, &target, read_key)?.without_errors()?.figures(line));
        figures.extend(load(plan, &target, read_consistently)?.without_errors()?.figures(consistent_line));
    }
    Ok(figures)
}
