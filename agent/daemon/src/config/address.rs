//! Addresses as written: IPs and Unix sockets separated by spaces, with expressions, and the ports behind them.
//!
//! Owns the texts of what is wrong with an address; which key an address
//! belongs to is [`super::checked`]'s business.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::ConfigError;
use super::interfaces::Interface;
use super::sockaddr;
use crate::env::ListenAddress;

/// One address without its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Ip(IpAddr),
    Unix(PathBuf),
}

impl Address {
    /// Where to listen with `port`; Unix sockets have none.
    pub(super) fn listen(&self, port: u16) -> ListenAddress {
        match self {
            Address::Ip(ip) => ListenAddress::Tcp(SocketAddr::new(*ip, port)),
            Address::Unix(path) => ListenAddress::Unix(path.clone()),
        }
    }
}

/// The most addresses in one value.
const ADDRESSES_MAX: usize = 64;

/// Reads a list of addresses.
///
/// # Errors
/// A text for a list of mistakes, which names `key`.
pub(super) fn list(key: &str, text: &str, host: &[Interface]) -> Result<Vec<Address>, String> {
    let expanded = sockaddr::expand(text, host).map_err(|error| format!("{key}: {error}"))?;
    let addresses: Result<Vec<Address>, String> = expanded.split_whitespace().map(|word| one(key, word)).collect();
    let addresses = addresses?;
    if addresses.len() > ADDRESSES_MAX {
        return Err(format!("{key}: more than {ADDRESSES_MAX} addresses"));
    }
    Ok(addresses)
}

fn one(key: &str, word: &str) -> Result<Address, String> {
    if let Some(path) = word.strip_prefix("unix://") {
        return Ok(Address::Unix(PathBuf::from(path)));
    }
    let bare = word.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(word);
    bare.parse().map(Address::Ip).map_err(|_| format!("{key}: invalid ip address: {word}"))
}

/// Reads the one IP address under `key`.
///
/// # Errors
/// In Consul's words: nothing there, several addresses, a Unix socket.
pub(super) fn single(key: &str, text: &str, host: &[Interface]) -> Result<IpAddr, ConfigError> {
    let addresses = list(key, text, host).map_err(ConfigError::new)?;
    match addresses.as_slice() {
        [] => Err(ConfigError::new(format!("{key} cannot be empty"))),
        [Address::Ip(ip)] => Ok(*ip),
        [Address::Unix(_)] => Err(ConfigError::new(format!("{key} cannot be a unix socket"))),
        [_, _, ..] => Err(ConfigError::new(format!(
            "{key} cannot contain multiple addresses. Use 'addresses.{{dns,http,https}}' instead."
        ))),
    }
}

/// A DNS server: an IP with or without a port, 53 by default.
///
/// # Errors
/// In Consul's words for a Unix socket, in ours for anything else.
pub(super) fn recursor(text: &str) -> Result<SocketAddr, ConfigError> {
    if text.starts_with("unix://") {
        return Err(ConfigError::new(format!("DNS Recursors cannot be unix sockets: {text}")));
    }
    let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
    let with_default = bare.parse().map(|ip| SocketAddr::new(ip, 53));
    with_default
        .or_else(|_| text.parse())
        .map_err(|_| ConfigError::new(format!("recursors: {text:?} is not an IP address with an optional port")))
}

/// A network such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// Leading bits that count.
    prefix: u32,
}

impl Network {
    /// Reads CIDR notation; `None` when it is not.
    #[must_use]
    pub fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = text.split_once('/')?;
        let (address, prefix): (IpAddr, u32) = (address.parse().ok()?, prefix.parse().ok()?);
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Network { address, prefix })
    }

    /// Whether `address` lies inside; IPv4 in IPv6 clothes counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = u32::from(network) ^ u32::from(address);
                differing.leading_zeros() >= self.prefix
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = u128::from(network) ^ u128::from(address);
                differing.leading_zeros() >= self.prefix
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Whether the network of `prefix` bits around `address` lies inside.
    #[must_use]
    pub fn holds(&self, address: IpAddr, prefix: u8) -> bool {
        self.contains(address) && u32::from(prefix) >= self.prefix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_their_prefix_says() {
        let network = Network::parse("10.1.0.0/16").expect("a network");
        for (address, inside) in [("10.1.2.3", true), ("10.2.0.0", false), ("::ffff:10.1.2.3", true), ("::1", false)] {
            assert_eq!(network.contains(address.parse().expect("an address")), inside, "{address}");
        }
        assert!(Network::parse("0.0.0.0/0").is_some_and(|all| all.contains(IpAddr::from([1, 2, 3, 4]))));
        assert_eq!(Network::parse("10.0.0.0/33"), None);
    }

    #[test]
    fn recursors_have_port_53_unless_they_say() {
        assert_eq!(recursor("8.8.8.8").map(|found| found.to_string()), Ok("8.8.8.8:53".to_owned()));
        assert_eq!(recursor("[::1]:5353").map(|found| found.to_string()), Ok("[::1]:5353".to_owned()));
        assert!(recursor("dns.example").is_err());
    }
}
