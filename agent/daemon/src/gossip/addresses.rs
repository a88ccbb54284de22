//! From what an operator writes to addresses that can be joined.
//!
//! Takes addresses and host names, with or without a port. Looking up names is
//! the only thing here that waits.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long looking up a name may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// The addresses of `hosts`, and a reason in Consul's words for each that has none.
pub(super) async fn resolve(hosts: &[String], default_port: u16) -> (Vec<SocketAddr>, Vec<String>) {
    let (mut found, mut reasons) = (Vec::new(), Vec::new());
    for host in hosts {
        match literal(host, default_port) {
            Some(address) => found.push(address),
            None => match look_up(host, default_port).await {
                Ok(addresses) => found.extend(addresses),
                Err(reason) => reasons.push(format!("Failed to resolve {host}: {reason}")),
            },
        }
    }
    (found, reasons)
}

/// An address that needs no lookup: `10.0.0.1`, `10.0.0.1:8301`, `fd00::1`, `[fd00::1]:8301`.
fn literal(text: &str, default_port: u16) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let ip = || bare.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, default_port));
    text.parse().ok().or_else(ip)
}

async fn look_up(host: &str, default_port: u16) -> Result<Vec<SocketAddr>, String> {
    if host.split_whitespace().any(|word| word.starts_with("provider=")) {
        return Err("discovery in clouds is not supported: name hosts".to_owned());
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().map_err(|_| format!("invalid port {port:?}"))?),
        None => (host, default_port),
    };
    let missing = || format!("lookup {name}: no such host");
    if name.is_empty() {
        return Err(missing());
    }
    let looked_up = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((name, port))).await;
    let found: Vec<SocketAddr> = match looked_up {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(_)) => return Err(missing()),
        Err(_) => return Err(format!("lookup {name}: i/o timeout")),
    };
    if found.is_empty() { Err(missing()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_no_lookup() {
        for (text, expected) in [
            ("10.0.0.1", Some("10.0.0.1:8301")),
            ("10.0.0.1:99", Some("10.0.0.1:99")),
            ("fd00::1", Some("[fd00::1]:8301")),
            ("[fd00::1]", Some("[fd00::1]:8301")),
            ("[fd00::1]:99", Some("[fd00::1]:99")),
            ("host", None),
            ("host:99", None),
            ("", None),
        ] {
            assert_eq!(literal(text, 8301), expected.map(|text| text.parse().expect("an address")), "{text}");
        }
    }

    #[tokio::test]
    async fn what_has_no_address_is_said_in_consuls_words() {
        let hosts = ["", "10.0.0.1", "h:x", "provider=aws tag=x"].map(str::to_owned);
        let (found, reasons) = resolve(&hosts, 8301).await;
        assert_eq!(found.len(), 1);
        assert_eq!(
            reasons,
            [
                "Failed to resolve : lookup : no such host",
                "Failed to resolve h:x: invalid port \"x\"",
                "Failed to resolve provider=aws tag=x: discovery in clouds is not supported: name hosts",
            ]
        );
    }
}
