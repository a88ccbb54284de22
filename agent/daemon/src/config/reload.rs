//! What a reload changes: the values that take effect at once, and the ones that wait for a restart.
//!
//! Owns the list of what is reloadable, [`Reloadable`]; the agent applies all of
//! it. Definitions of services and checks always are; they are not part of [`Config`].

use std::collections::BTreeMap;

use agent_core::dns::DnsConfig;

use super::checked::{Config, Http};
use crate::plugin::Declared;
use crate::telemetry::Level;

/// Everything that changes while the agent runs; a value that is not here waits for a restart. Whoever applies it takes
/// it apart without `..`, so that nothing is called reloadable and forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct Reloadable {
    /// Metadata of the node.
    pub node_meta: BTreeMap<String, String>,
    /// The least level of the log.
    pub log_level: Level,
    /// Keep no output of checks.
    pub discard_check_output: bool,
    /// Name prefixes of metrics that are kept.
    pub metrics_allow: Vec<String>,
    /// Name prefixes of metrics that are dropped.
    pub metrics_block: Vec<String>,
    /// Connections of one address; zero for no limit.
    pub http_conns_per_client_max: usize,
    /// DNS policy, domains and recursors.
    pub dns: DnsConfig,
    /// Plugins by name.
    pub plugins: Declared,
}

impl Reloadable {
    /// What is reloadable of a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Reloadable {
        Reloadable {
            node_meta: config.identity.node_meta.clone(),
            log_level: config.log.level,
            discard_check_output: config.checks.discard_output,
            metrics_allow: config.telemetry.allow.clone(),
            metrics_block: config.telemetry.block.clone(),
            http_conns_per_client_max: config.limits.http_conns_per_client_max,
            dns: config.dns.clone(),
            plugins: config.plugins.declared.clone(),
        }
    }

    fn put_into(self, config: &mut Config) {
        let Reloadable {
            node_meta,
            log_level,
            discard_check_output,
            metrics_allow,
            metrics_block,
            http_conns_per_client_max,
            dns,
            plugins,
        } = self;
        config.identity.node_meta = node_meta;
        config.log.level = log_level;
        config.checks.discard_output = discard_check_output;
        config.telemetry.allow = metrics_allow;
        config.telemetry.block = metrics_block;
        config.limits.http_conns_per_client_max = http_conns_per_client_max;
        config.dns = dns;
        config.plugins.declared = plugins;
    }
}

/// The outcome of comparing two configurations.
#[derive(Clone, Debug, PartialEq)]
pub struct ReloadDiff {
    /// The old configuration with everything reloadable taken from the new one.
    pub config: Config,
    /// What changed and needs a restart: worth one warning each.
    pub ignored: Vec<&'static str>,
}

/// Compares the running configuration with a newly loaded one.
#[must_use]
pub fn reloadable_diff(old: &Config, new: &Config) -> ReloadDiff {
    let mut config = old.clone();
    Reloadable::of(new).put_into(&mut config);
    let ignored = differences(&config, new);
    ReloadDiff { config, ignored }
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
        dns,
        // These three are read and do nothing here: there is nothing to restart for.
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
        ("DNS settings", *dns != new.dns),
        ("limits and query times", *limits != new.limits),
        ("http_config.response_headers", *response_headers != new.http.response_headers),
        ("http_config.block_endpoints", *block_endpoints != new.http.block_endpoints),
        ("http_config.allow_write_http_from", *allow_write_http_from != new.http.allow_write_http_from),
        ("check settings", *checks != new.checks),
        ("plugins, plugin_trust and plugin_memory_max", *plugins != new.plugins),
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

    #[test]
    fn what_is_reloadable_takes_effect_and_a_node_name_waits() {
        let old = Config::dev_for_tests("a");
        let mut new = Config::dev_for_tests("b");
        new.log.level = Level::Warn;
        new.identity.node_meta.insert("rack".to_owned(), "2".to_owned());
        new.limits.http_conns_per_client_max = 3;
        new.telemetry.block = vec!["consul.runtime".to_owned()];

        let ReloadDiff { config, ignored } = reloadable_diff(&old, &new);

        assert_eq!(ignored, ["the node's name, id, data centre or addresses"]);
        assert_eq!((Reloadable::of(&config), config.identity.node_name.as_str()), (Reloadable::of(&new), "a"));
    }

    #[test]
    fn nothing_changed_is_nothing_to_do() {
        let config = Config::dev_for_tests("a");
        let same = ReloadDiff { config: config.clone(), ignored: Vec::new() };
        assert_eq!(reloadable_diff(&config, &config), same);
    }
}
