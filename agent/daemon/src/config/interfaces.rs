//! The addresses of this host, as the kernel lists them, and which of them to tell others.
//!
//! Where the kernel tells nobody of its interfaces (a sandbox without netlink), no address is found, and addresses must be
//! written out. What is written in place of an address is read by [`super::sockaddr`].

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use if_addrs::IfAddr;

/// One address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub name: String,
    pub address: IpAddr,
    /// The leading bits that its network has in common.
    pub prefix: u8,
    /// The kernel's `IFF_` bits of the interface.
    pub flags: u32,
    /// Whether the default route leaves through it.
    pub default_route: bool,
}

impl Interface {
    fn of(found: &if_addrs::Interface, default_route: Option<&str>) -> Interface {
        // A second address may have a label of its own, such as eth0:1.
        let name = found.name.split(':').next().unwrap_or_default().to_owned();
        Interface {
            address: found.ip(),
            prefix: match &found.addr {
                IfAddr::V4(address) => address.prefixlen,
                IfAddr::V6(address) => address.prefixlen,
            },
            flags: flags(&name).unwrap_or_else(|| u32::from(found.is_oper_up())),
            default_route: default_route == Some(name.as_str()),
            name,
        }
    }

    /// The address with its network's size, where it is not alone in it.
    pub(super) fn with_prefix(&self) -> String {
        let bits = if self.address.is_ipv4() { 32 } else { 128 };
        if self.prefix == bits { self.address.to_string() } else { format!("{}/{}", self.address, self.prefix) }
    }
}

/// Every address of this host, by interface.
pub(super) fn all() -> Vec<Interface> {
    let mut found = if_addrs::get_if_addrs().unwrap_or_default();
    // The C library lists interfaces once for each family.
    found.sort_by_key(|found| found.index);
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let default_route = default_route(&routes);
    found.iter().map(|found| Interface::of(found, default_route)).collect()
}

/// The first IPv4 address of an interface.
///
/// # Errors
/// There is none; the text names those that have one.
pub fn ipv4_of(name: &str) -> Result<IpAddr, String> {
    let mut found = all();
    found.retain(|found| found.address.is_ipv4());
    let known: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
    let address = found.iter().find(|found| found.name == name).map(|found| found.address);
    address.ok_or_else(|| format!("interface {name:?} has no IPv4 address; these have: {}", known.join(", ")))
}

/// What the kernel says of an interface; nothing where there is no `/sys`. The first bit is that it is up.
fn flags(name: &str) -> Option<u32> {
    let text = fs::read_to_string(format!("/sys/class/net/{name}/flags")).ok()?;
    u32::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

/// The interface of the first route to everywhere, which has no mask. `routes` is `/proc/net/route`, whose lines that
/// make no sense are passed over.
fn default_route(routes: &str) -> Option<&str> {
    routes.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (u32::from_str_radix(words.get(7)?, 16) == Ok(0)).then_some(*words.first()?)
    })
}

/// Whether an address is of the kind that Consul calls private when it looks for one to advertise.
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

/// The address to tell others when the agent listens on all: a private one of the family, else any that is routable; of
/// several one with the default route.
pub(super) fn advertised(interfaces: &[Interface], ipv4: bool) -> Option<IpAddr> {
    let mut candidates: Vec<&Interface> = interfaces.iter().filter(|found| found.address.is_ipv4() == ipv4).collect();
    candidates.sort_by_key(|found| !found.default_route);
    let first = |wanted: fn(IpAddr) -> bool| candidates.iter().map(|found| found.address).find(|found| wanted(*found));
    first(is_private).or_else(|| first(is_global))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
        nonsense\n\
        eth1\t0002010A\t0\t1\t0\t0\t0\t00FFFFFF\n\
        eth0\t00000000\t0101FEA9\t3\t0\t0\t0\t00000000\n\
        eth2\t00000000\t0101FEA9\t3\t0\t0\t9\t00000000\n";

    #[test]
    fn the_default_route_is_the_first_to_everywhere() {
        assert_eq!(default_route(ROUTES), Some("eth0"));
        assert_eq!(default_route(""), None);
    }

    #[test]
    fn this_host_has_a_loopback_interface() {
        assert_eq!(ipv4_of("lo"), Ok(IpAddr::from([127, 0, 0, 1])));
        let error = ipv4_of("none").unwrap_err();
        assert!(
            error.starts_with("interface \"none\" has no IPv4 address; these have: ") && error.contains("lo"),
            "{error}"
        );
        let found = all().into_iter().find(|found| found.address == IpAddr::from([127, 0, 0, 1])).expect("it has");
        assert_eq!((found.with_prefix().as_str(), found.flags & 1), ("127.0.0.1/8", 1));
    }

    #[test]
    fn the_advertised_address_is_private_and_of_the_default_route_first() {
        let host = ["127.0.0.1 lo", "10.1.2.3 eth1", "8.8.4.4 eth0", "10.9.9.9 eth0", "fd00::2 eth1"].map(|text| {
            let (address, name) = text.split_once(' ').expect("two words");
            let address = address.parse().unwrap();
            Interface { name: name.to_owned(), address, prefix: 24, flags: 1, default_route: name == "eth0" }
        });
        assert_eq!(advertised(&host, true), Some(IpAddr::from([10, 9, 9, 9])));
        assert_eq!(advertised(&[], true), None);
    }
}
