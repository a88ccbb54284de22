//! Opening TCP connections, with errors as Go words them.
//!
//! All addresses of a name are tried, IPv4 and IPv6, within one time limit; the
//! first error is the one that is told.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// The least time one of several addresses gets, as in Go.
const ADDRESS_TIMEOUT_MIN: Duration = Duration::from_secs(2);

/// Opens a connection to `host:port` before `deadline`.
///
/// # Errors
/// Go's text: `dial tcp 127.0.0.1:1: connect: connection refused`.
pub(super) async fn dial(host_port: &str, deadline: Instant) -> Result<TcpStream, String> {
    let addresses = resolve("tcp", host_port, deadline).await?;
    let mut first_error = None;
    for (place, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let others = u32::try_from(addresses.len() - place).unwrap_or(u32::MAX);
        let share = (left / others).max(ADDRESS_TIMEOUT_MIN).min(left);
        let error = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => format!("dial tcp {address}: connect: {}", os_text(&error)),
            Err(_) => format!("dial tcp {address}: i/o timeout"),
        };
        first_error.get_or_insert(error);
    }
    Err(first_error.unwrap_or_else(|| format!("dial tcp: lookup {host_port}: no such host")))
}

/// The addresses of `host:port`.
///
/// # Errors
/// Go's text for `network` (`tcp` or `udp`).
pub(super) async fn resolve(network: &str, host_port: &str, deadline: Instant) -> Result<Vec<SocketAddr>, String> {
    let Some((host, port)) = split(host_port) else {
        return Err(format!("dial {network}: address {host_port}: missing port in address"));
    };
    let lookup = tokio::net::lookup_host((host, port));
    match timeout_at(deadline, lookup).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(_)) => Err(format!("dial {network}: lookup {host}: no such host")),
        Err(_) => Err(format!("dial {network}: lookup {host}: i/o timeout")),
    }
}

/// Splits `host:port`; an IPv6 host stands in brackets.
fn split(host_port: &str) -> Option<(&str, u16)> {
    let (host, port) = host_port.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if bare.is_none() && host.contains(':') {
        return None;
    }
    let host = bare.unwrap_or(host);
    Some((if host.is_empty() { "localhost" } else { host }, port.parse().ok()?))
}

/// The host of `host:port`, without brackets; all of it when there is no port.
pub(super) fn host_of(host_port: &str) -> &str {
    split(host_port).map_or(host_port, |(host, _)| host)
}

/// What the system says, without the number and in lower case, as Go has it.
pub(super) fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_come_apart() {
        let cases = [
            ("127.0.0.1:80", Some(("127.0.0.1", 80))),
            ("[::1]:80", Some(("::1", 80))),
            (":80", Some(("localhost", 80))),
            ("::1", None),
            ("host", None),
            ("host:http", None),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text), expected, "{text}");
        }
    }
}
