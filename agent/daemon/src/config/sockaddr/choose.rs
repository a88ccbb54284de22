//! What `include` and `exclude` choose addresses by: names, networks, flags, the RFCs that set blocks of them aside.

use std::net::IpAddr;

use regex::Regex;

use super::super::address::Network;
use super::Interface;
use super::number;

/// What an address is chosen by.
pub(super) type Test = Box<dyn Fn(&Interface) -> bool>;

fn test(test: impl Fn(&Interface) -> bool + 'static) -> Test {
    Box::new(test)
}

/// The tests of a selector. Alternatives that go-sockaddr goes through one after the other are a test each.
pub(super) fn criteria(key: &str, wanted: &str) -> Result<Vec<Test>, String> {
    match key.to_ascii_lowercase().as_str() {
        "name" => regex(wanted).map(|name| vec![test(move |found| name.is_match(&found.name))]),
        "address" => regex(wanted).map(|address| vec![test(move |found| address.is_match(&found.with_prefix()))]),
        "type" => is_type(wanted).map(|test| vec![test]),
        "flag" | "flags" => has_flags(wanted).map(|test| vec![test]),
        "size" => number(wanted).map(|prefix: u8| vec![test(move |found| found.prefix == prefix)]),
        "network" => wanted.split('|').map(is_in_network).collect(),
        "rfc" | "rfcs" => wanted.split('|').map(is_of_rfc).collect(),
        _ => Err(format!("{key:?} is nothing to choose by")),
    }
}

fn is_type(wanted: &str) -> Result<Test, String> {
    let (mut ipv4, mut ipv6) = (false, false);
    for kind in wanted.to_ascii_lowercase().split('|') {
        match kind {
            "ip" => (ipv4, ipv6) = (true, true),
            "ipv4" => ipv4 = true,
            "ipv6" => ipv6 = true,
            other => return Err(format!("type {other:?} is not known")),
        }
    }
    Ok(test(move |found| if found.address.is_ipv4() { ipv4 } else { ipv6 }))
}

/// Bits that the kernel has for an interface.
pub(super) const UP: u32 = 0x1;
pub(super) const BROADCAST: u32 = 0x2;
pub(super) const LOOPBACK: u32 = 0x8;
const POINT_TO_POINT: u32 = 0x10;
pub(super) const MULTICAST: u32 = 0x1000;

/// Whether the interface has all of these flags or the address is of one of these kinds: some names stand for both.
fn has_flags(wanted: &str) -> Result<Test, String> {
    let mut bits = 0;
    let mut kinds: Vec<fn(&Interface) -> bool> = Vec::new();
    for name in wanted.to_ascii_lowercase().split('|') {
        match name {
            "up" => bits |= UP,
            "broadcast" => bits |= BROADCAST,
            "point-to-point" => bits |= POINT_TO_POINT,
            "multicast" => bits |= MULTICAST,
            "loopback" => {
                bits |= LOOPBACK;
                kinds.push(is_loopback);
            }
            "forwardable" => kinds.push(is_forwardable),
            "global unicast" => kinds.push(is_global_unicast),
            "link-local unicast" => kinds.push(is_link_local),
            other => return Err(format!("flag {other:?} is not known")),
        }
    }
    Ok(test(move |found| (bits != 0 && found.flags & bits == bits) || kinds.iter().any(|is_kind| is_kind(found))))
}

fn is_loopback(found: &Interface) -> bool {
    found.address.is_loopback()
}

fn is_link_local(found: &Interface) -> bool {
    match found.address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn is_global_unicast(found: &Interface) -> bool {
    let address = found.address;
    !(is_loopback(found) || is_link_local(found) || address.is_unspecified() || address.is_multicast())
}

/// Routers pass it on.
pub(super) fn is_forwardable(found: &Interface) -> bool {
    !is_in(found, NOT_FORWARDABLE)
}

/// RFC 6890 has a purpose for it: the only sense in which go-sockaddr calls an address private.
pub(super) fn is_special(found: &Interface) -> bool {
    is_in(found, SPECIAL_PURPOSE)
}

fn is_in_network(written: &str) -> Result<Test, String> {
    let network = Network::parse(written).ok_or_else(|| format!("{written:?} is no network"))?;
    Ok(test(move |found| network.holds(found.address, found.prefix)))
}

fn is_of_rfc(number: &str) -> Result<Test, String> {
    let known = RFCS.iter().find(|(rfc, _)| *rfc == number);
    let (_, networks) = known.ok_or_else(|| format!("the addresses of RFC {number} are not known"))?;
    Ok(test(move |found| is_in(found, networks)))
}

fn is_in(found: &Interface, networks: &[&str]) -> bool {
    networks.iter().filter_map(|text| Network::parse(text)).any(|network| network.holds(found.address, found.prefix))
}

/// Blocks of addresses by the RFC that sets them aside, in the width that go-sockaddr gives them.
pub(super) const RFCS: &[(&str, &[&str])] = &[
    ("1122", &["0.0.0.0/8", "127.0.0.0/8"]),
    ("1918", &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]),
    ("3849", &["2001:db8::/32"]),
    ("3927", &["169.254.0.0/16"]),
    ("4193", &["fc00::/7"]),
    ("5737", &["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"]),
    ("6598", &["100.64.0.0/10"]),
    ("6890", SPECIAL_PURPOSE),
];

const SPECIAL_PURPOSE: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "64:ff9b::/96",
    "100::/64",
    "2001::/16",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
];

pub(super) const NOT_FORWARDABLE: &[&str] = &[
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "2001:db8::/32",
    "2001:10::/28",
    "fe80::/10",
];

/// A pattern as Go reads it, near enough.
pub(super) fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| format!("{pattern:?} is no regular expression: {error}"))
}
