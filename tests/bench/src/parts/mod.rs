//! The parts, one file for each scene; a turn of a part measures one process once.

pub mod catalog;
pub mod cluster;
pub mod dns;
pub mod failover;
pub mod idle;
pub mod key;
pub mod plugin;
pub mod pool;
pub mod register;
pub mod restart;
pub mod soak;
pub mod start;
pub mod watch;

use std::io;

use crate::options::{Kind, Options};
use crate::report::Figure;

/// One thing to measure.
pub struct Part {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Who takes part.
    pub kinds: &'static [Kind],
    /// All turns at once, for processes that do nothing.
    pub together: bool,
    /// Runs only when named, and once.
    pub long: bool,
    /// Measures one of them once.
    pub turn: fn(&Options, Kind) -> io::Result<Vec<Figure>>,
}

const BOTH: &[Kind] = &[Kind::Lictor, Kind::Consul];
const ALL: &[Kind] = &[Kind::Lictor, Kind::Consul, Kind::Limit];

const STORES: &[Kind] = &[Kind::Lictor, Kind::Consul, Kind::Etcd];

const fn part(
    name: &'static str,
    about: &'static str,
    kinds: &'static [Kind],
    turn: fn(&Options, Kind) -> io::Result<Vec<Figure>>,
) -> Part {
    Part { name, about, kinds, together: false, long: false, turn }
}

/// Every part, in the order of a run.
pub const PARTS: &[Part] = &[
    part("put", "durable writes of 100 bytes, 64 clients", ALL, key::put),
    part("get", "reads of 100 bytes, 64 clients", ALL, key::get),
    part("stale", "the same with ?stale", ALL, key::stale),
    part("health", "health/service of 50 instances, 64 clients", BOTH, catalog::health),
    part("services", "catalog/services of 200 services, 64 clients", BOTH, catalog::services),
    part("register", "catalog/register, 64 clients", BOTH, register::register),
    part("dns", "A and SRV with 3 and 50 instances, 64 clients", ALL, dns::dns),
    part("start", "-dev to a leader; a new durable server to its first write", BOTH, start::start),
    part("restart", "a durable server with 100 000 keys of 100 bytes", BOTH, restart::restart),
    Part { together: true, ..part("idle", "sixty seconds of nothing, all at once", BOTH, idle::idle) },
    part("watch", "10 000 blocking queries, on one key and on as many keys", ALL, watch::watch),
    part("cluster-put", "durable writes on three servers, 64 clients", STORES, cluster::put),
    part("cluster-get", "reads through a follower and through a client agent, 64 clients", BOTH, cluster::get),
    part("plugin", "checks that do nothing, 100 a second: plugins here, scripts in Consul", BOTH, plugin::plugin),
    part("failover", "kill -9 of the leader of three servers", BOTH, failover::failover),
    Part { long: true, ..part("pool", "a pool of three servers and 97 clients, idle", BOTH, pool::pool) },
    Part { long: true, ..part("soak", "full load from 256 connections", &[Kind::Lictor], soak::soak) },
];
