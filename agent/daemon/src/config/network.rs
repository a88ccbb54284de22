//! Where the agent listens and what it advertises: addresses, ports, and that no two of them are the same.
//!
//! Part of `build`; owns nothing but these rules.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::ConfigError;
use super::address::{self, Address};
use super::build::Reader;
use super::checked::{NetworkConfig, Ports};
use super::interfaces::{self, Interface};
use crate::env::ListenAddress;

/// Reads addresses and ports. Mistakes of one value go to the reader.
///
/// # Errors
/// In Consul's words, for values that make no sense.
pub(super) fn config(reader: &mut Reader<'_>, host: &[Interface]) -> Result<NetworkConfig, ConfigError> {
    let document = reader.document;
    let ports = ports(reader);
    let bind = match document.text("bind_addr") {
        // Consul calls a host name an empty address.
        Some(text) => address::single("bind_addr", text, host).map_err(|error| {
            match error.to_string().contains("invalid ip") {
                true => ConfigError::new("bind_addr cannot be empty"),
                false => error,
            }
        })?,
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let advertise = advertise(reader, bind, host)?;
    let mut client = addresses(reader, "client_addr", "127.0.0.1", host);
    if client.iter().any(|found| matches!(found, Address::Unix(_))) {
        reader.mistakes.push("client_addr cannot be a unix socket".to_owned());
        client.clear();
    }
    let of = |reader: &mut Reader<'_>, key: &str| match reader.document.text(key) {
        Some(text) => addresses(reader, key, text, host),
        None => client.clone(),
    };
    let http = of(reader, "addresses.http");
    // TLS is not served yet, but a mistake in its address is a mistake.
    of(reader, "addresses.https");
    let mut dns = Vec::new();
    for found in of(reader, "addresses.dns") {
        match (found, ports.dns) {
            (Address::Unix(_), _) => return Err(ConfigError::new("DNS address cannot be a unix socket")),
            (Address::Ip(ip), Some(port)) => dns.push(SocketAddr::new(ip, port)),
            (Address::Ip(_), None) => {}
        }
    }
    let http = ports.http.map_or_else(Vec::new, |port| http.iter().map(|found| found.listen(port)).collect());
    Ok(NetworkConfig { bind, advertise, http, dns, ports })
}

fn addresses(reader: &mut Reader<'_>, key: &str, default: &str, host: &[Interface]) -> Vec<Address> {
    let text = reader.document.text(key).unwrap_or(default);
    address::list(key, text, host).unwrap_or_else(|mistake| {
        reader.mistakes.push(mistake);
        Vec::new()
    })
}

fn advertise(reader: &Reader<'_>, bind: IpAddr, host: &[Interface]) -> Result<IpAddr, ConfigError> {
    let keys = ["advertise_addr", "advertise_addr_ipv4", "advertise_addr_ipv6"];
    for key in keys {
        let Some(text) = reader.document.text(key).filter(|text| !text.is_empty()) else { continue };
        let found = address::single(key, text, host)?;
        if found.is_unspecified() {
            return Err(ConfigError::new("Advertise address cannot be 0.0.0.0, :: or [::]"));
        }
        return Ok(found);
    }
    if !bind.is_unspecified() {
        return Ok(bind);
    }
    let kind = if bind.is_ipv4() { "private IPv4" } else { "public IPv6" };
    interfaces::advertised(host, bind.is_ipv4())
        .ok_or_else(|| ConfigError::new(format!("No {kind} address found: set advertise_addr")))
}

fn ports(reader: &mut Reader<'_>) -> Ports {
    let mut port = |key: &str, default: i64| {
        let number = reader.document.int(key).unwrap_or(default);
        match u16::try_from(number) {
            Ok(0) => None,
            Ok(port) => Some(port),
            Err(_) if number < 0 => None,
            Err(_) => {
                reader.mistakes.push(format!("{key}: invalid port: {number}"));
                None
            }
        }
    };
    Ports {
        dns: port("ports.dns", 8600),
        http: port("ports.http", 8500),
        https: port("ports.https", -1),
        grpc: port("ports.grpc", -1),
        server: port("ports.server", 8300),
        serf_lan: port("ports.serf_lan", 8301),
        serf_wan: port("ports.serf_wan", 8302),
    }
}

/// No two listeners may share an address and a port.
///
/// # Errors
/// The second listener of a pair, in Consul's words.
pub(super) fn refuse_duplicates(network: &NetworkConfig) -> Result<(), ConfigError> {
    let mut taken: BTreeMap<String, &'static str> = BTreeMap::new();
    let mut claim = |name: &'static str, address: String| match taken.insert(address.clone(), name) {
        Some(first) => Err(ConfigError::new(format!("{name} address {address} already configured for {first}"))),
        None => Ok(()),
    };
    for address in &network.dns {
        claim("DNS", address.to_string())?;
    }
    for address in &network.http {
        match address {
            ListenAddress::Tcp(address) => claim("HTTP", address.to_string())?,
            ListenAddress::Unix(path) => claim("HTTP", format!("unix://{}", path.display()))?,
        }
    }
    if let Some(port) = network.ports.https {
        for address in &network.http {
            if let ListenAddress::Tcp(address) = address {
                claim("HTTPS", SocketAddr::new(address.ip(), port).to_string())?;
            }
        }
    }
    for (name, port) in [
        ("RPC Advertise", network.ports.server),
        ("Serf Advertise LAN", network.ports.serf_lan),
        ("Serf Advertise WAN", network.ports.serf_wan),
    ] {
        if let Some(port) = port {
            claim(name, SocketAddr::new(network.advertise, port).to_string())?;
        }
    }
    Ok(())
}
