//! What an agent is started with: the configuration, sorted by the room that uses it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use agent_core::dns::DnsConfig;
use agent_core::local::{self, Definitions};
use agent_core::state::tables::Node;
use agent_raft::Timing;

use crate::env::ListenAddress;
use crate::http::{Identity, Limits};

/// The settings of one agent.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who it is.
    pub identity: Identity,
    /// Bounds and habits of the HTTP API.
    pub limits: Limits,
    /// Where the HTTP API listens.
    pub http: Vec<ListenAddress>,
    /// Where DNS listens; empty switches it off.
    pub dns_addresses: Vec<SocketAddr>,
    /// How DNS answers.
    pub dns: DnsConfig,
    /// Where servers reach this one.
    pub rpc_address: SocketAddr,
    /// Raft's clock.
    pub timing: Timing,
    /// How checks are run and synced.
    pub local: local::Settings,
    /// Services and checks from configuration files.
    pub definitions: Definitions,
    /// Where the Raft log and definitions registered over HTTP are kept; `None` keeps nothing.
    pub data_dir: Option<PathBuf>,
    /// The host in the names of gauges; empty for none.
    pub metrics_host: String,
}

impl Settings {
    /// A lone server called `node_name` that keeps nothing on disk, for tests and the simulator.
    pub fn alone(node_name: &str, node_id: &str, http: SocketAddr, seed: u64) -> Settings {
        let address = http.ip().to_string();
        let identity = Identity {
            datacenter: "dc1".to_owned(),
            node_name: node_name.to_owned(),
            node_id: node_id.to_owned(),
            address: address.clone(),
            rpc_port: 8300,
            serf_port: 8301,
            server: true,
            bootstrap: true,
            ..Identity::default()
        };
        let node = Node { id: node_id.to_owned(), name: node_name.to_owned(), address, ..Node::default() };
        Settings {
            identity,
            limits: Limits::default(),
            http: vec![ListenAddress::Tcp(http)],
            dns_addresses: Vec::new(),
            dns: DnsConfig::default(),
            rpc_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8300)),
            timing: Timing::default(),
            local: local::Settings::new(node, seed),
            definitions: Definitions::default(),
            data_dir: None,
            metrics_host: String::new(),
        }
    }
}
