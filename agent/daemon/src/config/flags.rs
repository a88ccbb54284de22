//! Every flag of the agent command: one table of names, keys and help.
//!
//! Owns which flag sets which configuration key and how its text becomes a
//! value; splitting a command line is [`crate::goflag`]'s business.

use serde_json::{Map, Value};

use super::ConfigError;
use super::raw::Document;
use super::schema::{self, Kind};
use crate::goflag::{FlagSpec, Parsed};

/// A flag, the key it sets (empty when [`super::load`] reads it itself), and its help.
struct AgentFlag(&'static str, &'static str, &'static str);

static FLAGS: &[AgentFlag] = &[
    AgentFlag("advertise", "advertise_addr", "Address that other agents reach this one at."),
    AgentFlag("advertise-wan", "advertise_addr_wan", "Address that other data centres reach this agent at."),
    AgentFlag(
        "allow-write-http-from",
        "http_config.allow_write_http_from",
        "Network in CIDR notation that may call endpoints which write. Repeatable.",
    ),
    AgentFlag("alt-domain", "alt_domain", "Second domain that DNS answers for."),
    AgentFlag("auto-reload-config", "auto_reload_config", "Reload when a configuration file changes."),
    AgentFlag("bind", "bind_addr", "Address for traffic between agents."),
    AgentFlag("bootstrap", "bootstrap", "Let this lone server elect itself."),
    AgentFlag("bootstrap-expect", "bootstrap_expect", "Number of servers to wait for before the first election."),
    AgentFlag("check_output_max_size", "check_output_max_size", "Most bytes kept of the output of a check."),
    AgentFlag("client", "client_addr", "Addresses for HTTP and DNS, separated by spaces."),
    AgentFlag("config-dir", "", "Folder whose .hcl and .json files are read in order of their names. Repeatable."),
    AgentFlag("config-file", "", "Configuration file, .hcl or .json. Repeatable; later files win."),
    AgentFlag("config-format", "", "Read every file as 'hcl' or 'json', whatever its name."),
    AgentFlag("data-dir", "data_dir", "Folder for the agent's state."),
    AgentFlag("datacenter", "datacenter", "Name of the data centre."),
    AgentFlag("default-query-time", "default_query_time", "How long a blocking query waits when it does not say."),
    AgentFlag("dev", "", "Run one server in memory, for trying things out."),
    AgentFlag("disable-host-node-id", "disable_host_node_id", "Choose the node's id at random; always so."),
    AgentFlag("disable-keyring-file", "disable_keyring_file", "Keep gossip keys in memory only."),
    AgentFlag("dns-port", "ports.dns", "Port of the DNS server; -1 switches it off."),
    AgentFlag("domain", "domain", "Domain that DNS answers for."),
    AgentFlag(
        "enable-local-script-checks",
        "enable_local_script_checks",
        "Run script checks, but only those from configuration files.",
    ),
    AgentFlag("enable-script-checks", "enable_script_checks", "Run script checks, also those registered over HTTP."),
    AgentFlag("encrypt", "encrypt", "Key for gossip, in base64."),
    AgentFlag("grpc-port", "ports.grpc", "Port of the gRPC server."),
    AgentFlag("grpc-tls-port", "ports.grpc_tls", "Port of the gRPC server with TLS."),
    AgentFlag("hcl", "", "Piece of configuration in HCL, read after everything else. Repeatable."),
    AgentFlag("http-port", "ports.http", "Port of the HTTP API; -1 switches it off."),
    AgentFlag("https-port", "ports.https", "Port of the HTTP API with TLS."),
    AgentFlag("join", "start_join", "Agent to join at the start. Repeatable."),
    AgentFlag("join-wan", "start_join_wan", "Server of another data centre to join at the start. Repeatable."),
    AgentFlag("log-file", "log_file", "File, or folder with a slash at its end, that logs go to."),
    AgentFlag("log-json", "log_json", "Write logs as JSON."),
    AgentFlag("log-level", "log_level", "Least level of what is logged: trace, debug, info, warn or err."),
    AgentFlag("log-rotate-bytes", "log_rotate_bytes", "Size in bytes at which a new log file is begun."),
    AgentFlag("log-rotate-duration", "log_rotate_duration", "Time after which a new log file is begun."),
    AgentFlag("log-rotate-max-files", "log_rotate_max_files", "Number of old log files kept; 0 keeps all."),
    AgentFlag("max-query-time", "max_query_time", "Longest time a blocking query may wait."),
    AgentFlag("node", "node_name", "Name of this node, unique among the members."),
    AgentFlag("node-id", "node_id", "Id of this node, a UUID that is kept in the data folder."),
    AgentFlag("node-meta", "node_meta", "Metadata of this node as key:value. Repeatable."),
    AgentFlag("non-voting-server", "non_voting_server", "Serve reads without a vote."),
    AgentFlag("pid-file", "pid_file", "File that holds the process id while the agent runs."),
    AgentFlag("primary-gateway", "primary_gateways", "Mesh gateway of the primary data centre. Repeatable."),
    AgentFlag("profile", "profile", "What the agent takes of its host: 'default', or 'edge' for small ones."),
    AgentFlag("protocol", "protocol", "Version of the gossip protocol."),
    AgentFlag("raft-protocol", "raft_protocol", "Version of the Raft protocol."),
    AgentFlag("read-replica", "read_replica", "Serve reads without a vote."),
    AgentFlag("recursor", "recursors", "DNS server for names outside the domain. Repeatable."),
    AgentFlag("rejoin", "rejoin_after_leave", "Join again after having left."),
    AgentFlag("retry-interval", "retry_interval", "Time between two attempts to join."),
    AgentFlag("retry-interval-wan", "retry_interval_wan", "Time between two attempts to join another data centre."),
    AgentFlag("retry-join", "retry_join", "Agent to join, tried until it answers. Repeatable."),
    AgentFlag(
        "retry-join-wan",
        "retry_join_wan",
        "Server of another data centre to join, tried until it answers. Repeatable.",
    ),
    AgentFlag("retry-max", "retry_max", "Number of attempts to join; 0 never gives up."),
    AgentFlag("retry-max-wan", "retry_max_wan", "Number of attempts to join another data centre; 0 never gives up."),
    AgentFlag("segment", "segment", "Network segment to join."),
    AgentFlag(
        "serf-lan-allowed-cidrs",
        "serf_lan_allowed_cidrs",
        "Network that LAN gossip is accepted from. Repeatable.",
    ),
    AgentFlag("serf-lan-bind", "serf_lan", "Address for LAN gossip."),
    AgentFlag("serf-lan-port", "ports.serf_lan", "Port for LAN gossip."),
    AgentFlag(
        "serf-wan-allowed-cidrs",
        "serf_wan_allowed_cidrs",
        "Network that WAN gossip is accepted from. Repeatable.",
    ),
    AgentFlag("serf-wan-bind", "serf_wan", "Address for WAN gossip."),
    AgentFlag("serf-wan-port", "ports.serf_wan", "Port for WAN gossip."),
    AgentFlag("server", "server", "Be a server."),
    AgentFlag("server-port", "ports.server", "Port for traffic between servers and agents."),
    AgentFlag("syslog", "enable_syslog", "Send logs to syslog."),
    AgentFlag("ui", "ui", "Serve the web UI."),
    AgentFlag("ui-content-path", "ui_content_path", "Path of the web UI; /ui/ by default."),
    AgentFlag("ui-dir", "ui_dir", "Folder with the files of another web UI."),
];

/// The flag table of `agent`, for [`crate::goflag::parse`].
#[must_use]
pub fn agent_flags() -> Vec<FlagSpec> {
    FLAGS.iter().map(|AgentFlag(name, key, help)| spec(name, key, help)).collect()
}

/// The help of the flag called `name`.
#[must_use]
pub fn flag_help(name: &str) -> Option<&'static str> {
    FLAGS.iter().find(|flag| flag.0 == name).map(|flag| flag.2)
}

fn spec(name: &'static str, key: &str, help: &'static str) -> FlagSpec {
    match (name, schema::key(key).map(|key| key.kind)) {
        ("dev", _) | (_, Some(Kind::Bool)) => FlagSpec::bool(name, help),
        ("config-format", _) => FlagSpec::value(name, "string", help),
        ("node-meta", _) => FlagSpec::value(name, "key:value", help).repeated(),
        (_, None | Some(Kind::List)) => FlagSpec::value(name, "value", help).repeated(),
        (_, Some(Kind::Text | Kind::Int | Kind::Float | Kind::Size | Kind::Map | Kind::Any)) => {
            FlagSpec::value(name, "value", help)
        }
    }
}

/// The keys that the flags set.
pub(super) fn document(given: &Parsed) -> Result<Document, ConfigError> {
    let mut document = Document::default();
    if !given.positional.is_empty() {
        let all = given.positional.join(" ");
        return Err(ConfigError::new(format!("Unexpected extra arguments: [{all}]")));
    }
    for AgentFlag(name, key, _) in FLAGS {
        let (Some(last), Some(known)) = (given.last(name), schema::key(key)) else { continue };
        let value = match known.kind {
            Kind::Text | Kind::Size => Value::from(last),
            Kind::Bool => Value::from(last == "true"),
            Kind::Int => Value::from(whole(name, last)?),
            Kind::List => Value::from(given.all(name).to_vec()),
            Kind::Map => pairs(given.all(name)),
            Kind::Float | Kind::Any => continue,
        };
        document.set(key, value);
    }
    Ok(document)
}

fn whole(name: &str, text: &str) -> Result<i64, ConfigError> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let reason = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        let parsing = format!("strconv.Atoi: parsing {text:?}: {reason}");
        ConfigError::new(format!("error parsing flags: invalid value {text:?} for flag -{name}: {parsing}"))
    })
}

/// `key:value` texts as an object; without a colon the value is empty.
fn pairs(texts: &[String]) -> Value {
    let pairs = texts.iter().map(|text| text.split_once(':').unwrap_or((text, "")));
    Value::Object(pairs.map(|(name, value)| (name.to_owned(), Value::from(value))).collect::<Map<_, _>>())
}
