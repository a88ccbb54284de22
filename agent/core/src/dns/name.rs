//! Reads what a name asks for.
//!
//! ```text
//! [tag.]name.service[.dc].domain    _name._tag[.service][.dc].domain    name.node[.dc].domain
//! hex.addr[.dc].domain              reversed.in-addr.arpa               nibbles.ip6.arpa
//! ```
//!
//! Tags and node names may contain dots. Nothing is looked up here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::config::DnsConfig;
use super::record::Kind;

/// What a name asks for. Names are lower case, as handed to [`parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question<'n> {
    /// A node.
    Node {
        /// Its name.
        name: &'n str,
        /// The data centre, if one was named.
        datacenter: Option<&'n str>,
    },
    /// The healthy instances of a service.
    Service {
        /// Its name.
        name: &'n str,
        /// Only those with this tag.
        tag: Option<&'n str>,
        /// The data centre, if one was named.
        datacenter: Option<&'n str>,
    },
    /// An address written as a name.
    Address(IpAddr),
    /// Written like an address, but neither 8 nor 32 digits: the name exists and has no records.
    NoAddress,
    /// Which name has this address; `None` if the reversed name is not a whole address.
    Reverse(Option<IpAddr>),
    /// In our domain, but no form that exists.
    Unknown,
    /// Outside our domains.
    Foreign,
}

/// Reads `name`: lower case, without the final dot.
pub fn parse<'n>(name: &'n str, kind: Kind, config: &DnsConfig) -> Question<'n> {
    if let Some(reversed) = strip_domain(name, "in-addr.arpa") {
        return Question::Reverse(reversed_v4(reversed));
    }
    if let Some(reversed) = strip_domain(name, "ip6.arpa") {
        return Question::Reverse(reversed_v6(reversed));
    }
    let inside = strip_domain(name, &config.domain);
    match inside.or_else(|| strip_domain(name, &config.alt_domain)) {
        Some(inside) => parse_inside(inside, kind),
        None => Question::Foreign,
    }
}

/// What stands in front of `domain`, or `None` if the name is not in it.
pub(super) fn strip_domain<'n>(name: &'n str, domain: &str) -> Option<&'n str> {
    if domain.is_empty() {
        return None;
    }
    let front = name.strip_suffix(domain)?;
    if front.is_empty() { Some(front) } else { front.strip_suffix('.') }
}

fn parse_inside(inside: &str, kind: Kind) -> Question<'_> {
    // The last label that names a form decides, so node names and tags may contain such words.
    let mut end = inside.len();
    loop {
        let start = inside[..end].rfind('.').map_or(0, |dot| dot + 1);
        let label = &inside[start..end];
        let front = inside[..start].strip_suffix('.').unwrap_or_default();
        let back = inside[end..].strip_prefix('.').unwrap_or_default();
        match label {
            "node" => return with_datacenter(back, |datacenter| node(front, datacenter)),
            "service" => return with_datacenter(back, |datacenter| service(front, datacenter)),
            "addr" => return with_datacenter(back, |_| address(front)),
            "query" | "connect" | "ingress" => return Question::Unknown,
            // The word `service` may be left out of an RFC 2782 name.
            _ if kind == Kind::Srv && label.starts_with('_') => {
                return with_datacenter(back, |datacenter| service(&inside[..end], datacenter));
            }
            _ if start == 0 => return Question::Unknown,
            _ => end = start - 1,
        }
    }
}

/// `dc` or, as later versions write it, `dc.dc`.
fn with_datacenter<'n>(back: &'n str, form: impl FnOnce(Option<&'n str>) -> Question<'n>) -> Question<'n> {
    if back.is_empty() {
        return form(None);
    }
    let datacenter = back.strip_suffix(".dc").unwrap_or(back);
    if datacenter.contains('.') { Question::Unknown } else { form(Some(datacenter)) }
}

fn node<'n>(name: &'n str, datacenter: Option<&'n str>) -> Question<'n> {
    if name.is_empty() { Question::Unknown } else { Question::Node { name, datacenter } }
}

fn service<'n>(front: &'n str, datacenter: Option<&'n str>) -> Question<'n> {
    let (before, last) = match front.rsplit_once('.') {
        Some((before, last)) => (Some(before), last),
        None => (None, front),
    };
    if last.is_empty() {
        return Question::Unknown;
    }
    if let (Some(name), Some(tag)) = (before.and_then(|name| name.strip_prefix('_')), last.strip_prefix('_'))
        && !name.contains('.')
    {
        let tag = Some(tag).filter(|tag| *tag != "tcp" && !tag.is_empty());
        return Question::Service { name, tag, datacenter };
    }
    Question::Service { name: last, tag: before, datacenter }
}

fn address(front: &str) -> Question<'_> {
    if front.is_empty() || front.contains('.') {
        return Question::Unknown;
    }
    let hexadecimal = front.bytes().all(|byte| byte.is_ascii_hexdigit());
    let ip = match front.len() {
        8 => u32::from_str_radix(front, 16).ok().map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        32 => u128::from_str_radix(front, 16).ok().map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
        _ => return Question::NoAddress,
    };
    ip.filter(|_| hexadecimal).map_or(Question::Unknown, Question::Address)
}

fn reversed_v4(reversed: &str) -> Option<IpAddr> {
    let mut octets = [0_u8; 4];
    let mut labels = reversed.split('.');
    for octet in octets.iter_mut().rev() {
        *octet = labels.next()?.parse().ok()?;
    }
    labels.next().is_none().then_some(IpAddr::V4(octets.into()))
}

fn reversed_v6(reversed: &str) -> Option<IpAddr> {
    let mut bits = 0_u128;
    let mut labels = reversed.split('.');
    for nibble in 0..32 {
        let label = labels.next().filter(|label| label.len() == 1)?;
        bits |= u128::from(u8::from_str_radix(label, 16).ok()?) << (4 * nibble);
    }
    labels.next().is_none().then_some(IpAddr::V6(Ipv6Addr::from_bits(bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_ask_for() {
        let config = DnsConfig { alt_domain: "alt.example".to_owned(), ..DnsConfig::default() };
        let node = |name, datacenter| Question::Node { name, datacenter };
        let service = |name, tag, datacenter| Question::Service { name, tag, datacenter };
        let v4 = |text: &str| Question::Address(text.parse().expect("an address"));
        let reverse = |text: &str| Question::Reverse(Some(text.parse().expect("an address")));
        for (name, kind, expected) in [
            ("n1.node.consul", Kind::A, node("n1", None)),
            ("n1.node.dc1.consul", Kind::A, node("n1", Some("dc1"))),
            ("n1.node.dc1.dc.consul", Kind::A, node("n1", Some("dc1"))),
            ("n1.node.alt.example", Kind::A, node("n1", None)),
            ("foo.bar.node.consul", Kind::A, node("foo.bar", None)),
            ("a.service.node.consul", Kind::A, node("a.service", None)),
            ("node.consul", Kind::A, Question::Unknown),
            ("n1.node.dc1.foo.consul", Kind::A, Question::Unknown),
            ("web.service.consul", Kind::A, service("web", None, None)),
            ("v1.web.service.dc2.consul", Kind::A, service("web", Some("v1"), Some("dc2"))),
            ("a.b.web.service.consul", Kind::A, service("web", Some("a.b"), None)),
            ("_web._tcp.service.consul", Kind::A, service("web", None, None)),
            ("_web._v1.service.consul", Kind::Srv, service("web", Some("v1"), None)),
            ("_web._tcp.consul", Kind::Srv, service("web", None, None)),
            ("_web._v1.dc1.consul", Kind::Srv, service("web", Some("v1"), Some("dc1"))),
            ("_web._tcp.consul", Kind::A, Question::Unknown),
            ("_web.service.consul", Kind::Srv, service("_web", None, None)),
            ("service.consul", Kind::A, Question::Unknown),
            ("consul", Kind::A, Question::Unknown),
            ("a.b.c.consul", Kind::A, Question::Unknown),
            ("x.query.consul", Kind::A, Question::Unknown),
            ("x.connect.consul", Kind::A, Question::Unknown),
            ("0a090001.addr.consul", Kind::A, v4("10.9.0.1")),
            ("0a090001.addr.dc9.consul", Kind::A, v4("10.9.0.1")),
            ("fd000000000000000000000000000001.addr.consul", Kind::A, v4("fd00::1")),
            ("gg000000.addr.consul", Kind::A, Question::Unknown),
            ("+a000000.addr.consul", Kind::A, Question::Unknown),
            ("zz.addr.consul", Kind::A, Question::NoAddress),
            ("x.0a090001.addr.consul", Kind::A, Question::Unknown),
            ("1.0.1.10.in-addr.arpa", Kind::Other, reverse("10.1.0.1")),
            ("1.10.in-addr.arpa", Kind::Other, Question::Reverse(None)),
            ("in-addr.arpa", Kind::Other, Question::Reverse(None)),
            ("example.org", Kind::A, Question::Foreign),
            ("xconsul", Kind::A, Question::Foreign),
            ("", Kind::Ns, Question::Foreign),
        ] {
            assert_eq!(parse(name, kind, &config), expected, "{name}");
        }
    }

    #[test]
    fn reversed_ipv6_addresses_are_read_nibble_by_nibble() {
        let name = format!("9.9{}.d.f.ip6.arpa", ".0".repeat(28));
        assert_eq!(
            parse(&name, Kind::Other, &DnsConfig::default()),
            Question::Reverse(Some("fd00::99".parse().expect("an address")))
        );
    }
}
