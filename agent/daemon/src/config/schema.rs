//! Every configuration key, its kind, and whether it has an effect: one table.
//!
//! The names are those of Consul 1.8 and later, with the deprecated ones. A key
//! that is not here is refused by name; a key of the tier [`Tier::Ignored`] is
//! type-checked and then warned about. Reading values is the business of
//! [`super::raw`] and [`super::checked`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// What a value must look like. Consul converts nothing but a list of one to its only item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bool,
    /// A whole number; fractions are cut off.
    Int,
    Float,
    /// A number of bytes: a whole number, or a text with a unit such as `32MiB`.
    Size,
    /// A list of texts.
    List,
    /// An object with texts as values.
    Map,
    /// An object or a list of objects whose content this table does not describe.
    Any,
}

/// What the agent does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    /// It has an effect.
    Used,
    /// It has none; a value other than the default is worth a warning.
    Ignored,
    /// It has none and needs none: what it asks for is always so, or never was more than a hint.
    Moot,
}

/// A key as the table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub kind: Kind,
    pub tier: Tier,
    /// The value that needs no warning, as text.
    pub default: &'static str,
}

/// Keys of one group that have kind and tier in common; an ignored key may be followed by `=` and its default.
struct Row(&'static str, Kind, Tier, &'static [&'static str]);

use Kind::{Any, Bool, Float, Int, List, Map, Size, Text};
use Tier::{Ignored, Moot, Used};

static ROWS: &[Row] = &[
    // Who the agent is and where it listens.
    Row("", Text, Used, &["bind_addr", "client_addr", "advertise_addr", "advertise_addr_ipv4", "advertise_addr_ipv6"]),
    Row("", Text, Used, &["profile"]),
    Row("", Text, Used, &["datacenter", "data_dir", "node_name", "node_id", "domain", "alt_domain", "pid_file"]),
    Row("", Text, Ignored, &["advertise_addr_wan", "advertise_addr_wan_ipv4", "advertise_addr_wan_ipv6"]),
    Row("", Text, Used, &["serf_lan"]),
    Row("", Text, Ignored, &["primary_datacenter", "serf_wan", "server_rejoin_age_max=168h"]),
    Row("", Text, Ignored, &["partition=default", "segment", "license_path", "default_intention_policy"]),
    Row("", Map, Used, &["node_meta", "tagged_addresses"]),
    Row("", Bool, Used, &["server", "bootstrap"]),
    Row("", Int, Used, &["bootstrap_expect"]),
    Row("", Bool, Ignored, &["translate_wan_addrs", "auto_reload_config", "non_voting_server", "read_replica"]),
    Row("addresses", Text, Used, &["dns", "http"]),
    Row("addresses", Text, Ignored, &["https", "grpc", "grpc_tls"]),
    Row("ports", Int, Used, &["dns", "http", "serf_lan", "serf_wan", "server"]),
    Row("ports", Int, Ignored, &["https=-1", "grpc=-1"]),
    Row("ports", Int, Ignored, &["grpc_tls=8503", "sidecar_min_port=21000", "sidecar_max_port=21255"]),
    Row("ports", Int, Ignored, &["expose_min_port=21500", "expose_max_port=21755"]),
    Row("ports", Int, Ignored, &["proxy_min_port=20000", "proxy_max_port=20255"]),
    Row("unix_sockets", Text, Used, &["user", "group", "mode"]),
    Row("locality", Text, Ignored, &["region", "zone"]),
    // Joining and leaving.
    Row("", List, Used, &["retry_join", "start_join"]),
    Row("", List, Ignored, &["retry_join_wan", "start_join_wan", "primary_gateways"]),
    Row("", Text, Used, &["retry_interval", "reconnect_timeout"]),
    Row("", Text, Ignored, &["retry_interval_wan=30s", "primary_gateways_interval=30s"]),
    Row("", Int, Used, &["retry_max"]),
    Row("", Int, Ignored, &["retry_max_wan=0", "protocol=2", "raft_protocol=3"]),
    Row("", Bool, Used, &["leave_on_terminate", "skip_leave_on_interrupt", "rejoin_after_leave"]),
    Row("", Text, Ignored, &["reconnect_timeout_wan=72h", "advertise_reconnect_timeout"]),
    // Files, logs, telemetry.
    Row("", Text, Used, &["log_level", "log_file", "log_rotate_duration"]),
    Row("", Int, Used, &["log_rotate_bytes", "log_rotate_max_files"]),
    Row("", Bool, Used, &["log_json", "enable_debug"]),
    Row("", Bool, Ignored, &["enable_syslog"]),
    Row("", Text, Ignored, &["syslog_facility=LOCAL0"]),
    Row("telemetry", Bool, Used, &["disable_hostname", "filter_default"]),
    Row("telemetry", List, Used, &["prefix_filter"]),
    Row("telemetry", Text, Used, &["metrics_prefix", "prometheus_retention_time"]),
    Row("telemetry", Text, Ignored, &["statsd_address", "statsite_address", "dogstatsd_addr"]),
    Row("telemetry", List, Ignored, &["dogstatsd_tags"]),
    Row("telemetry", Bool, Ignored, &["enable_host_metrics", "retry_failed_connection=true"]),
    Row(
        "telemetry",
        Text,
        Ignored,
        &["circonus_api_token", "circonus_api_app", "circonus_api_url", "circonus_broker_id"],
    ),
    Row(
        "telemetry",
        Text,
        Ignored,
        &["circonus_broker_select_tag", "circonus_check_display_name", "circonus_check_id"],
    ),
    Row("telemetry", Text, Ignored, &["circonus_check_force_metric_activation", "circonus_check_instance_id"]),
    Row("telemetry", Text, Ignored, &["circonus_check_search_tag", "circonus_check_tags", "circonus_submission_url"]),
    Row("telemetry", Text, Ignored, &["circonus_submission_interval"]),
    // What never happens here: phoning home, remote execution.
    Row("", Bool, Moot, &["disable_anonymous_signature", "disable_update_check", "disable_remote_exec"]),
    Row("", Bool, Moot, &["disable_coordinates", "disable_host_node_id"]),
    Row("", Bool, Moot, &["use_streaming_backend", "enable_central_service_config"]),
    Row("", Bool, Ignored, &["disable_http_unprintable_char_filter", "disable_kv_key_validation"]),
    Row("rpc", Bool, Moot, &["enable_streaming"]),
    Row("", List, Ignored, &["experiments"]),
    Row("cache", Int, Ignored, &["entry_fetch_max_burst=2"]),
    Row("cache", Float, Ignored, &["entry_fetch_rate"]),
    // Checks, sessions, queries.
    Row("", Any, Used, &["service", "services", "check", "checks", "plugin", "plugins"]),
    Row("", List, Used, &["plugin_trust"]),
    Row("", Size, Used, &["plugin_memory_max"]),
    Row("", Bool, Used, &["enable_script_checks", "enable_local_script_checks", "discard_check_output"]),
    Row("", Bool, Ignored, &["enable_agent_tls_for_checks"]),
    Row("", Int, Used, &["check_output_max_size"]),
    Row("", Text, Used, &["check_update_interval", "session_ttl_min", "max_query_time", "default_query_time"]),
    Row("", Text, Ignored, &["discovery_max_stale=0s"]),
    Row("", Any, Used, &["watches"]),
    // DNS.
    Row("", List, Used, &["recursors"]),
    Row("dns_config", Bool, Used, &["allow_stale", "only_passing", "enable_truncate", "disable_compression"]),
    Row("dns_config", Bool, Used, &["enable_additional_node_meta_txt"]),
    Row("dns_config", Text, Used, &["max_stale", "node_ttl", "recursor_timeout", "recursor_strategy"]),
    Row("dns_config", Int, Used, &["a_record_limit", "udp_answer_limit"]),
    Row("dns_config", Map, Used, &["service_ttl"]),
    Row("dns_config", Bool, Ignored, &["use_cache", "prefer_namespace"]),
    Row("dns_config", Text, Ignored, &["cache_max_age"]),
    Row("dns_config.soa", Int, Used, &["refresh", "retry", "expire", "min_ttl"]),
    // HTTP.
    Row("http_config", List, Used, &["block_endpoints", "allow_write_http_from"]),
    Row("http_config", Map, Used, &["response_headers"]),
    Row("http_config", Bool, Moot, &["use_cache"]),
    Row("http_config", Int, Ignored, &["max_header_bytes"]),
    Row("limits", Size, Used, &["memory"]),
    Row("limits", Int, Used, &["http_max_conns_per_client", "kv_max_value_size", "txn_max_req_len"]),
    Row("limits", Text, Ignored, &["https_handshake_timeout=5s", "rpc_handshake_timeout=5s", "rpc_client_timeout=60s"]),
    Row("limits", Float, Ignored, &["rpc_rate=-1"]),
    Row("limits", Int, Ignored, &["rpc_max_burst=1000", "rpc_max_conns_per_client=100"]),
    Row("limits.request_limits", Text, Ignored, &["mode=disabled"]),
    Row("limits.request_limits", Float, Ignored, &["read_rate=-1", "write_rate=-1"]),
    // Web UI.
    Row("", Bool, Used, &["ui"]),
    Row("", Text, Used, &["ui_dir", "ui_content_path"]),
    Row("ui_config", Bool, Used, &["enabled"]),
    Row("ui_config", Text, Used, &["dir", "content_path"]),
    Row("ui_config", Text, Ignored, &["metrics_provider", "metrics_provider_options_json"]),
    Row("ui_config", List, Ignored, &["metrics_provider_files"]),
    Row("ui_config", Map, Ignored, &["dashboard_url_templates"]),
    Row("ui_config.metrics_proxy", Text, Ignored, &["base_url"]),
    Row("ui_config.metrics_proxy", List, Ignored, &["path_allowlist"]),
    Row("ui_config.metrics_proxy", Any, Ignored, &["add_headers"]),
    // Raft.
    Row("performance", Int, Used, &["raft_multiplier"]),
    Row("performance", Text, Used, &["leave_drain_time", "rpc_hold_timeout"]),
    Row("performance", Text, Ignored, &["grpc_keepalive_interval", "grpc_keepalive_timeout"]),
    Row("", Int, Ignored, &["raft_snapshot_threshold=16384", "raft_trailing_logs=10240"]),
    Row("", Text, Ignored, &["raft_snapshot_interval=30s"]),
    Row("", Bool, Ignored, &["raft_prevote_disabled"]),
    Row("raft_logstore", Text, Moot, &["backend"]),
    Row("raft_logstore", Bool, Moot, &["disable_log_cache"]),
    Row("raft_logstore.wal", Int, Moot, &["segment_size_mb"]),
    Row("raft_logstore.boltdb", Bool, Moot, &["no_freelist_sync"]),
    Row("raft_logstore.verification", Bool, Moot, &["enabled"]),
    Row("raft_logstore.verification", Text, Moot, &["interval"]),
    Row("autopilot", Bool, Used, &["cleanup_dead_servers"]),
    Row("autopilot", Text, Used, &["last_contact_threshold", "server_stabilization_time"]),
    Row("autopilot", Int, Used, &["max_trailing_logs", "min_quorum"]),
    // Kept and read back, as in Consul without its enterprise features.
    Row("autopilot", Bool, Ignored, &["disable_upgrade_migration"]),
    Row("autopilot", Text, Ignored, &["redundancy_zone_tag", "upgrade_version_tag"]),
    // Gossip.
    Row("", Text, Used, &["encrypt"]),
    Row("", Bool, Used, &["encrypt_verify_incoming", "encrypt_verify_outgoing", "disable_keyring_file"]),
    Row("", List, Used, &["serf_lan_allowed_cidrs"]),
    Row("", List, Ignored, &["serf_wan_allowed_cidrs"]),
    Row("gossip_lan", Text, Used, &["gossip_interval", "probe_interval", "probe_timeout"]),
    Row("gossip_lan", Int, Used, &["gossip_nodes", "retransmit_mult", "suspicion_mult"]),
    Row("gossip_wan", Text, Ignored, &["gossip_interval=500ms", "probe_interval=5s", "probe_timeout=3s"]),
    Row("gossip_wan", Int, Ignored, &["gossip_nodes=3", "retransmit_mult=4", "suspicion_mult=6"]),
    // Access control.
    Row("acl", Bool, Ignored, &["enabled", "enable_token_persistence", "enable_token_replication"]),
    Row("acl", Bool, Ignored, &["enable_key_list_policy"]),
    Row("acl", Text, Ignored, &["default_policy=allow", "down_policy=extend-cache", "token_ttl=30s", "policy_ttl=30s"]),
    Row("acl", Text, Ignored, &["role_ttl=30s", "disabled_ttl"]),
    Row(
        "acl.tokens",
        Text,
        Ignored,
        &["initial_management", "default", "agent", "agent_recovery", "replication", "dns"],
    ),
    Row("acl.tokens", Text, Ignored, &["config_file_service_registration", "master", "agent_master"]),
    Row("acl.tokens", Any, Ignored, &["managed_service_provider"]),
    Row("", Text, Ignored, &["acl_agent_master_token", "acl_agent_token", "acl_datacenter", "acl_master_token"]),
    Row("", Text, Ignored, &["acl_default_policy=allow", "acl_down_policy=extend-cache", "acl_replication_token"]),
    Row("", Text, Ignored, &["acl_token", "acl_ttl=30s", "acl_disabled_ttl"]),
    Row("", Bool, Ignored, &["acl_enable_key_list_policy", "enable_acl_replication", "acl_enforce_version_8"]),
    // TLS.
    Row("", Text, Ignored, &["ca_file", "ca_path", "cert_file", "key_file", "server_name"]),
    Row("", Text, Ignored, &["tls_min_version", "tls_cipher_suites"]),
    Row("", Bool, Ignored, &["verify_incoming", "verify_incoming_https", "verify_incoming_rpc", "verify_outgoing"]),
    Row("", Bool, Ignored, &["verify_server_hostname", "tls_prefer_server_cipher_suites"]),
    Row("tls", Bool, Ignored, &["enable_agent_tls_for_checks"]),
    Row("tls.defaults", Text, Ignored, TLS_TEXTS),
    Row("tls.defaults", Bool, Ignored, TLS_BOOLS),
    Row("tls.internal_rpc", Text, Ignored, TLS_TEXTS),
    Row("tls.internal_rpc", Bool, Ignored, TLS_BOOLS),
    Row("tls.https", Text, Ignored, TLS_TEXTS),
    Row("tls.https", Bool, Ignored, TLS_BOOLS),
    Row("tls.grpc", Text, Ignored, TLS_TEXTS),
    Row("tls.grpc", Bool, Ignored, TLS_BOOLS),
    Row("auto_encrypt", Bool, Ignored, &["tls", "allow_tls"]),
    Row("auto_encrypt", List, Ignored, &["dns_san", "ip_san"]),
    Row("auto_config", Bool, Ignored, &["enabled"]),
    Row("auto_config", Text, Ignored, &["intro_token", "intro_token_file"]),
    Row("auto_config", List, Ignored, &["server_addresses", "dns_sans", "ip_sans"]),
    Row("auto_config", Any, Ignored, &["authorization"]),
    // Service mesh and enterprise.
    Row("connect", Bool, Ignored, &["enabled", "enable_mesh_gateway_wan_federation"]),
    Row("connect", Text, Ignored, &["ca_provider"]),
    Row("connect", Any, Ignored, &["ca_config"]),
    Row("config_entries", Any, Ignored, &["bootstrap"]),
    Row("peering", Bool, Ignored, &["enabled=true"]),
    Row("xds", Float, Ignored, &["update_max_per_second=250"]),
    Row("", Any, Ignored, &["segments", "audit", "snapshot_agent", "cloud", "reporting"]),
];

const TLS_TEXTS: &[&str] = &["ca_file", "ca_path", "cert_file", "key_file", "tls_min_version", "tls_cipher_suites"];
const TLS_BOOLS: &[&str] = &["verify_incoming", "verify_outgoing", "verify_server_hostname", "use_auto_cert"];

/// The table by full path, and the paths of the objects around the keys.
struct Index {
    keys: BTreeMap<String, Key>,
    groups: BTreeSet<String>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index { keys: BTreeMap::new(), groups: BTreeSet::new() };
    for Row(group, kind, tier, names) in ROWS {
        for name in *names {
            let (name, default) = name.split_once('=').unwrap_or((name, if *kind == Bool { "false" } else { "" }));
            let path = if group.is_empty() { name.to_owned() } else { format!("{group}.{name}") };
            index.keys.insert(path, Key { kind: *kind, tier: *tier, default });
        }
        let mut around = "";
        while around.len() < group.len() {
            let from = if around.is_empty() { 0 } else { around.len() + 1 };
            around = group[from..].find('.').map_or(group, |length| &group[..from + length]);
            index.groups.insert(around.to_owned());
        }
    }
    index
});

/// The key at `path`, such as `ports.http`.
pub(super) fn key(path: &str) -> Option<Key> {
    INDEX.keys.get(path).copied()
}

/// Whether `path` is an object of keys, such as `ports`.
pub(super) fn is_group(path: &str) -> bool {
    INDEX.groups.contains(path)
}

/// Every key with its path, in order of the paths.
pub(super) fn all() -> impl Iterator<Item = (&'static str, Key)> {
    INDEX.keys.iter().map(|(path, key)| (path.as_str(), *key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_listed_twice() {
        let rows: usize = ROWS.iter().map(|row| row.3.len()).sum();
        assert_eq!(rows, INDEX.keys.len());
    }

    #[test]
    fn nested_groups_are_known() {
        assert!(is_group("dns_config") && is_group("dns_config.soa") && !is_group("dns_config.soa.retry"));
    }
}
