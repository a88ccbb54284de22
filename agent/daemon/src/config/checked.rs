//! The configuration as used: small groups of plain values, each handed to the room that needs it.
//!
//! Owns what the values are; how they come from what was written, with
//! defaults and validation, is in `build`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use agent_core::dns::DnsConfig;
use agent_core::gossip::{self, Timing};
use agent_core::plugin::signature::PublicKey;
use agent_core::state::tables::AutopilotConfig;

pub use super::address::Network;
use super::resources::Resources;
use crate::env::ListenAddress;
pub use crate::gossip::RetryJoin;
use crate::plugin::Declared;
use crate::telemetry::Level;

/// Everything an operator decides, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Who the agent is.
    pub identity: Identity,
    /// Where it listens and what it tells others.
    pub network: NetworkConfig,
    /// Whether it is a server, and how that one starts.
    pub server: Server,
    /// How the first leader cares for the servers; its indexes are zero.
    pub autopilot: AutopilotConfig,
    /// `-dev`: a lone server that keeps nothing.
    pub dev: bool,
    /// The folder for state; `None` only in `-dev` without one.
    pub data_dir: Option<PathBuf>,
    /// The file that holds the process id.
    pub pid_file: Option<PathBuf>,
    /// DNS policy, domains and recursors.
    pub dns: DnsConfig,
    /// Whether DNS may be answered from a server that is not the leader.
    pub dns_allow_stale: bool,
    /// How far behind the leader a DNS answer may be.
    pub dns_max_stale: Duration,
    /// Bounds of requests.
    pub limits: Limits,
    /// Habits of the HTTP API.
    pub http: Http,
    /// Habits of health checks.
    pub checks: Checks,
    /// Plugins.
    pub plugins: Plugins,
    /// What it takes of the host (`profile`).
    pub resources: Resources,
    /// Logs.
    pub log: Log,
    /// What signals do.
    pub leave: Leave,
    /// The pool of this data centre's agents.
    pub gossip: Gossip,
    /// Metrics.
    pub telemetry: Telemetry,
    /// The web UI.
    pub ui: Ui,
    /// Owner and mode of Unix sockets.
    pub unix_sockets: UnixSockets,
    /// Serve profiles under `/debug/pprof`.
    pub enable_debug: bool,
}

/// Who the agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node's name.
    pub node_name: String,
    /// The node's UUID in lower case; `None` when one is to be found in the data folder or made up.
    pub node_id: Option<String>,
    /// The data centre, lower case.
    pub datacenter: String,
    /// Metadata of the node.
    pub node_meta: BTreeMap<String, String>,
    /// Extra addresses of the node by name.
    pub tagged_addresses: BTreeMap<String, String>,
}

/// Plugins and what they share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugins {
    /// Those this agent runs, by name.
    pub declared: Declared,
    /// What all runs may take together, in bytes (`plugin_memory_max`).
    pub memory_bytes_max: u64,
    /// Who must have signed what is published and run; empty for nobody (`plugin_trust`).
    pub trusted: Vec<PublicKey>,
}

/// Where the agent listens and what it tells others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// For traffic between agents; may be unspecified.
    pub bind: IpAddr,
    /// What other agents are told; never unspecified.
    pub advertise: IpAddr,
    /// The HTTP API; empty when it is off.
    pub http: Vec<ListenAddress>,
    /// DNS over UDP and TCP; empty when it is off.
    pub dns: Vec<SocketAddr>,
    /// Port numbers.
    pub ports: Ports,
}

/// Port numbers; `None` is off, zero lets the system choose (never from a file).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// DNS.
    pub dns: Option<u16>,
    /// The HTTP API.
    pub http: Option<u16>,
    /// The HTTP API with TLS.
    pub https: Option<u16>,
    /// gRPC.
    pub grpc: Option<u16>,
    /// Agents to servers, and Raft.
    pub server: Option<u16>,
    /// LAN gossip.
    pub serf_lan: Option<u16>,
    /// WAN gossip.
    pub serf_wan: Option<u16>,
}

/// Whether the agent is a server, and how that one starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// It is one.
    pub enabled: bool,
    /// It elects itself alone.
    pub bootstrap: bool,
    /// It waits for this many servers; zero when it does not.
    pub bootstrap_expect: u32,
    /// Stretches Raft's timeouts, 1 to 10.
    pub raft_multiplier: u32,
}

/// Bounds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a KV value.
    pub kv_value_bytes_max: u64,
    /// Bytes of the body of a transaction.
    pub txn_bytes_max: u64,
    /// Connections of one address; zero for no limit.
    pub http_conns_per_client_max: usize,
    /// How long a blocking query may wait.
    pub query_time_max: Duration,
    /// How long a blocking query waits that does not say.
    pub query_time_default: Duration,
    /// The shortest TTL of a session.
    pub session_ttl_min: Duration,
    /// How long a write or read waits for a leader, or for a server to answer.
    pub rpc_hold_timeout: Duration,
    /// How much memory may be resident, in bytes, before things are given up (`limits.memory`).
    pub memory_bytes_max: Option<u64>,
}

/// Habits of the HTTP API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// Headers of every answer.
    pub response_headers: BTreeMap<String, String>,
    /// Path prefixes that are answered with 403.
    pub block_endpoints: Vec<String>,
    /// Who may write; empty for everybody.
    pub allow_write_http_from: Vec<Network>,
}

/// Habits of health checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Script checks from files may run.
    pub scripts_from_files: bool,
    /// Script checks registered over HTTP may run.
    pub scripts_from_http: bool,
    /// How long a changed output alone may wait before it is synced.
    pub update_interval: Duration,
    /// Bytes kept of an output.
    pub output_bytes_max: usize,
    /// Keep no output at all.
    pub discard_output: bool,
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least level.
    pub level: Level,
    /// Lines are JSON.
    pub json: bool,
    /// A file, or a folder when it ends with a slash.
    pub file: Option<PathBuf>,
    /// A new file is begun at this size; zero for never.
    pub rotate_bytes: u64,
    /// A new file is begun after this time.
    pub rotate_duration: Duration,
    /// Old files kept: 0 keeps all, negative none.
    pub rotate_files_max: i64,
}

/// What signals do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// SIGTERM leaves gracefully.
    pub on_terminate: bool,
    /// SIGINT does not.
    pub skip_on_interrupt: bool,
    /// How long a leaving agent still answers.
    pub drain_time: Duration,
}

/// The pool of this data centre's agents.
#[derive(Clone, Debug, PartialEq)]
pub struct Gossip {
    /// The address it listens on, where that is not [`NetworkConfig::bind`].
    pub bind: Option<IpAddr>,
    /// How fast it runs.
    pub timing: Timing,
    /// Networks members may come from; empty for everywhere.
    pub allowed: Vec<gossip::Network>,
    /// The key that packets are sealed with, unless there is a file of keys.
    pub key: Option<gossip::Key>,
    /// Plain packets are refused while there is a key.
    pub verify_incoming: bool,
    /// Packets are sealed while there is a key.
    pub verify_outgoing: bool,
    /// Keys are kept in a file.
    pub keyring_file: bool,
    /// How long failed members are remembered.
    pub reconnect_timeout: Duration,
    /// Peers are joined again although the agent left.
    pub rejoin_after_leave: bool,
    /// Addresses to join at the start, one of which must answer.
    pub start_join: Vec<String>,
    /// Addresses to join as soon as one answers.
    pub retry_join: RetryJoin,
}

/// Metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// Gauges are not called after the host.
    pub disable_hostname: bool,
    /// What every name begins with.
    pub prefix: String,
    /// Name prefixes that are kept.
    pub allow: Vec<String>,
    /// Name prefixes that are dropped.
    pub block: Vec<String>,
    /// What no prefix matches is kept.
    pub keep_unmatched: bool,
    /// How long a silent metric stays in the Prometheus output; zero when it is not asked for.
    pub prometheus_retention: Duration,
}

/// The web UI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ui {
    /// It is served.
    pub enabled: bool,
    /// Files to serve in place of the built-in ones.
    pub dir: Option<PathBuf>,
    /// Its path, with slashes at both ends.
    pub content_path: String,
}

/// Owner and mode of Unix sockets; empty leaves them as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixSockets {
    /// Name or number of the owner.
    pub user: String,
    /// Name or number of the group.
    pub group: String,
    /// Octal digits.
    pub mode: String,
}

impl Config {
    /// What `-dev` gives an agent called `node_name` on a host with nothing but a loopback address: no files are
    /// read, and the system chooses every port. For tests and the simulator.
    #[must_use]
    pub fn dev_for_tests(node_name: &str) -> Config {
        let mut document = super::build::dev_document();
        document.set("node_name", node_name.into());
        let mut config = super::build::config(&document, true, &[], &mut Vec::new())
            .expect("the defaults of -dev with a name are valid");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let zero = Some(0);
        config.network.http = vec![ListenAddress::Tcp(any)];
        config.network.dns = vec![any];
        config.network.ports =
            Ports { dns: zero, http: zero, https: None, grpc: None, server: zero, serf_lan: zero, serf_wan: zero };
        config
    }
}
