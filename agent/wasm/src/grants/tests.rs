//! What a grant lets through and what not: addresses, names, URLs, folders.

use super::*;

#[test]
fn network_grants_name_addresses_and_ports() {
    for (grant, inside, outside) in [
        ("10.0.0.0/8:6379", vec!["10.1.2.3:6379", "[::ffff:10.1.2.3]:6379"], vec!["10.1.2.3:6380", "11.0.0.0:6379"]),
        ("10.1.2.3:8000-8100", vec!["10.1.2.3:8000", "10.1.2.3:8100"], vec!["10.1.2.3:7999", "10.1.2.4:8000"]),
        ("[fd00::/8]:443", vec!["[fd12::1]:443"], vec!["[fe00::1]:443", "10.0.0.1:443"]),
        ("[::1]:*", vec!["[::1]:1", "[::1]:65535"], vec!["[::2]:1", "127.0.0.1:1"]),
        ("0.0.0.0/0:*", vec!["192.0.2.1:1"], vec!["[2001:db8::1]:1"]),
        ("[::/0]:*", vec!["[2001:db8::1]:1"], vec!["192.0.2.1:1"]),
        ("[::ffff:10.0.0.0/104]:5", vec!["10.9.9.9:5"], vec!["11.9.9.9:5"]),
    ] {
        let parsed = NetworkGrant::parse(grant).unwrap();
        inside.iter().for_each(|to| assert!(parsed.allows(to.parse().unwrap()), "{grant} {to}"));
        outside.iter().for_each(|to| assert!(!parsed.allows(to.parse().unwrap()), "{grant} {to}"));
        assert_eq!(NetworkGrant::parse(&parsed.to_string()).unwrap(), parsed);
    }
}

#[test]
fn wrong_network_grants_say_what_is_wrong_and_what_is_right() {
    for (grant, why) in [
        ("10.0.0.0/8", "the port is missing"),
        ("redis.example:6379", "not an IP address (a name cannot be granted)"),
        ("10.0.0.1/8:1", "bits set beyond its prefix length"),
        ("10.0.0.0/33:1", "0 to 32"),
        ("10.0.0.0/+8:1", "0 to 32"),
        ("[::/129]:1", "0 to 128"),
        ("::1:80", "stands in brackets"),
        ("10.0.0.1:0", "not a port"),
        ("10.0.0.1:65536", "not a port"),
        ("10.0.0.1:080", "not a port"),
        ("10.0.0.1:9-8", "ends before it begins"),
        ("", "the port is missing"),
    ] {
        let error = NetworkGrant::parse(grant).unwrap_err().to_string();
        assert!(error.contains(why), "{grant}: {error}");
        assert!(error.contains("10.0.0.0/8:6379"), "{error}");
    }
}

#[test]
fn url_grants_hold_for_whole_segments_of_one_host() {
    let grant = UrlGrant::parse("https://API.example.com/v1/").unwrap();
    assert_eq!(grant.to_string(), "https://api.example.com:443/v1");
    for (scheme, host, port, path, allowed) in [
        ("https", "api.example.com", 443, "/v1", true),
        ("https", "api.example.com.", 443, "/v1/a", true),
        ("https", "api.example.com", 443, "/%76%31/a", true),
        ("https", "api.example.com", 443, "/v1a", false),
        ("https", "api.example.com", 443, "/v1/../admin", false),
        ("https", "api.example.com", 443, "/v1/%2E%2e/admin", false),
        ("https", "api.example.com", 443, "/v1/..;/admin", false),
        ("https", "api.example.com", 443, "/v1/a%2fb", false),
        ("https", "api.example.com", 443, "/v1/%zz", false),
        ("https", "api.example.com", 443, "/v1\\..\\admin", false),
        ("http", "api.example.com", 443, "/v1", false),
        ("https", "api.example.com", 8443, "/v1", false),
        ("https", "evil.api.example.com", 443, "/v1", false),
    ] {
        assert_eq!(grant.allows(scheme, host, port, path), allowed, "{scheme} {host} {port} {path}");
    }
    let all = UrlGrant::parse("http://[::1]:8080").unwrap();
    assert!(all.allows("http", "[0::1]", 8080, "/") && all.allows("http", "::1", 8080, "/any/path"));
}

#[test]
fn a_url_grant_is_for_a_name_or_an_address() {
    for (grant, shown) in [
        ("http://localhost", "http://localhost:80"),
        ("http://my_host.local.:81", "http://my_host.local:81"),
        ("https://XN--bcher-kva.example", "https://xn--bcher-kva.example:443"),
        ("http://192.0.2.7", "http://192.0.2.7:80"),
        ("http://[FD00:0::1]/a", "http://[fd00::1]:80/a"),
    ] {
        assert_eq!(UrlGrant::parse(grant).unwrap().to_string(), shown);
    }
}

#[test]
fn wrong_url_grants_say_what_is_wrong() {
    for (grant, why) in [
        ("api.example.com/v1", "not a URL"),
        ("/v1", "the scheme is missing"),
        ("ftp://example.com", "must be http or https"),
        ("http://user@example.com", "user or password"),
        ("http://*.example.com/", "wildcards"),
        ("http://./", "one name or address"),
        ("http://example.com../", "one name or address"),
        ("http://a!b/", "one name or address"),
        ("http://example.com/?q", "a query or fragment"),
        ("http://example.com/a/../b", ". or .."),
        ("http://example.com:0/", "the port must be"),
        ("http://example.com:99999/", "UR"),
        ("http://9:99999/", "the port must be"),
        ("http://a:a/", "the port must be"),
    ] {
        let error = UrlGrant::parse(grant).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("http://127.0.0.1:8080"), "{grant}: {error}");
    }
}

#[test]
fn directories_and_variables_are_whole_and_plain() {
    let same = DirectoryGrant::parse("/etc/ssl").unwrap();
    assert_eq!((same.host.to_str(), same.guest.as_str()), (Some("/etc/ssl"), "/etc/ssl"));
    let shown = DirectoryGrant::parse("/srv/data=/data").unwrap();
    assert_eq!((shown.host.to_str(), shown.guest.as_str()), (Some("/srv/data"), "/data"));
    for wrong in ["etc", "/a/../b", "/a=b", "/a=/b/..", ""] {
        assert!(DirectoryGrant::parse(wrong).unwrap_err().to_string().contains("/srv/data=/data"), "{wrong}");
    }
    assert_eq!(environment("HOME"), Ok("HOME".to_owned()));
    for wrong in ["", "A*", "A=B", "A B"] {
        assert!(environment(wrong).unwrap_err().to_string().contains("REDIS_PASSWORD"), "{wrong}");
    }
}

mod any_text {
    use super::super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is written is parsed or refused; what was parsed reads back as the same.
        #[test]
        fn is_parsed_or_refused(text in "[\\PC]{0,40}|[0-9a-f:./\\[\\]*%-]{0,40}|https?://[\\PC]{0,30}") {
            if let Ok(grant) = NetworkGrant::parse(&text) {
                prop_assert_eq!(NetworkGrant::parse(&grant.to_string()).unwrap(), grant);
            }
            if let Ok(grant) = UrlGrant::parse(&text) {
                prop_assert_eq!(UrlGrant::parse(&grant.to_string()).unwrap(), grant);
            }
            let _ = DirectoryGrant::parse(&text);
            let _ = environment(&text);
        }
    }
}
