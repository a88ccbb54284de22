//! What an agent is started with: the configuration, sorted by the room that uses it.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use agent_core::dns::DnsConfig;
use agent_core::local::{self, Definitions, ScriptPolicy};
use agent_core::state::tables::{AutopilotConfig, Node};
use agent_raft::Timing;

use crate::config::{self, Config, Resources, UnixSockets};
use crate::env::{Env, ListenAddress};
use crate::gossip;
use crate::http::{Adjustable, Identity, Limits};
use crate::persist::Persist;
use crate::plugin::HostOptions;
use crate::telemetry::{LogOptions, Naming};

/// The settings of one agent.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who it is.
    pub identity: Identity,
    /// Bounds and habits of the HTTP API.
    pub limits: Limits,
    /// What of it may change while the agent runs.
    pub adjustable: Adjustable,
    /// Where the HTTP API listens.
    pub http: Vec<ListenAddress>,
    /// Owner and mode of the Unix sockets among them.
    pub unix_sockets: UnixSockets,
    /// Where DNS listens; empty switches it off.
    pub dns_addresses: Vec<SocketAddr>,
    /// How DNS answers.
    pub dns: DnsConfig,
    /// Where servers reach this one.
    pub rpc_address: SocketAddr,
    /// Where its RPC listens.
    pub rpc_bind: SocketAddr,
    /// How many servers form a new cluster together; zero when this one does alone or joins one.
    pub expect: usize,
    /// When servers get a vote, and when dead ones go, until an operator says otherwise.
    pub autopilot: AutopilotConfig,
    /// Whether it becomes a data centre of one when its disk knows of none.
    pub elects_itself: bool,
    /// Raft's clock.
    pub timing: Timing,
    /// How long a write or read waits for a leader, or for a server to answer.
    pub hold_time: Duration,
    /// The LAN pool.
    pub gossip: gossip::Settings,
    /// How checks are run and synced.
    pub local: local::Settings,
    /// Services and checks from configuration files.
    pub definitions: Definitions,
    /// Where the Raft log and definitions registered over HTTP are kept; `None` keeps nothing.
    pub data_dir: Option<PathBuf>,
    /// How metrics are called, and which are shown.
    pub metrics: Naming,
    /// What it takes of the host.
    pub resources: Resources,
    /// How much memory may be resident, in bytes, before things are given up; `None` leaves that to the kernel.
    pub memory_bytes_max: Option<u64>,
}

/// The id of this node: as configured, as kept in the data directory, or a new one that is kept from now on.
///
/// # Errors
/// The data directory can't be read or written. The text names the file.
pub fn node_id(config: &Config, persist: Option<&Persist>, env: &Env) -> io::Result<String> {
    match (&config.identity.node_id, persist) {
        (Some(id), _) => Ok(id.clone()),
        (None, Some(persist)) => persist.node_id(|| env.uuid()),
        (None, None) => Ok(env.uuid()),
    }
}

impl Settings {
    /// What a configuration means. `seed` spreads checks and syncs in time.
    pub fn of(config: &Config, node_id: String, definitions: Definitions, seed: u64) -> Settings {
        let rpc_port = config.network.ports.server.unwrap_or(0);
        let identity = Identity {
            datacenter: config.identity.datacenter.clone(),
            node_name: config.identity.node_name.clone(),
            node_id,
            address: config.network.advertise.to_string(),
            rpc_port,
            serf_port: config.network.ports.serf_lan.unwrap_or(0),
            server: config.server.enabled,
            bootstrap: config.server.bootstrap,
        };
        Settings {
            limits: limits(config),
            adjustable: adjustable(&config.identity.node_meta, config.limits.http_conns_per_client_max),
            http: config.network.http.clone(),
            unix_sockets: config.unix_sockets.clone(),
            dns_addresses: config.network.dns.clone(),
            dns: config.dns.clone(),
            rpc_address: SocketAddr::new(config.network.advertise, rpc_port),
            rpc_bind: SocketAddr::new(config.network.bind, rpc_port),
            expect: config.server.bootstrap_expect as usize,
            autopilot: config.autopilot.clone(),
            elects_itself: config.dev || config.server.bootstrap || config.server.bootstrap_expect == 1,
            timing: timing(config.server.raft_multiplier),
            hold_time: config.limits.rpc_hold_timeout,
            gossip: gossip_of(config, &identity),
            local: local::Settings {
                scripts: ScriptPolicy {
                    from_config: config.checks.scripts_from_files,
                    from_api: config.checks.scripts_from_http,
                },
                check_update_interval: config.checks.update_interval,
                discard_check_output: config.checks.discard_output,
                output_bytes_max: config.checks.output_bytes_max,
                plugins: config.plugins.declared.keys().map(|name| (name.clone(), None)).collect(),
                ..local::Settings::new(node(config, &identity), seed)
            },
            definitions,
            data_dir: config.data_dir.clone(),
            metrics: naming(&config.telemetry, &identity.node_name),
            resources: config.resources,
            memory_bytes_max: config.limits.memory_bytes_max,
            identity,
        }
    }

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
        };
        let node = Node { id: node_id.to_owned(), name: node_name.to_owned(), address, ..Node::default() };
        Settings {
            limits: Limits::default(),
            adjustable: Adjustable::default(),
            http: vec![ListenAddress::Tcp(http)],
            unix_sockets: UnixSockets::default(),
            dns_addresses: Vec::new(),
            dns: DnsConfig::default(),
            rpc_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8300)),
            rpc_bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            expect: 0,
            autopilot: AutopilotConfig::default(),
            elects_itself: true,
            timing: Timing::default(),
            hold_time: Duration::from_secs(7),
            gossip: gossip::Settings::lan(who(&identity, 0), SocketAddr::new(http.ip(), 0)),
            local: local::Settings::new(node, seed),
            definitions: Definitions::default(),
            data_dir: None,
            metrics: Naming { node: node_name.to_owned(), ..Naming::default() },
            resources: Resources::default(),
            memory_bytes_max: None,
            identity,
        }
    }
}

/// Who this agent is in its pool.
fn who(identity: &Identity, expect: u32) -> gossip::Identity {
    gossip::Identity {
        name: identity.node_name.clone(),
        id: identity.node_id.clone(),
        datacenter: identity.datacenter.clone(),
        server_port: identity.server.then_some(identity.rpc_port),
        bootstrap: identity.bootstrap,
        expect,
        cluster: None,
    }
}

/// The LAN pool of this configuration.
fn gossip_of(config: &Config, identity: &Identity) -> gossip::Settings {
    let wanted = config.gossip.clone();
    let port = config.network.ports.serf_lan.unwrap_or(0);
    gossip::Settings {
        identity: who(identity, config.server.bootstrap_expect),
        bind: SocketAddr::new(wanted.bind.unwrap_or(config.network.bind), port),
        advertise: SocketAddr::new(config.network.advertise, port),
        timing: wanted.timing,
        allowed: wanted.allowed,
        key: wanted.key,
        verify_incoming: wanted.verify_incoming,
        verify_outgoing: wanted.verify_outgoing,
        reconnect_timeout: wanted.reconnect_timeout,
        data_dir: config.data_dir.clone(),
        keyring_file: wanted.keyring_file,
        rejoin_after_leave: wanted.rejoin_after_leave,
        start_join: wanted.start_join,
        retry_join: wanted.retry_join,
    }
}

/// What the host of this agent's plugins needs.
pub fn plugin_host(config: &Config) -> HostOptions {
    HostOptions {
        cache: config.data_dir.as_ref().map(|folder| folder.join("plugins").join("compiled")),
        memory_bytes_max: config.plugins.memory_bytes_max,
    }
}

/// The node's metadata as others see them: Consul adds one on every node, which its templates and filters know.
pub(super) fn node_meta(written: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut meta = written.clone();
    meta.insert("consul-network-segment".to_owned(), String::new());
    meta
}

/// Of the configuration what the API takes while it runs; no connections at all stands for no limit.
pub(super) fn adjustable(node_meta_written: &BTreeMap<String, String>, conns_per_client_max: usize) -> Adjustable {
    let connections_per_client_max = if conns_per_client_max == 0 { usize::MAX } else { conns_per_client_max };
    Adjustable { meta: node_meta(node_meta_written), connections_per_client_max }
}

fn limits(config: &Config) -> Limits {
    let bytes = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Limits {
        kv_value_bytes_max: bytes(config.limits.kv_value_bytes_max),
        txn_bytes_max: bytes(config.limits.txn_bytes_max),
        buffer_bytes_max: config.resources.http_buffer_bytes_max,
        wait_default_ms: ms(config.limits.query_time_default),
        wait_max_ms: ms(config.limits.query_time_max),
        session_ttl_min_ms: ms(config.limits.session_ttl_min),
        pretty: config.dev,
        response_headers: config.http.response_headers.clone(),
        blocked: config.http.block_endpoints.clone(),
        writers: config.http.allow_write_http_from.clone(),
        plugin_trust: config.plugins.trusted.clone(),
    }
}

/// The host is the machine's name even where the node has another, as in Consul.
fn naming(telemetry: &config::checked::Telemetry, node_name: &str) -> Naming {
    Naming {
        prefix: telemetry.prefix.clone(),
        host: if telemetry.disable_hostname { String::new() } else { config::hostname() },
        node: node_name.to_owned(),
        allow: telemetry.allow.clone(),
        block: telemetry.block.clone(),
        keep_unmatched: telemetry.keep_unmatched,
    }
}

/// Raft's timeouts, stretched for slow hosts. Ours at the default of 5 are about as quick as Consul's at 1.
fn timing(multiplier: u32) -> Timing {
    let Timing { heartbeat, election_min, election_max } = Timing::default();
    // Consul's default of 5 stands for twice our own: half the heartbeats, and a new leader within two seconds.
    let stretch = |time: Duration| time * (2 * multiplier.max(1)) / 5;
    let heartbeat = stretch(heartbeat).max(heartbeat / 2);
    Timing {
        heartbeat,
        election_min: stretch(election_min).max(heartbeat * 3),
        election_max: stretch(election_max).max(heartbeat * 6),
    }
}

/// This agent's node record, as anti-entropy writes it into the catalog.
fn node(config: &Config, identity: &Identity) -> Node {
    let family = if config.network.advertise.is_ipv4() { "ipv4" } else { "ipv6" };
    let names = ["lan".to_owned(), format!("lan_{family}"), "wan".to_owned(), format!("wan_{family}")];
    let mut tagged_addresses: BTreeMap<String, String> =
        names.into_iter().map(|name| (name, identity.address.clone())).collect();
    tagged_addresses.extend(config.identity.tagged_addresses.clone());
    Node {
        id: identity.node_id.clone(),
        name: identity.node_name.clone(),
        address: identity.address.clone(),
        tagged_addresses,
        meta: node_meta(&config.identity.node_meta),
        ..Node::default()
    }
}

/// The log of this configuration; files that have no name of their own are called after the agent.
pub fn log_options(log: &config::checked::Log, agent_name: &str) -> LogOptions {
    LogOptions {
        level: log.level,
        json: log.json,
        file: log.file.clone(),
        stem: agent_name.to_ascii_lowercase(),
        rotate_bytes: log.rotate_bytes,
        rotate_ms: u64::try_from(log.rotate_duration.as_millis()).unwrap_or(u64::MAX),
        rotate_files_max: log.rotate_files_max,
    }
}
