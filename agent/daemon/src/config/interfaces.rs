//! The addresses of this host, and the few go-sockaddr expressions that name them.
//!
//! Reads Linux' `/proc/net`; on a host without it no address is found and
//! addresses must be written out. IPv4 addresses there have no interface name,
//! so each is given to the interface whose connected route covers it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub name: String,
    pub address: IpAddr,
    /// Whether the default route leaves through it.
    pub default_route: bool,
}

/// Every address of this host; interfaces with the default route first.
pub(super) fn all() -> Vec<Interface> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    from_proc(&read("/proc/net/fib_trie"), &read("/proc/net/route"), &read("/proc/net/if_inet6"))
}

/// Takes the three files apart; lines that make no sense are passed over.
fn from_proc(fib_trie: &str, route: &str, if_inet6: &str) -> Vec<Interface> {
    let routes: Vec<Route> = route.lines().skip(1).filter_map(Route::parse).collect();
    let is_default = |name: &str| routes.iter().any(|route| route.mask == 0 && route.interface == name);
    let mut found: Vec<Interface> = Vec::new();
    let mut add = |name: String, address: IpAddr| {
        let interface = Interface { default_route: is_default(&name), name, address };
        if !found.contains(&interface) {
            found.push(interface);
        }
    };
    for address in local_ipv4(fib_trie) {
        let bits = u32::from(address);
        let route = routes.iter().filter(|route| route.mask != 0 && bits & route.mask == route.destination);
        let name = route.max_by_key(|route| route.mask).map(|route| route.interface.clone());
        add(
            name.unwrap_or_else(|| if address.is_loopback() { "lo".to_owned() } else { String::new() }),
            address.into(),
        );
    }
    for line in if_inet6.lines() {
        let mut words = line.split_whitespace();
        let address = words.next().and_then(|hex| u128::from_str_radix(hex, 16).ok());
        if let (Some(address), Some(name)) = (address, words.next_back()) {
            add(name.to_owned(), Ipv6Addr::from(address).into());
        }
    }
    found.sort_by_key(|interface| !interface.default_route);
    found
}

/// A line of `/proc/net/route`; numbers there are in the order of the host's bytes.
struct Route {
    interface: String,
    destination: u32,
    mask: u32,
}

impl Route {
    fn parse(line: &str) -> Option<Route> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |position: usize| -> Option<u32> {
            let value = u32::from_str_radix(words.get(position)?, 16).ok()?;
            Some(u32::from_be_bytes(value.to_ne_bytes()))
        };
        Some(Route { interface: (*words.first()?).to_owned(), destination: number(1)?, mask: number(7)? })
    }
}

/// Addresses that the routing table marks as the host's own: a line with the address, then one with `host LOCAL`.
fn local_ipv4(fib_trie: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut address = None;
    for line in fib_trie.lines() {
        let words = line.trim();
        if let Some(text) = words.strip_prefix("|-- ") {
            address = text.parse().ok();
        } else if words == "/32 host LOCAL" {
            found.extend(address.filter(|address| !found.contains(address)));
        }
    }
    found
}

/// Whether an address is of the kind that go-sockaddr calls private: RFC 6890, forwardable and not for everybody.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = u32::from(v4) & 0xffc0_0000 == u32::from(Ipv4Addr::new(100, 64, 0, 0));
            v4.is_private() || v4.is_documentation() || shared
        }
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_unspecified(),
    }
}

/// The address to tell others when the agent listens on all: a private one of the family, else any that is routable.
pub(super) fn advertised(interfaces: &[Interface], ipv4: bool) -> Option<IpAddr> {
    let candidates = || interfaces.iter().map(|interface| interface.address).filter(|found| found.is_ipv4() == ipv4);
    candidates().find(|address| is_private(*address)).or_else(|| candidates().find(|address| is_global(*address)))
}

/// Replaces every `{{ ... }}` in an address; several results are separated by spaces.
///
/// # Errors
/// The expression, when it is not one of the few that are known.
pub(super) fn expand(text: &str, interfaces: &[Interface]) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (expression, behind) = after.split_once("}}").ok_or_else(|| format!("{text:?} has no \"}}}}\""))?;
        expanded.push_str(before);
        expanded.push_str(&evaluate(expression.trim(), interfaces)?);
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn evaluate(expression: &str, interfaces: &[Interface]) -> Result<String, String> {
    let (function, argument) = match expression.split_once(char::is_whitespace) {
        Some((function, argument)) => (function, argument.trim().trim_matches(['"', '`'])),
        None => (expression, ""),
    };
    let wanted: Box<dyn Fn(&Interface) -> bool> = match function {
        "GetPrivateIP" | "GetPrivateIPs" => Box::new(|found| is_private(found.address)),
        "GetPublicIP" | "GetPublicIPs" => Box::new(|found| is_global(found.address) && !is_private(found.address)),
        "GetInterfaceIP" | "GetInterfaceIPs" => Box::new(|found| found.name == argument),
        "GetAllInterfaces" => return pipeline(expression, interfaces),
        _ => return Err(format!("address expression {expression:?} is not supported: write the address")),
    };
    let mut addresses: Vec<IpAddr> =
        interfaces.iter().filter(|found| wanted(found)).map(|found| found.address).collect();
    addresses.sort_by_key(|address| (!address.is_ipv4(), !is_global(*address)));
    if !function.ends_with("IPs") {
        addresses.truncate(1);
    }
    Ok(join(&addresses, " "))
}

/// `GetAllInterfaces | include "name" "eth0" | ... | join "address" " "`.
fn pipeline(expression: &str, interfaces: &[Interface]) -> Result<String, String> {
    let unsupported = || format!("address expression {expression:?} is not supported: write the address");
    let mut found: Vec<&Interface> = interfaces.iter().collect();
    for stage in expression.split('|').skip(1) {
        let mut parts = stage.split('"');
        let filter = parts.next().unwrap_or_default().trim();
        let arguments: Vec<&str> = parts.step_by(2).collect();
        match (filter, arguments.as_slice()) {
            ("include", ["name", name]) => found.retain(|interface| interface.name == *name),
            ("exclude", ["name", name]) => found.retain(|interface| interface.name != *name),
            ("include", ["type", kind]) => found.retain(|interface| is_type(interface.address, kind)),
            ("exclude", ["type", kind]) => found.retain(|interface| !is_type(interface.address, kind)),
            ("attr", ["address"]) => found.truncate(1),
            ("join", ["address", separator]) => {
                let addresses: Vec<IpAddr> = found.iter().map(|interface| interface.address).collect();
                return Ok(join(&addresses, separator));
            }
            ("limit 1", []) => found.truncate(1),
            _ => return Err(unsupported()),
        }
    }
    found.first().map(|interface| interface.address.to_string()).ok_or_else(unsupported)
}

fn is_type(address: IpAddr, kind: &str) -> bool {
    match kind.to_ascii_lowercase().as_str() {
        "ipv4" => address.is_ipv4(),
        "ipv6" => address.is_ipv6(),
        "ip" => true,
        _ => false,
    }
}

fn join(addresses: &[IpAddr], separator: &str) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Vec<Interface> {
        let fib = "  +-- 127.0.0.0/8 2 0 2\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 10.1.2.3\n        /32 host LOCAL\n     |-- 10.1.2.255\n        /32 link BROADCAST\n     |-- 8.8.4.4\n        /32 host LOCAL\n";
        let hex = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let line =
            |name: &str, to: [u8; 4], mask: [u8; 4]| format!("{name}\t{}\t0\t1\t0\t0\t0\t{}\t0\n", hex(to), hex(mask));
        let route = "Iface\n".to_owned()
            + &line("eth1", [10, 1, 2, 0], [255, 255, 255, 0])
            + &line("eth0", [8, 8, 4, 0], [255, 255, 255, 0])
            + &line("eth0", [0; 4], [0; 4]);
        let inet6 = "fd000000000000000000000000000002 04 40 00 82     eth1\n";
        from_proc(fib, &route, inet6)
    }

    #[test]
    fn expressions_name_the_addresses_of_the_host() {
        for (text, expected) in [
            ("{{ GetInterfaceIP \"eth0\" }}", "8.8.4.4"),
            ("{{GetPrivateIP}}", "10.1.2.3"),
            ("{{ GetPrivateIPs }} 127.0.0.1", "10.1.2.3 fd00::2 127.0.0.1"),
            ("{{ GetPublicIP }}", "8.8.4.4"),
            ("{{ GetInterfaceIP \"none\" }}", ""),
            (
                "{{ GetAllInterfaces | include \"name\" \"eth1\" | include \"type\" \"ipv6\" | join \"address\" \" \" }}",
                "fd00::2",
            ),
        ] {
            assert_eq!(expand(text, &host()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_unknown_expression_is_an_error() {
        assert!(expand("{{ GetMoon }}", &host()).is_err());
        assert!(expand("{{ GetPrivateIP", &host()).is_err());
    }

    #[test]
    fn the_advertised_address_is_private_first() {
        assert_eq!(advertised(&host(), true), Some(IpAddr::from([10, 1, 2, 3])));
        assert_eq!(advertised(&[], true), None);
    }
}
