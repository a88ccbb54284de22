//! Expressions and what Consul 1.8.7 made of them on a host with these addresses.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::address::Network;
use super::choose::{BROADCAST, LOOPBACK, MULTICAST, NOT_FORWARDABLE, RFCS};
use super::*;

const UP_AND_BROADCAST: u32 = UP | BROADCAST | MULTICAST;

fn host() -> Vec<Interface> {
    let addresses = [
        ("lo", "127.0.0.1", 8, UP | LOOPBACK),
        ("lo", "::1", 128, UP | LOOPBACK),
        ("eth1", "10.1.2.3", 16, UP_AND_BROADCAST),
        ("eth1", "fd00::2", 64, UP_AND_BROADCAST),
        ("eth1", "fe80::1", 64, UP_AND_BROADCAST),
        ("eth0", "8.8.4.4", 24, UP_AND_BROADCAST),
        ("eth0", "10.9.9.9", 8, UP_AND_BROADCAST),
        ("eth0", "fe80::9", 64, UP_AND_BROADCAST),
    ];
    let interface = |(name, address, prefix, flags): (&str, &str, u8, u32)| Interface {
        name: name.to_owned(),
        address: address.parse().unwrap(),
        prefix,
        flags,
        default_route: name == "eth0",
    };
    addresses.into_iter().map(interface).collect()
}

#[test]
fn sources_find_what_go_sockaddr_finds() {
    for (expression, expected) in [
        (
            "GetAllInterfaces | join \"address\" \" \"",
            "127.0.0.1 ::1 10.1.2.3 fd00::2 fe80::1 8.8.4.4 10.9.9.9 fe80::9",
        ),
        ("GetPrivateInterfaces | join \"address\" \" \"", "10.9.9.9 10.1.2.3 fd00::2"),
        ("GetPublicInterfaces | join \"address\" \" \"", "8.8.4.4"),
        ("GetDefaultInterfaces | join \"address\" \" \"", "8.8.4.4 10.9.9.9 fe80::9"),
        ("GetPrivateIP", "10.9.9.9"),
        ("GetPrivateIPs", "10.9.9.9 10.1.2.3 fd00::2"),
        ("GetPublicIP", "8.8.4.4"),
        ("GetPublicIPs", "8.8.4.4"),
        ("GetInterfaceIP \"eth0\"", "10.9.9.9"),
        ("GetInterfaceIP \"eth.$\"", "10.9.9.9"),
        ("GetInterfaceIP \"lo\"", ""),
        ("GetInterfaceIPs \"lo\"", "127.0.0.1 ::1"),
        ("GetInterfaceIPs \"eth\"", "10.9.9.9 10.1.2.3 8.8.4.4 fd00::2 fe80::1 fe80::9"),
    ] {
        check(expression, expected);
    }
}

#[test]
fn stages_choose_and_order_as_go_sockaddr_does() {
    for (stages, expected) in [
        ("include \"name\" \"^l\" | attr \"address\"", "127.0.0.1"),
        ("include \"name\" `^eth\\d$` | limit 1 | attr \"ADDRESS\"", "10.1.2.3"),
        ("include \"name\" \"nope\" | attr \"address\"", ""),
        ("include \"network\" \"10.0.0.0/8\" | join \"address\" \" \"", "10.1.2.3 10.9.9.9"),
        ("include \"network\" \"10.1.2.0/24\" | join \"address\" \" \"", ""),
        ("include \"rfc\" \"4193|1918\" | join \"address\" \" \"", "fd00::2 10.1.2.3 10.9.9.9"),
        ("include \"address\" \"/16\" | join \"address\" \" \"", "10.1.2.3"),
        ("include \"size\" \"24\" | join \"network\" \" \"", "8.8.4.0"),
        ("include \"flags\" \"global unicast\" | join \"address\" \" \"", "10.1.2.3 fd00::2 8.8.4.4 10.9.9.9"),
        ("include \"flags\" \"broadcast|up\" | limit 1 | join \"address\" \" \"", "10.1.2.3"),
        (
            "include \"flags\" \"loopback|up|forwardable\" | sort \"type,address\" | join \"address\" \" \"",
            "8.8.4.4 10.1.2.3 10.9.9.9 127.0.0.1 ::1 fd00::2",
        ),
        (
            "exclude \"name\" \"^lo$\" | exclude \"type\" \"IPv6\" | sort \"address\" | offset 1 | join \"address\" \" \"",
            "10.1.2.3 10.9.9.9",
        ),
        ("offset -1 | attr \"address\"", "fe80::9"),
        ("sort \"-name\" | unique \"name\" | join \"address\" \" \"", "127.0.0.1 10.1.2.3 8.8.4.4"),
        ("sort \"size\" | join \"address\" \" \"", "127.0.0.1 fe80::9 10.1.2.3 fd00::2 fe80::1 10.9.9.9 8.8.4.4 ::1"),
        (
            "sort \"-size,-address\" | join \"address\" \" \"",
            "127.0.0.1 ::1 10.1.2.3 fe80::1 fd00::2 8.8.4.4 10.9.9.9 fe80::9",
        ),
    ] {
        check(&format!("GetAllInterfaces | {stages}"), expected);
    }
    check("GetPrivateInterfaces | sort \"default,-size\" | limit 1 | attr \"address\"", "10.9.9.9");
}

#[test]
fn what_stands_around_expressions_stays() {
    assert_eq!(expand("{{ GetPublicIP }} 127.0.0.1", &host()), Ok("8.8.4.4 127.0.0.1".to_owned()));
    assert_eq!(expand("127.0.0.1", &host()), Ok("127.0.0.1".to_owned()));
}

#[test]
fn what_is_not_known_is_named() {
    for (expression, part) in [
        ("GetMoon", "\"GetMoon\" is not supported"),
        ("GetAllInterfaces | math \"network\" \"+1\" | attr \"address\"", "\"math network +1\" is not supported"),
        ("GetAllInterfaces | include \"moon\" \"x\" | attr \"address\"", "\"moon\" is nothing to choose by"),
        ("GetAllInterfaces | include \"rfc\" \"1\" | attr \"address\"", "RFC 1 are not known"),
        ("GetAllInterfaces | include \"flags\" \"wet\" | attr \"address\"", "flag \"wet\" is not known"),
        ("GetAllInterfaces | sort \"moon\" | attr \"address\"", "\"moon\" is nothing to sort by"),
        ("GetAllInterfaces | attr \"moon\"", "\"moon\" is nothing to print"),
        ("GetAllInterfaces | offset 9 | attr \"address\"", "offset 9 is past the 8 addresses"),
        ("GetAllInterfaces | include \"name\" \"(\" | attr \"address\"", "is no regular expression"),
        ("GetAllInterfaces | include \"name\" \"eth", "is no text in quotes"),
        ("GetAllInterfaces", "it ends without attr or join"),
        ("GetPrivateIP | attr \"address\"", "\"attr address\" follows a text"),
        ("", "it is empty"),
    ] {
        let error = expand(&format!("{{{{ {expression} }}}}"), &host()).unwrap_err();
        assert!(error.starts_with("address expression") && error.contains(part), "{expression}: {error}");
    }
    assert!(expand("{{ GetPrivateIP", &host()).is_err());
}

#[test]
fn every_block_of_addresses_is_one() {
    let blocks = RFCS.iter().flat_map(|(_, blocks)| *blocks).chain(NOT_FORWARDABLE);
    assert!(blocks.map(|block| Network::parse(block)).all(|network| network.is_some()));
}

#[track_caller]
fn check(expression: &str, expected: &str) {
    assert_eq!(expand(&format!("{{{{ {expression} }}}}"), &host()), Ok(expected.to_owned()), "{expression}");
}

proptest! {
    #[test]
    fn no_text_breaks_it(
        source in r#"GetAllInterfaces|GetPrivateIPs|GetInterfaceIP "e"|[\PC]{0,12}"#,
        stages in vec(r#"\| ?(include|exclude|sort|limit|offset|unique|attr|join)( ?["`]?[\PC]{0,8}["`]?){0,3}"#, 0..4),
        words in vec(r#"include "(name|type|network|size|flags|rfc|address|port)" "[\PC]{0,8}""#, 0..3),
    ) {
        let expression = format!("{{{{ {source} {} | {} }}}}", stages.join(" "), words.join(" | "));
        if let Err(reason) = expand(&expression, &host()) {
            prop_assert!(!reason.is_empty());
        }
    }
}
