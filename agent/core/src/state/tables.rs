//! Every replicated table with its key and record: the schema on one screen.
//!
//! Records are what is stored and snapshotted, never what goes over HTTP; the
//! daemon converts. Fields are only ever appended (postcard is positional), and
//! `tests/golden.rs` pins the bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::keys::Keys;
use crate::plugin::digest::Digest;
use crate::plugin::signature::Signature;

/// The Raft log index of a change. Zero means "never"; answers never carry it.
pub type Index = u64;

/// Wall time in milliseconds since the Unix epoch, stamped by the proposer.
pub type UnixMs = u64;

/// A node name. Lookups ignore ASCII case, as DNS does: tables are keyed by [`fold`].
pub type NodeName = String;

/// A service name as registered. Lookups ignore ASCII case.
pub type ServiceName = String;

/// A service instance's id, unique on its node.
pub type ServiceId = String;

/// A check's id, unique on its node.
pub type CheckId = String;

/// A session's id: a UUID in text form.
pub type SessionId = String;

/// The form of a name that tables are keyed by.
pub fn fold(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// A host in the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// UUID in text form, or empty for nodes registered without one.
    pub id: String,
    /// Name as registered.
    pub name: NodeName,
    /// IP address or host name.
    pub address: String,
    /// Addresses by purpose: `lan`, `wan`, `lan_ipv4` and so on.
    pub tagged_addresses: BTreeMap<String, String>,
    /// Free metadata.
    pub meta: BTreeMap<String, String>,
    /// When the node appeared.
    pub create_index: Index,
    /// When a field of it last changed.
    pub modify_index: Index,
}

/// An address a service is reached at for one purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAddress {
    /// IP address or host name.
    pub address: String,
    /// TCP or UDP port.
    pub port: u16,
}

/// DNS SRV weights by health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// Weight while all checks pass.
    pub passing: u32,
    /// Weight while the worst check warns.
    pub warning: u32,
}

impl Default for Weights {
    /// Consul's default: both one.
    fn default() -> Self {
        Weights { passing: 1, warning: 1 }
    }
}

/// One instance of a service on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The node it runs on, as registered.
    pub node: NodeName,
    /// Unique on the node.
    pub id: ServiceId,
    /// The service's name.
    pub name: ServiceName,
    /// Empty (an ordinary service), `connect-proxy`, `mesh-gateway` and so on.
    pub kind: String,
    /// Tags in registration order.
    pub tags: Vec<String>,
    /// Own address, or empty for the node's.
    pub address: String,
    /// Port, zero when it has none.
    pub port: u16,
    /// Addresses by purpose.
    pub tagged_addresses: BTreeMap<String, ServiceAddress>,
    /// Free metadata.
    pub meta: BTreeMap<String, String>,
    /// DNS SRV weights.
    pub weights: Weights,
    /// Whether the catalog's tags win over the agent's during anti-entropy.
    pub enable_tag_override: bool,
    /// `Connect.Native`: the application speaks the mesh protocol itself.
    pub connect_native: bool,
    /// `Proxy` as the client sent it (JSON text), kept for those who read it back; empty when none was sent.
    pub proxy_json: String,
    /// When the instance appeared.
    pub create_index: Index,
    /// When a field of it last changed.
    pub modify_index: Index,
}

/// Health of a check. Ordered from good to bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// All is well.
    Passing,
    /// Works, with trouble ahead; still answered by DNS.
    Warning,
    /// Broken; not answered. The state of a check that has not run yet.
    #[default]
    Critical,
}

impl Status {
    /// Consul's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Passing => "passing",
            Status::Warning => "warning",
            Status::Critical => "critical",
        }
    }

    /// Reads Consul's word for it.
    pub fn parse(text: &str) -> Option<Status> {
        match text {
            "passing" => Some(Status::Passing),
            "warning" => Some(Status::Warning),
            "critical" => Some(Status::Critical),
            _ => None,
        }
    }
}

/// How a check in the catalog is run, for the external monitors (consul-esm) that read it. Never run by the servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDefinition {
    /// URL, empty unless an HTTP check.
    pub http: String,
    /// `TLSServerName` of an HTTP check.
    pub tls_server_name: String,
    /// Whether certificates go unverified.
    pub tls_skip_verify: bool,
    /// Request headers.
    pub header: BTreeMap<String, Vec<String>>,
    /// Request method.
    pub method: String,
    /// Request body.
    pub body: String,
    /// `host:port`, empty unless a TCP check.
    pub tcp: String,
    /// Time between runs, in milliseconds; zero when not given.
    pub interval_ms: u64,
    /// Limit of one run, in milliseconds; zero when not given.
    pub timeout_ms: u64,
    /// How long critical before the service is removed, in milliseconds; zero for never.
    pub deregister_critical_service_after_ms: u64,
}

/// A check and its latest result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The node it belongs to, as registered.
    pub node: NodeName,
    /// Unique on the node.
    pub id: CheckId,
    /// Human name.
    pub name: String,
    /// Latest result.
    pub status: Status,
    /// Human notes.
    pub notes: String,
    /// What the latest run printed.
    pub output: String,
    /// The instance it belongs to; empty for a check of the node.
    pub service_id: ServiceId,
    /// Filled in by the state machine from the instance.
    pub service_name: ServiceName,
    /// Filled in by the state machine from the instance.
    pub service_tags: Vec<String>,
    /// `http`, `tcp`, `ttl` and so on; empty when unknown.
    pub kind: String,
    /// How external monitors run it.
    pub definition: CheckDefinition,
    /// When the check appeared.
    pub create_index: Index,
    /// When a field of it last changed.
    pub modify_index: Index,
}

/// A key with its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEntry {
    /// The whole key, exactly as written.
    pub key: String,
    /// The value, at most [`crate::state::kv::VALUE_BYTES_MAX`] unless configured otherwise.
    #[serde(with = "super::stored::shared_bytes")]
    pub value: Arc<[u8]>,
    /// Opaque to us, meaningful to clients (the lock helpers use it).
    pub flags: u64,
    /// The session that holds the lock; empty when free.
    pub session: SessionId,
    /// Times the lock was acquired since the key was last written without it (Consul counts so).
    pub lock_index: u64,
    /// When the key appeared.
    pub create_index: Index,
    /// When anything of it last changed.
    pub modify_index: Index,
}

/// What becomes of a session's keys when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionBehavior {
    /// Locks are released, values stay.
    #[default]
    Release,
    /// Keys are deleted.
    Delete,
}

/// A lease that locks hang on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// UUID in text form.
    pub id: SessionId,
    /// Human name.
    pub name: String,
    /// The node whose life it shares.
    pub node: NodeName,
    /// Checks of the node that end it by turning critical.
    pub node_checks: Vec<CheckId>,
    /// Service checks that end it by turning critical.
    pub service_checks: Vec<CheckId>,
    /// How long a key stays unacquirable after the session was invalidated.
    pub lock_delay_ms: u64,
    /// What becomes of its keys.
    pub behavior: SessionBehavior,
    /// The TTL as the client wrote it (`15s`), empty for none.
    pub ttl: String,
    /// The TTL in milliseconds, zero for none.
    pub ttl_ms: u64,
    /// When it was created.
    pub create_index: Index,
    /// When it last changed.
    pub modify_index: Index,
}

/// How the leader cares for the servers (`operator autopilot set-config`). There is one such record or none.
///
/// Durations are in nanoseconds and may be negative, as Consul takes them; the rules count those as zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutopilotConfig {
    /// Whether dead servers are removed without being asked.
    pub cleanup_dead_servers: bool,
    /// The longest silence of a healthy server.
    pub last_contact_threshold_ns: i64,
    /// How many entries a healthy server may be behind.
    pub max_trailing_logs: u64,
    /// No dead server is removed when fewer voters than this would remain.
    pub min_quorum: u64,
    /// How long a server must have been healthy before it gets a vote.
    pub server_stabilization_time_ns: i64,
    /// Kept for those who read it back; there are no redundancy zones.
    pub redundancy_zone_tag: String,
    /// Kept for those who read it back; servers are not replaced by version.
    pub disable_upgrade_migration: bool,
    /// Kept for those who read it back.
    pub upgrade_version_tag: String,
    /// When the record appeared.
    pub create_index: Index,
    /// When it was last written.
    pub modify_index: Index,
}

impl Default for AutopilotConfig {
    /// Consul's defaults.
    fn default() -> Self {
        AutopilotConfig {
            cleanup_dead_servers: true,
            last_contact_threshold_ns: 200_000_000,
            max_trailing_logs: 250,
            min_quorum: 0,
            server_stabilization_time_ns: 10_000_000_000,
            redundancy_zone_tag: String::new(),
            disable_upgrade_migration: false,
            upgrade_version_tag: String::new(),
            create_index: 0,
            modify_index: 0,
        }
    }
}

/// A file that was published as a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginVersion {
    /// Which file.
    pub digest: Digest,
    /// What the plugin says its version is; for people.
    pub version: String,
    /// What it says it does; for people.
    pub summary: String,
    /// The file's size, in bytes.
    pub size: u64,
    /// Who vouches for it.
    pub signature: Option<Signature>,
    /// When it was last published.
    pub publish_index: Index,
}

/// A plugin by name: the files that agents may be told to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    /// Its name.
    pub name: String,
    /// Its latest files, at most [`crate::state::plugin::VERSIONS_MAX`] and at least one; the newest first.
    pub versions: Vec<PluginVersion>,
    /// When the name appeared.
    pub create_index: Index,
    /// When anything of it last changed.
    pub modify_index: Index,
}

/// A plugin's file, or as much of it as has been sent. Chunks are shared by all states that have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginFile {
    /// How many bytes it will have.
    pub size: u64,
    /// All of [`crate::state::plugin::CHUNK_BYTES`] but the last.
    pub chunks: Vec<Arc<[u8]>>,
    /// When its first chunk came.
    pub create_index: Index,
}

/// The last change of the plugins as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginIndexes {
    /// Any change of a record.
    pub changed: Index,
    /// A record was removed.
    pub extinction: Index,
}

/// The last change of whole tables, and of what is no longer there to carry its own index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableIndexes {
    /// Any change of a node.
    pub nodes: Index,
    /// Any change of a service instance.
    pub services: Index,
    /// Any change of a check.
    pub checks: Index,
    /// Any change of a key.
    pub kv: Index,
    /// Any change of a session.
    pub sessions: Index,
    /// A service lost its last instance.
    pub service_extinction: Index,
    /// A node was removed, or gave up its id.
    pub node_extinction: Index,
    /// The newest tombstone that has been reaped; absent keys answer at least this.
    pub tombstones_reaped: Index,
    /// An instance came, went, or changed its name or tags.
    pub service_names: Index,
    /// A session ended.
    pub session_extinction: Index,
}

/// All replicated state. `clone` is a snapshot and copies nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The index of the last applied command.
    pub index: Index,
    /// Nodes by folded name.
    pub nodes: OrdMap<NodeName, Arc<Node>>,
    /// Folded node names by folded node id, for the nodes that have one.
    pub node_ids: OrdMap<String, NodeName>,
    /// Instances by folded node name and id.
    pub services: OrdMap<(NodeName, ServiceId), Arc<Service>>,
    /// Instances by folded service name, folded node name and id: the index behind every lookup.
    pub services_by_name: OrdMap<(ServiceName, NodeName, ServiceId), Arc<Service>>,
    /// Checks by folded node name and id.
    pub checks: OrdMap<(NodeName, CheckId), Arc<Check>>,
    /// Keys.
    pub kv: Keys,
    /// When a key that is gone was deleted.
    pub tombstones: OrdMap<String, Index>,
    /// Sessions.
    pub sessions: OrdMap<SessionId, Arc<Session>>,
    /// Sessions by folded node name.
    pub node_sessions: OrdMap<(NodeName, SessionId), ()>,
    /// Keys held by a session.
    pub session_keys: OrdMap<(SessionId, String), ()>,
    /// Until when a key may not be acquired, after the session that held it was invalidated.
    pub lock_delays: OrdMap<String, UnixMs>,
    /// The last change of each service that has instances: of an instance, its node or its checks.
    pub service_indexes: OrdMap<ServiceName, Index>,
    /// The last change of each node: of itself, its services or its checks.
    pub node_indexes: OrdMap<NodeName, Index>,
    /// How the leader cares for the servers; `None` until the first leader has said so.
    pub autopilot: Option<Arc<AutopilotConfig>>,
    /// Plugins by name.
    pub plugins: OrdMap<String, Arc<Plugin>>,
    /// Their files, and those under way.
    pub plugin_files: OrdMap<Digest, Arc<PluginFile>>,
    /// The last change of the plugins as a whole.
    pub plugin_indexes: PluginIndexes,
    /// The last change of whole tables.
    pub indexes: TableIndexes,
}
