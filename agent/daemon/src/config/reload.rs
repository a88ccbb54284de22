//! What a reload changes: the values that take effect at once, and the ones that wait for a restart.
//!
//! Owns the list of what is reloadable. Definitions of services and checks
//! always are; they are not part of [`Config`].

use super::checked::{Config, Http, Limits};

/// The outcome of comparing two configurations.
#[derive(Clone, Debug, PartialEq)]
pub struct ReloadDiff {
    /// The old configuration with everything reloadable taken from the new one.
    pub config: Config,
    /// What changed and takes effect.
    pub effective: Vec<&'static str>,
    /// What changed and needs a restart: worth one warning each.
    pub ignored: Vec<&'static str>,
}

/// Compares the running configuration with a newly loaded one.
#[must_use]
pub fn reloadable_diff(old: &Config, new: &Config) -> ReloadDiff {
    let mut config = old.clone();
    let mut effective = Vec::new();
    let mut take = |name: &'static str, changed: bool| {
        if changed {
            effective.push(name);
        }
    };
    take("node_meta", old.identity.node_meta != new.identity.node_meta);
    config.identity.node_meta = new.identity.node_meta.clone();
    take("log_level", old.log.level != new.log.level);
    config.log.level = new.log.level;
    take("discard_check_output", old.checks.discard_output != new.checks.discard_output);
    config.checks.discard_output = new.checks.discard_output;
    take(
        "telemetry.prefix_filter",
        old.telemetry.allow != new.telemetry.allow || old.telemetry.block != new.telemetry.block,
    );
    config.telemetry.allow = new.telemetry.allow.clone();
    config.telemetry.block = new.telemetry.block.clone();
    let connections = new.limits.http_conns_per_client_max;
    take("limits.http_max_conns_per_client", old.limits.http_conns_per_client_max != connections);
    config.limits = Limits { http_conns_per_client_max: connections, ..old.limits };
    take(
        "dns_config",
        old.dns != new.dns || old.dns_allow_stale != new.dns_allow_stale || old.dns_max_stale != new.dns_max_stale,
    );
    config.dns = new.dns.clone();
    config.dns_allow_stale = new.dns_allow_stale;
    config.dns_max_stale = new.dns_max_stale;
    take("plugin", old.plugins.declared != new.plugins.declared);
    config.plugins.declared = new.plugins.declared.clone();
    take("enable_debug", old.enable_debug != new.enable_debug);
    config.enable_debug = new.enable_debug;
    let ignored = differences(&config, new);
    ReloadDiff { config, effective, ignored }
}

/// The groups in which two configurations differ. Destructured, so that a new group cannot be forgotten.
fn differences(config: &Config, new: &Config) -> Vec<&'static str> {
    let Config {
        identity,
        network,
        server,
        autopilot,
        dev: _,
        data_dir,
        pid_file,
        dns: _,
        dns_allow_stale: _,
        dns_max_stale: _,
        limits,
        http: Http { response_headers, block_endpoints, allow_write_http_from },
        checks,
        plugins,
        resources,
        log,
        leave,
        gossip,
        telemetry,
        ui,
        unix_sockets,
        enable_debug: _,
    } = config;
    let groups = [
        ("the node's name, id, data centre or addresses", *identity != new.identity),
        ("addresses and ports", *network != new.network),
        ("server", *server != new.server),
        ("autopilot (see operator autopilot set-config)", *autopilot != new.autopilot),
        ("data_dir", *data_dir != new.data_dir),
        ("pid_file", *pid_file != new.pid_file),
        ("limits and query times", *limits != new.limits),
        ("http_config.response_headers", *response_headers != new.http.response_headers),
        ("http_config.block_endpoints", *block_endpoints != new.http.block_endpoints),
        ("http_config.allow_write_http_from", *allow_write_http_from != new.http.allow_write_http_from),
        ("check settings", *checks != new.checks),
        ("plugin_trust and plugin_memory_max", *plugins != new.plugins),
        ("profile", *resources != new.resources),
        ("log settings", *log != new.log),
        ("leave settings", *leave != new.leave),
        ("gossip and whom to join", *gossip != new.gossip),
        ("telemetry", *telemetry != new.telemetry),
        ("ui", *ui != new.ui),
        ("unix_sockets", *unix_sockets != new.unix_sockets),
    ];
    groups.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Level;

    #[test]
    fn a_log_level_takes_effect_and_a_node_name_waits() {
        let old = Config::dev_for_tests("a");
        let mut new = Config::dev_for_tests("b");
        new.log.level = Level::Warn;

        let diff = reloadable_diff(&old, &new);

        assert_eq!(
            (diff.effective, diff.ignored),
            (vec!["log_level"], vec!["the node's name, id, data centre or addresses"])
        );
        assert_eq!((diff.config.identity.node_name.as_str(), diff.config.log.level), ("a", Level::Warn));
    }

    #[test]
    fn nothing_changed_is_nothing_to_do() {
        let config = Config::dev_for_tests("a");
        let same = ReloadDiff { config: config.clone(), effective: Vec::new(), ignored: Vec::new() };
        assert_eq!(reloadable_diff(&config, &config), same);
    }
}
