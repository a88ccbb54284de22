//! Several processes that are one cluster: three servers, and clients if a part needs them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use real::agent::own_address;

use crate::options::{Kind, Options};
use crate::process::Usage;
use crate::subject::{Mode, Role, Subject, Target};

/// How many servers there are.
pub const SERVERS: usize = 3;

/// Three servers and any number of clients.
pub struct Cluster {
    /// The servers.
    pub servers: Vec<Subject>,
    /// The clients.
    pub clients: Vec<Subject>,
}

impl Cluster {
    /// Starts one and waits until its servers agree on a leader and its clients know it.
    ///
    /// # Errors
    /// A process cannot be started, or it takes too long.
    pub fn ready(options: &Options, kind: Kind, mode: Mode, clients: usize) -> io::Result<Cluster> {
        let addresses: Vec<Ipv4Addr> = (0..SERVERS).map(|_| own_address()).collect();
        let server =
            |address: &Ipv4Addr| Subject::start_at(*address, Role::Server(addresses.clone()), &[], options, kind, mode);
        let servers = addresses.iter().map(server).collect::<io::Result<Vec<_>>>()?;
        let mut cluster = Cluster { servers, clients: Vec::new() };
        if kind == Kind::Etcd {
            for server in &mut cluster.servers {
                server.wait_until("/health", |body| body.windows(6).any(|part| part == b"\"true\""))?;
            }
            return Ok(cluster);
        }
        let is_settled = |body: &[u8]| body.windows(5).filter(|part| part == b":8300").count() == SERVERS;
        for server in &mut cluster.servers {
            server.wait_for_leadership()?;
            server.wait_until("/v1/status/peers", is_settled)?;
        }
        for _ in 0..clients {
            let role = Role::Client(addresses.clone());
            cluster.clients.push(Subject::start_at(own_address(), role, &[], options, kind, mode)?);
        }
        cluster.clients.iter_mut().try_for_each(Subject::wait_for_leadership)?;
        Ok(cluster)
    }

    /// The place of the leader among the servers.
    ///
    /// # Errors
    /// There is none.
    pub fn leader(&mut self) -> io::Result<usize> {
        if self.servers[0].kind == Kind::Etcd {
            let leads = |server: &mut Subject| {
                let said = server.caller.get("/metrics");
                said.is_ok_and(|said| String::from_utf8_lossy(&said).contains("\netcd_server_is_leader 1"))
            };
            return self.servers.iter_mut().position(leads).ok_or_else(|| io::Error::other("no etcd leads"));
        }
        self.servers[0].wait_until("/v1/status/leader", |said| said.contains(&b':'))?;
        let said = self.servers[0].caller.get("/v1/status/leader")?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let is_leader = |server: &Subject| said.contains(&format!("\"{}:", server.address));
        self.servers.iter().position(is_leader).ok_or_else(|| io::Error::other(format!("the leader is {said}")))
    }

    /// The whole, asked by way of one of them.
    pub fn by_way_of<'a>(&'a self, asked: &'a Subject) -> ByWayOf<'a> {
        ByWayOf { cluster: self, asked }
    }
}

/// A cluster that is asked by way of one member.
pub struct ByWayOf<'a> {
    cluster: &'a Cluster,
    asked: &'a Subject,
}

impl Target for ByWayOf<'_> {
    fn api(&self) -> SocketAddr {
        self.asked.api()
    }

    fn pause(&self, length: Duration) {
        self.asked.pause(length);
    }

    /// Processor time and written bytes of all together, memory of whoever has most.
    fn usage(&self) -> io::Result<Usage> {
        let members = self.cluster.servers.iter().chain(&self.cluster.clients);
        members.map(Subject::usage).try_fold(Usage::default(), |sum, one| {
            let one = one?;
            Ok(Usage {
                cpu: sum.cpu + one.cpu,
                children: sum.children + one.children,
                written: sum.written + one.written,
                resident: sum.resident.max(one.resident),
                anonymous: sum.anonymous.max(one.anonymous),
            })
        })
    }
}
