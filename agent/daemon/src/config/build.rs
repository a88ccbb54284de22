//! From what was written to a [`Config`]: defaults, conversions, validation.
//!
//! Owns the defaults and the order in which mistakes are found, which is
//! Consul's: first values that cannot be read (all of them at once), then
//! values that do not fit together (the first one).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use agent_core::dns::DnsConfig;
use agent_core::dns::config::{RecursorStrategy, SoaConfig};
use agent_core::duration;
use agent_core::state::tables::AutopilotConfig;
use serde_json::Value;

use super::address::{self, Network};
use super::checked::{Checks, Config, Http, Identity, Leave, Limits, Log, Plugins, Server, Telemetry, Ui, UnixSockets};
use super::gossip;
use super::interfaces::Interface;
use super::network;
use super::raw::Document;
use super::resources::Resources;
use super::{ConfigError, error_list};
use crate::definition;
use crate::plugin::{Declared, settings, trust};
use crate::telemetry::Level;

/// What `-dev` sets before any file is read.
pub(super) fn dev_document() -> Document {
    let mut document = Document::default();
    for (path, value) in [
        ("bind_addr", Value::from("127.0.0.1")),
        ("enable_debug", Value::from(true)),
        ("gossip_lan.gossip_interval", Value::from("100ms")),
        ("gossip_lan.probe_interval", Value::from("100ms")),
        ("gossip_lan.probe_timeout", Value::from("100ms")),
        ("gossip_lan.suspicion_mult", Value::from(3)),
        ("leave_on_terminate", Value::from(false)),
        ("log_level", Value::from("DEBUG")),
        ("performance.raft_multiplier", Value::from(1)),
        ("server", Value::from(true)),
        ("skip_leave_on_interrupt", Value::from(true)),
        ("ui", Value::from(true)),
    ] {
        document.set(path, value);
    }
    document
}

/// The configuration in `document` on a host with the addresses of `host`.
///
/// # Errors
/// In Consul's words.
pub(super) fn config(
    document: &Document,
    dev: bool,
    host: &[Interface],
    warnings: &mut Vec<String>,
) -> Result<Config, ConfigError> {
    let mut reader = Reader { document, mistakes: Vec::new() };
    let server_enabled = document.bool("server").unwrap_or(false);
    let resources = resources(&mut reader);
    let limits = limits(&mut reader, &resources);
    let http = http(&mut reader);
    let checks = checks(&mut reader);
    let plugins = plugins(&mut reader, &resources);
    let log = log(&mut reader)?;
    let leave = leave(&mut reader, server_enabled);
    let telemetry = telemetry(&mut reader, warnings);
    let dns_max_stale = reader.duration("dns_config.max_stale", duration::HOUR * 87_600);
    let dns = dns(&mut reader)?;
    let autopilot = autopilot(&mut reader);
    let gossip = gossip::config(&mut reader, host)?;
    let network = network::config(&mut reader, host)?;
    reader.finish()?;
    let data_dir = path(document, "data_dir");
    if data_dir.is_none() && !dev {
        return Err(ConfigError::new("data_dir cannot be empty"));
    }
    let config = Config {
        identity: identity(document, warnings)?,
        network,
        server: server(document, dev, warnings)?,
        autopilot,
        dev,
        data_dir,
        pid_file: path(document, "pid_file"),
        dns,
        dns_allow_stale: document.bool("dns_config.allow_stale").unwrap_or(true),
        dns_max_stale,
        limits,
        resources,
        http,
        checks,
        plugins,
        log,
        leave,
        gossip,
        telemetry,
        ui: ui(document)?,
        unix_sockets: unix_sockets(document),
        enable_debug: document.bool("enable_debug").unwrap_or(false),
    };
    validate(&config, document)?;
    network::refuse_duplicates(&config.network)?;
    Ok(config)
}

/// Reads values and collects what cannot be read.
pub(super) struct Reader<'a> {
    pub document: &'a Document,
    pub mistakes: Vec<String>,
}

impl Reader<'_> {
    /// A duration that is not negative; `default` in nanoseconds.
    pub(super) fn duration(&mut self, path: &str, default: i64) -> Duration {
        let text = self.document.text(path).filter(|text| !text.is_empty());
        let parsed = text.map_or(Ok(default), duration::parse);
        match parsed.map(u64::try_from) {
            Ok(Ok(nanoseconds)) => return Duration::from_nanos(nanoseconds),
            Ok(Err(_)) => self.mistakes.push(format!("{path}: {} must not be negative", text.unwrap_or_default())),
            Err(error) => {
                self.mistakes.push(format!("{path}: invalid duration: {:?}: {error}", text.unwrap_or_default()));
            }
        }
        Duration::ZERO
    }

    /// A duration in whole seconds, as DNS wants it.
    fn seconds(&mut self, path: &str, text: &str) -> u32 {
        match duration::parse_ms(text) {
            Ok(milliseconds) => u32::try_from(milliseconds / 1000).unwrap_or(u32::MAX),
            Err(error) => {
                self.mistakes.push(format!("{path}: invalid duration: {text:?}: {error}"));
                0
            }
        }
    }

    /// A number that is not negative. Consul's text for this comes alone, so it is checked later where it has one.
    fn count(&mut self, path: &str, default: u32) -> u32 {
        let number = self.document.int(path).unwrap_or_else(|| i64::from(default));
        u32::try_from(number).unwrap_or_else(|_| {
            self.mistakes.push(format!("{path} cannot be {number}. Must be greater than or equal to zero"));
            0
        })
    }

    fn finish(self) -> Result<(), ConfigError> {
        match self.mistakes.is_empty() {
            true => Ok(()),
            false => Err(ConfigError::new(error_list(&self.mistakes))),
        }
    }
}

fn autopilot(reader: &mut Reader<'_>) -> AutopilotConfig {
    let default = AutopilotConfig::default();
    let mut nanoseconds = |path: &str, default: i64| {
        i64::try_from(reader.duration(path, default).as_nanos()).expect("it was read as 64 bits")
    };
    let last_contact_threshold_ns = nanoseconds("autopilot.last_contact_threshold", default.last_contact_threshold_ns);
    let server_stabilization_time_ns =
        nanoseconds("autopilot.server_stabilization_time", default.server_stabilization_time_ns);
    let document = reader.document;
    let text = |path: &str| document.text(path).unwrap_or_default().to_owned();
    // Negative numbers are refused with the other bounds, below.
    let count = |path: &str, default: u64| document.int(path).map_or(default, |number| number.try_into().unwrap_or(0));
    AutopilotConfig {
        cleanup_dead_servers: document.bool("autopilot.cleanup_dead_servers").unwrap_or(default.cleanup_dead_servers),
        last_contact_threshold_ns,
        max_trailing_logs: count("autopilot.max_trailing_logs", default.max_trailing_logs),
        min_quorum: count("autopilot.min_quorum", default.min_quorum),
        server_stabilization_time_ns,
        redundancy_zone_tag: text("autopilot.redundancy_zone_tag"),
        disable_upgrade_migration: document.bool("autopilot.disable_upgrade_migration").unwrap_or(false),
        upgrade_version_tag: text("autopilot.upgrade_version_tag"),
        ..default
    }
}

fn path(document: &Document, key: &str) -> Option<PathBuf> {
    document.text(key).filter(|text| !text.is_empty()).map(PathBuf::from)
}

fn resources(reader: &mut Reader<'_>) -> Resources {
    Resources::of(reader.document.text("profile").unwrap_or_default()).unwrap_or_else(|mistake| {
        reader.mistakes.push(mistake);
        Resources::default()
    })
}

/// The least that `limits.memory` may be: below, an agent that does nothing would give up everything.
const MEMORY_BYTES_MIN: u64 = 16 << 20;

fn memory_limit(reader: &mut Reader<'_>) -> Option<u64> {
    let size = reader.document.size("limits.memory")?;
    let limit = settings::bytes(size, "limits.memory").and_then(|bytes| match bytes {
        MEMORY_BYTES_MIN.. => Ok(bytes),
        _ => Err(format!("limits.memory: {size} is too little: an agent needs at least 16MiB")),
    });
    limit.map_err(|mistake| reader.mistakes.push(mistake)).ok()
}

fn limits(reader: &mut Reader<'_>, resources: &Resources) -> Limits {
    let bytes = |path: &str| document_bytes(reader.document, path, 512 * 1024);
    Limits {
        kv_value_bytes_max: bytes("limits.kv_max_value_size"),
        txn_bytes_max: bytes("limits.txn_max_req_len"),
        http_conns_per_client_max: positive(
            reader.document,
            "limits.http_max_conns_per_client",
            resources.http_conns_per_client_max,
        ),
        query_time_max: reader.duration("max_query_time", 600 * duration::SECOND),
        query_time_default: reader.duration("default_query_time", 300 * duration::SECOND),
        session_ttl_min: reader.duration("session_ttl_min", 10 * duration::SECOND),
        rpc_hold_timeout: reader.duration("performance.rpc_hold_timeout", 7 * duration::SECOND),
        memory_bytes_max: memory_limit(reader),
    }
}

fn document_bytes(document: &Document, path: &str, default: u64) -> u64 {
    document.int(path).map_or(default, |number| u64::try_from(number).unwrap_or(0))
}

/// A number in which everything below zero means none.
fn positive(document: &Document, path: &str, default: usize) -> usize {
    document.int(path).map_or(default, |number| usize::try_from(number).unwrap_or(0))
}

fn http(reader: &mut Reader<'_>) -> Http {
    let mut allow_write_http_from = Vec::new();
    for text in reader.document.list("http_config.allow_write_http_from") {
        match Network::parse(&text) {
            Some(network) => allow_write_http_from.push(network),
            None => reader.mistakes.push(format!("allow_write_http_from: invalid cidr: {text}")),
        }
    }
    Http {
        response_headers: reader.document.map("http_config.response_headers"),
        block_endpoints: reader.document.list("http_config.block_endpoints"),
        allow_write_http_from,
    }
}

fn checks(reader: &mut Reader<'_>) -> Checks {
    let document = reader.document;
    let scripts_from_http = document.bool("enable_script_checks").unwrap_or(false);
    Checks {
        scripts_from_files: scripts_from_http || document.bool("enable_local_script_checks").unwrap_or(false),
        scripts_from_http,
        update_interval: reader.duration("check_update_interval", 5 * duration::MINUTE),
        output_bytes_max: positive(document, "check_output_max_size", 4096),
        discard_output: document.bool("discard_check_output").unwrap_or(false),
    }
}

fn plugins(reader: &mut Reader<'_>, resources: &Resources) -> Plugins {
    let document = reader.document;
    let mut mistakes = Vec::new();
    let declared = settings::declared(&document.definitions("plugins")).unwrap_or_else(|mistake| {
        mistakes.push(mistake);
        Declared::new()
    });
    let memory_bytes_max = match document.size("plugin_memory_max") {
        None => resources.plugin_memory_bytes_max,
        Some(size) => settings::bytes(size, "plugin_memory_max").unwrap_or_else(|mistake| {
            mistakes.push(mistake);
            0
        }),
    };
    let mut trusted = Vec::new();
    for text in document.list("plugin_trust") {
        match trust::parse_key(&text) {
            Ok(key) => trusted.push(key),
            Err(mistake) => mistakes.push(format!("plugin_trust: {mistake}")),
        }
    }
    reader.mistakes.append(&mut mistakes);
    Plugins { declared, memory_bytes_max, trusted }
}

fn log(reader: &mut Reader<'_>) -> Result<Log, ConfigError> {
    let document = reader.document;
    let level = document.text("log_level").unwrap_or("INFO");
    Ok(Log {
        level: Level::parse(level).ok_or_else(|| {
            ConfigError::new(format!("Invalid log level: {level}. Valid log levels are: [TRACE DEBUG INFO WARN ERR]"))
        })?,
        json: document.bool("log_json").unwrap_or(false),
        file: path(document, "log_file"),
        rotate_bytes: document_bytes(document, "log_rotate_bytes", 0),
        rotate_duration: reader.duration("log_rotate_duration", 24 * duration::HOUR),
        rotate_files_max: document.int("log_rotate_max_files").unwrap_or(0),
    })
}

fn leave(reader: &mut Reader<'_>, server: bool) -> Leave {
    Leave {
        on_terminate: reader.document.bool("leave_on_terminate").unwrap_or(!server),
        skip_on_interrupt: reader.document.bool("skip_leave_on_interrupt").unwrap_or(server),
        drain_time: reader.duration("performance.leave_drain_time", 5 * duration::SECOND),
    }
}

fn telemetry(reader: &mut Reader<'_>, warnings: &mut Vec<String>) -> Telemetry {
    let document = reader.document;
    let (mut allow, mut block) = (Vec::new(), Vec::new());
    for rule in document.list("telemetry.prefix_filter") {
        match (rule.strip_prefix('+'), rule.strip_prefix('-')) {
            (Some(prefix), _) => allow.push(prefix.to_owned()),
            (None, Some(prefix)) => block.push(prefix.to_owned()),
            (None, None) if rule.is_empty() => {
                warnings.push("Cannot have empty filter rule in prefix_filter".to_owned())
            }
            (None, None) => warnings.push(format!("Filter rule must begin with either '+' or '-': {rule:?}")),
        }
    }
    Telemetry {
        disable_hostname: document.bool("telemetry.disable_hostname").unwrap_or(false),
        prefix: document.text("telemetry.metrics_prefix").unwrap_or("consul").to_owned(),
        allow,
        block,
        keep_unmatched: document.bool("telemetry.filter_default").unwrap_or(true),
        prometheus_retention: reader.duration("telemetry.prometheus_retention_time", 0),
    }
}

fn dns(reader: &mut Reader<'_>) -> Result<DnsConfig, ConfigError> {
    let document = reader.document;
    let defaults = DnsConfig::default();
    let bool = |path: &str, default: bool| document.bool(path).unwrap_or(default);
    let domain = |path: &str| document.text(path).map(|name| name.trim_matches('.').to_ascii_lowercase());
    let recursors: Result<Vec<_>, ConfigError> =
        document.list("recursors").iter().map(|text| address::recursor(text)).collect();
    Ok(DnsConfig {
        domain: domain("domain").filter(|name| !name.is_empty()).unwrap_or(defaults.domain),
        alt_domain: domain("alt_domain").unwrap_or_default(),
        only_passing: bool("dns_config.only_passing", false),
        node_ttl_s: reader.seconds("dns_config.node_ttl", document.text("dns_config.node_ttl").unwrap_or("0")),
        service_ttl_s: service_ttls(reader),
        // Numbers below zero are refused afterwards, by name.
        a_record_limit: positive(document, "dns_config.a_record_limit", 0),
        udp_answer_limit: positive(document, "dns_config.udp_answer_limit", defaults.udp_answer_limit),
        enable_truncate: bool("dns_config.enable_truncate", false),
        disable_compression: bool("dns_config.disable_compression", false),
        node_meta_txt: bool("dns_config.enable_additional_node_meta_txt", true),
        soa: SoaConfig {
            refresh_s: reader.count("dns_config.soa.refresh", defaults.soa.refresh_s),
            retry_s: reader.count("dns_config.soa.retry", defaults.soa.retry_s),
            expire_s: reader.count("dns_config.soa.expire", defaults.soa.expire_s),
            min_ttl_s: reader.count("dns_config.soa.min_ttl", defaults.soa.min_ttl_s),
        },
        recursors: recursors?,
        recursor_strategy: match document.text("dns_config.recursor_strategy") {
            Some("random") => RecursorStrategy::Random,
            None | Some("" | "sequential") => RecursorStrategy::Sequential,
            Some(other) => {
                return Err(ConfigError::new(format!(
                    "dns_config.recursor_strategy must be one of \"sequential\" or \"random\", not {other:?}"
                )));
            }
        },
        recursor_timeout_ms: u64::try_from(
            reader.duration("dns_config.recursor_timeout", 2 * duration::SECOND).as_millis(),
        )
        .unwrap_or(u64::MAX),
    })
}

fn service_ttls(reader: &mut Reader<'_>) -> BTreeMap<String, u32> {
    let written = reader.document.map("dns_config.service_ttl");
    let read = written.into_iter().map(|(name, text)| {
        let seconds = reader.seconds(&format!("dns_config.service_ttl[{name:?}]"), &text);
        (name.to_ascii_lowercase(), seconds)
    });
    read.collect()
}

fn identity(document: &Document, warnings: &mut Vec<String>) -> Result<Identity, ConfigError> {
    let written = document.text("node_name").filter(|name| !name.is_empty()).map(str::to_owned);
    let node_name = written.unwrap_or_else(hostname);
    if node_name.is_empty() {
        return Err(ConfigError::new("node_name cannot be empty"));
    }
    let datacenter = document.text("datacenter").unwrap_or("dc1").to_ascii_lowercase();
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if datacenter.is_empty() {
        return Err(ConfigError::new("datacenter cannot be empty"));
    }
    if !datacenter.chars().all(valid) {
        return Err(ConfigError::new(format!("datacenter cannot be {datacenter:?}. Please use only [a-z0-9-_]")));
    }
    let node_meta = definition::decode_meta(document.map("node_meta"))
        .map_err(|error| ConfigError::new(format!("node_meta invalid: {error}")))?;
    warnings.extend(name_warning(&node_name));
    let tagged_addresses = document.map("tagged_addresses");
    Ok(Identity { node_name, node_id: node_id(document)?, datacenter, node_meta, tagged_addresses })
}

/// The name of this machine.
pub(crate) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn name_warning(name: &str) -> Option<String> {
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        let valid = "Valid characters include all alpha-numerics and dashes.";
        Some(format!("Node name {name:?} will not be discoverable via DNS due to invalid characters. {valid}"))
    } else if name.len() > 63 {
        let valid = "Valid lengths are between 1 and 63 bytes.";
        Some(format!("Node name {name:?} will not be discoverable via DNS due to it being too long. {valid}"))
    } else {
        None
    }
}

fn node_id(document: &Document) -> Result<Option<String>, ConfigError> {
    let Some(text) = document.text("node_id").filter(|text| !text.is_empty()) else { return Ok(None) };
    let refused =
        |reason: &str| ConfigError::new(format!("failed to setup node ID: specified NodeID is invalid: {reason}"));
    if text.len() != 36 {
        return Err(refused("uuid string is wrong length"));
    }
    uuid::Uuid::try_parse(text).map_err(|_| refused("uuid is improperly formatted"))?;
    Ok(Some(text.to_ascii_lowercase()))
}

fn server(document: &Document, dev: bool, warnings: &mut Vec<String>) -> Result<Server, ConfigError> {
    let enabled = document.bool("server").unwrap_or(false);
    let expect = document.int("bootstrap_expect").unwrap_or(0);
    let bootstrap = document.bool("bootstrap").unwrap_or(false);
    let raft_multiplier = document.int("performance.raft_multiplier").unwrap_or(5);
    let refused = |reason: String| Err(ConfigError::new(reason));
    if !(1..=10).contains(&raft_multiplier) {
        return refused(format!("performance.raft_multiplier cannot be {raft_multiplier}. Must be between 1 and 10"));
    }
    let Ok(expect) = u32::try_from(expect) else {
        return refused(format!("bootstrap_expect cannot be {expect}. Must be greater than or equal to zero"));
    };
    if expect > 0 && dev {
        return refused("'bootstrap_expect > 0' not allowed in dev mode".to_owned());
    }
    if expect > 0 && bootstrap {
        return refused("'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive".to_owned());
    }
    if bootstrap && !enabled {
        return refused("'bootstrap = true' requires 'server = true'".to_owned());
    }
    if expect > 0 && !enabled {
        return refused("'bootstrap_expect > 0' requires 'server = true'".to_owned());
    }
    match expect {
        0 if bootstrap => warnings.push("bootstrap = true: do not enable unless necessary".to_owned()),
        0 => {}
        1 => warnings.push("BootstrapExpect is set to 1; this is the same as Bootstrap mode.".to_owned()),
        2 => {
            warnings.push("bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance".to_owned())
        }
        _ => warnings.push(format!("bootstrap_expect > 0: expecting {expect} servers")),
    }
    // Expecting one server is bootstrap mode by another name.
    let (bootstrap, bootstrap_expect) = if expect == 1 { (true, 0) } else { (bootstrap, expect) };
    let raft_multiplier = u32::try_from(raft_multiplier).expect("1 to 10");
    Ok(Server { enabled, bootstrap, bootstrap_expect, raft_multiplier })
}

fn ui(document: &Document) -> Result<Ui, ConfigError> {
    let enabled = document.bool("ui_config.enabled").or(document.bool("ui")).unwrap_or(false);
    let dir = path(document, "ui_config.dir").or(path(document, "ui_dir"));
    if enabled && dir.is_some() {
        return Err(ConfigError::new(concat!(
            "Both the ui and ui-dir flags were specified, please provide only one.\n",
            "If trying to use your own web UI resources, use the ui-dir flag.\n",
            "The web UI is included in the binary so use ui to enable it",
        )));
    }
    let written = document.text("ui_config.content_path").or(document.text("ui_content_path")).unwrap_or("/ui/");
    let inner = written.trim_matches('/');
    let content_path = if inner.is_empty() { "/".to_owned() } else { format!("/{inner}/") };
    Ok(Ui { enabled: enabled || dir.is_some(), dir, content_path })
}

fn unix_sockets(document: &Document) -> UnixSockets {
    let text = |key: &str| document.text(key).unwrap_or_default().to_owned();
    UnixSockets { user: text("unix_sockets.user"), group: text("unix_sockets.group"), mode: text("unix_sockets.mode") }
}

/// Bounds that Consul checks last, one text each.
fn validate(config: &Config, document: &Document) -> Result<(), ConfigError> {
    let autopilot = ["autopilot.max_trailing_logs", "autopilot.min_quorum"];
    for key in ["dns_config.udp_answer_limit", "dns_config.a_record_limit"].into_iter().chain(autopilot) {
        let number = document.int(key).unwrap_or(0);
        if number < 0 {
            return Err(ConfigError::new(format!("{key} cannot be {number}. Must be greater than or equal to zero")));
        }
    }
    if config.checks.output_bytes_max == 0 {
        return Err(ConfigError::new(
            "check_output_max_size must be positive, to discard check output use the discard_check_output flag",
        ));
    }
    Ok(())
}
