//! What an agent says of itself before the log begins.

use crate::config::Config;
use crate::http::API_VERSION;

/// What the agent calls itself where the program is called so: scripts wait for lines with that name.
pub fn name(program: &str) -> &'static str {
    if program == "consul" { "Consul" } else { "lictor" }
}

/// The lines Consul's users look for: version, node, data centre, addresses.
pub fn text(name: &str, config: &Config, node_id: &str) -> String {
    let port = |port: Option<u16>| port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
    let ports = &config.network.ports;
    let client: Vec<String> = config.network.http.iter().map(ToString::to_string).collect();
    let rows = [
        ("Version", format!("'{}' (Consul API {API_VERSION})", env!("CARGO_PKG_VERSION"))),
        ("Node ID", format!("'{node_id}'")),
        ("Node name", format!("'{}'", config.identity.node_name)),
        ("Datacenter", format!("'{}'", config.identity.datacenter)),
        ("Server", format!("{} (Bootstrap: {})", config.server.enabled, config.server.bootstrap)),
        ("Client Addr", format!("[{}] (HTTP: {}, DNS: {})", client.join(" "), port(ports.http), port(ports.dns))),
        ("Encrypt", format!("Gossip: {}", config.gossip.key.is_some())),
        (
            "Cluster Addr",
            format!("{} (LAN: {}, RPC: {})", config.network.advertise, port(ports.serf_lan), port(ports.server)),
        ),
        (
            "Data dir",
            config.data_dir.as_ref().map_or_else(|| "none: memory only".to_owned(), |dir| dir.display().to_string()),
        ),
    ];
    let rows: String = rows.iter().map(|(name, value)| format!("{name:>18}: {value}\n")).collect();
    format!("==> Starting {name} agent...\n{rows}\n==> Log data will now stream in as it occurs:\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_calls_itself_as_it_was_called() {
        let config = Config::dev_for_tests("a");
        for (program, called) in [("consul", "Consul"), ("lictor", "lictor"), ("agent", "lictor")] {
            let first = format!("==> Starting {called} agent...\n");
            assert!(text(name(program), &config, "id").starts_with(&first), "{program}");
        }
    }
}
