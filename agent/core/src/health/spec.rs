//! Checks and services as they are defined, in a file or over HTTP, after validation.
//!
//! Owns only the types; `agent-daemon`'s `definition` reads them from JSON and
//! HCL, [`crate::local`] keeps them, [`crate::health`] runs their schedule.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::tables::{CheckId, Service, ServiceId, Status};

/// TLS options of a check that opens a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsOptions {
    /// Name to verify and send, empty for the host's.
    pub server_name: String,
    /// Accept any certificate.
    pub skip_verify: bool,
}

/// What a check does when it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckKind {
    /// Requests a URL: 2xx passes, 429 warns, anything else is critical.
    Http {
        /// The URL.
        url: String,
        /// Method, empty for GET.
        method: String,
        /// Headers.
        header: BTreeMap<String, Vec<String>>,
        /// Body.
        body: String,
        /// Judge a redirect instead of following it.
        disable_redirects: bool,
        /// TLS options.
        tls: TlsOptions,
    },
    /// Opens a TCP connection.
    Tcp {
        /// `host:port`.
        address: String,
        /// Also finish a TLS handshake.
        use_tls: bool,
        /// TLS options.
        tls: TlsOptions,
    },
    /// Sends a datagram: an answer or silence passes, an ICMP error is critical.
    Udp {
        /// `host:port`.
        address: String,
    },
    /// Calls `grpc.health.v1.Health/Check`.
    Grpc {
        /// `host:port` or `host:port/service`.
        target: String,
        /// Over TLS.
        use_tls: bool,
        /// TLS options.
        tls: TlsOptions,
    },
    /// Sends an HTTP/2 PING.
    H2ping {
        /// `host:port`.
        address: String,
        /// Over TLS.
        use_tls: bool,
        /// TLS options.
        tls: TlsOptions,
    },
    /// Runs a process: exit 0 passes, 1 warns, anything else is critical.
    Script {
        /// Program and arguments.
        args: Vec<String>,
    },
    /// Runs a plugin that this agent's configuration declares.
    Plugin {
        /// The plugin's name.
        plugin: String,
        /// What it is told: a JSON object.
        config: String,
    },
    /// Waits to be told; silence for the TTL is critical.
    Ttl {
        /// The longest silence, in milliseconds.
        ttl_ms: u64,
    },
    /// Mirrors the worst check of another service or node.
    Alias {
        /// The node, empty for this one.
        node: String,
        /// The service id, empty for the node's own checks.
        service: String,
    },
    /// Never runs: it has the status it was given (maintenance).
    #[default]
    Fixed,
}

impl CheckKind {
    /// Consul's word for it, as the `Type` of a check.
    pub fn as_str(&self) -> &'static str {
        match self {
            CheckKind::Http { .. } => "http",
            CheckKind::Tcp { .. } => "tcp",
            CheckKind::Udp { .. } => "udp",
            CheckKind::Grpc { .. } => "grpc",
            CheckKind::H2ping { .. } => "h2ping",
            CheckKind::Script { .. } => "script",
            CheckKind::Plugin { .. } => "plugin",
            CheckKind::Ttl { .. } => "ttl",
            CheckKind::Alias { .. } => "alias",
            CheckKind::Fixed => "maintenance",
        }
    }
}

/// One check as defined. Defaults (ids, floors, timeouts) are already filled in.
///
/// Persisted as JSON: a field that a file does not have yet gets its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckSpec {
    /// Unique on this agent.
    pub id: CheckId,
    /// Human name.
    pub name: String,
    /// Human notes.
    pub notes: String,
    /// The instance it belongs to, empty for the node.
    pub service_id: ServiceId,
    /// Status until the first result; `None` means critical.
    pub initial_status: Option<Status>,
    /// What it does.
    pub kind: CheckKind,
    /// Time between runs, at least one second; zero for kinds that do not run.
    pub interval_ms: u64,
    /// Limit of one run; zero for the kind's default.
    pub timeout_ms: u64,
    /// Consecutive successes needed to become passing.
    pub success_before_passing: u32,
    /// Consecutive failures needed to become warning.
    pub failures_before_warning: u32,
    /// Consecutive failures needed to become critical.
    pub failures_before_critical: u32,
    /// How long critical before the service is deregistered; zero for never.
    pub deregister_critical_service_after_ms: u64,
    /// Longest output kept, in bytes; zero for the agent's default.
    pub output_bytes_max: usize,
    /// ACL token to sync with, empty for the agent's.
    pub token: String,
}

impl CheckSpec {
    /// A check of the node with nothing but an id and a kind.
    pub fn new(id: &str, kind: CheckKind) -> Self {
        CheckSpec { id: id.to_owned(), name: id.to_owned(), kind, ..CheckSpec::default() }
    }
}

/// One service as defined, with its checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// The record it becomes in the catalog; node and indexes are filled in later.
    pub service: Service,
    /// Its checks, with ids and `service_id` filled in.
    pub checks: Vec<CheckSpec>,
    /// ACL token to sync with, empty for the agent's.
    pub token: String,
}

/// What one run of a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The result.
    pub status: Status,
    /// What to show for it.
    pub output: String,
}
