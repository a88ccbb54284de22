//! Bodies and what the real Consul 1.8.7 answered to them.

use agent_core::health::spec::{CheckKind, TlsOptions};
use agent_core::state::tables::{ServiceAddress, Status, Weights};
use serde_json::{Value, json};

use super::{Defaults, decode_check, decode_service};

fn service_refusal(body: Value) -> String {
    decode_service(&body, &Defaults::http()).map_or_else(|e| e.http_text(), |_| "accepted".to_owned())
}

fn check_refusal(body: Value) -> String {
    decode_check(&body, &Defaults::http()).map_or_else(|e| e.http_text(), |_| "accepted".to_owned())
}

#[test]
fn services_are_refused_in_consuls_words() {
    let cases = [
        (json!({}), "Missing service name"),
        (json!({"ID": "x"}), "Missing service name"),
        (json!({"Name": "a", "Foo": 1}), "Request decode failed: json: unknown field \"Foo\""),
        (
            json!({"Name": "a", "Port": "80"}),
            "Request decode failed: json: cannot unmarshal string into Go struct field .Port of type int",
        ),
        (
            json!({"Name": "a", "Port": 1.5}),
            "Request decode failed: json: cannot unmarshal number 1.5 into Go struct field .Port of type int",
        ),
        (
            json!({"Name": "a", "Tags": "x"}),
            "Request decode failed: json: cannot unmarshal string into Go struct field .Tags of type []string",
        ),
        (
            json!({"Name": "a", "Meta": {"a": 1}}),
            "Request decode failed: json: cannot unmarshal number into Go struct field .Meta of type string",
        ),
        (json!({"Name": "a", "Weights": {"Warning": 5}}), "Invalid Weights: Passing must be greater than 0"),
        (
            json!({"Name": "a", "Weights": {"Passing": 70000}}),
            "Invalid Weights: DNS Weight must be between 0 and 65535",
        ),
        (json!({"Name": "a", "Address": "0.0.0.0"}), "Invalid service address"),
        (
            json!({"Name": "a", "Kind": "connect-proxy"}),
            "2 errors occurred:\n\t* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n\t* Port must be set for a Connect proxy\n\n",
        ),
        (
            json!({"Name": "a", "Kind": "mesh-gateway"}),
            "1 error occurred:\n\t* Port must be non-zero for a mesh-gateway\n\n",
        ),
        (json!({"Name": "a", "Proxy": {"Foo": "x"}}), "Request decode failed: json: unknown field \"Foo\""),
    ];
    for (body, expected) in cases {
        assert_eq!(service_refusal(body.clone()), expected, "{body}");
    }
}

#[test]
fn meta_of_services_is_refused_in_consuls_words() {
    let long = "k".repeat(129);
    let too_many: serde_json::Map<String, Value> = (0..65).map(|i| (format!("k{i}"), json!("x"))).collect();
    let key_error =
        |key: &str, reason: &str| format!("Invalid Service Meta: Couldn't load metadata pair ('{key}', 'x'): {reason}");
    let cases = [
        (json!({"Name": "a", "Meta": {"a b": "x"}}), key_error("a b", "Key contains invalid characters")),
        (json!({"Name": "a", "Meta": {"a.b": "x"}}), key_error("a.b", "Key contains invalid characters")),
        (json!({"Name": "a", "Meta": {"": "x"}}), key_error("", "Key cannot be blank")),
        (json!({"Name": "a", "Meta": {&long: "x"}}), key_error(&long, "Key is too long (limit: 128 characters)")),
        (
            json!({"Name": "a", "Meta": {"consul-x": "x"}}),
            key_error("consul-x", "Key prefix 'consul-' is reserved for internal use"),
        ),
        (
            json!({"Name": "a", "Meta": too_many}),
            "Invalid Service Meta: Node metadata cannot contain more than 64 key/value pairs".to_owned(),
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(service_refusal(body.clone()), expected, "{body}");
    }
}

#[test]
fn checks_of_services_are_refused_in_consuls_words() {
    let cases = [
        (json!({"Name": "a", "Checks": [{}]}), "Invalid check: TTL must be > 0 for TTL checks"),
        (
            json!({"Name": "a", "Check": {"TTL": "10s", "Interval": "10s"}}),
            "Invalid check: Interval and TTL cannot both be specified",
        ),
        (
            json!({"Name": "a", "Check": {"HTTP": "http://x"}}),
            "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks",
        ),
        (
            json!({"Name": "a", "Check": {"AliasService": "z", "HTTP": "x", "Interval": "10s"}}),
            "Invalid check: Interval cannot be set for Alias checks",
        ),
        (
            json!({"Name": "a", "Check": {"AliasService": "z", "TTL": "10s"}}),
            "Invalid check: TTL must be not be set for Alias checks",
        ),
        (
            json!({"Name": "a", "Check": {"TTL": "10s", "OutputMaxSize": -1}}),
            "Invalid check: MaxOutputMaxSize must be positive",
        ),
        (
            json!({"Name": "a", "Check": {"TTL": "10s", "Status": "Passing"}}),
            "Status for checks must 'passing', 'warning', 'critical'",
        ),
        (json!({"Name": "a", "Check": {"TTL": "x"}}), "Request decode failed: time: invalid duration \"x\""),
        (
            json!({"Name": "a", "Check": {"Interval": "1"}}),
            "Request decode failed: time: missing unit in duration \"1\"",
        ),
        (json!({"Name": "a", "Check": {"TTL": "10s", "Foo": 1}}), "Request decode failed: json: unknown field \"Foo\""),
    ];
    for (body, expected) in cases {
        assert_eq!(service_refusal(body.clone()), expected, "{body}");
    }
}

#[test]
fn checks_are_refused_in_consuls_words() {
    let cases = [
        (json!({"ID": "x", "TTL": "10s"}), "Missing check name"),
        (json!({"Name": "x"}), "Invalid check: TTL must be > 0 for TTL checks"),
        (json!({"Name": "x", "TTL": "10s", "Foo": 1}), "Request decode failed: json: unknown field \"Foo\""),
        (json!({"Name": "x", "HTTP": "x", "Status": "bad"}), "Bad check status"),
        (json!({"Name": "x", "CheckID": "y", "TTL": "10s"}), "Request decode failed: json: unknown field \"CheckID\""),
        (json!({"Name": "x", "Script": "y", "TTL": "10s"}), "Request decode failed: json: unknown field \"Script\""),
        (json!({"Name": "x", "TTL": true}), "Invalid check: TTL must be > 0 for TTL checks"),
        (
            json!({"Name": "x", "Interval": "10s", "TLSSkipVerify": "x"}),
            "Request decode failed: json: cannot unmarshal string into Go struct field .TLSSkipVerify of type bool",
        ),
        (
            json!({"Name": "x", "HTTP": "x", "Interval": "10s", "Header": {"a": "b"}}),
            "Request decode failed: json: cannot unmarshal string into Go struct field .Header of type []string",
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(check_refusal(body.clone()), expected, "{body}");
    }
}

#[test]
fn what_needs_a_missing_part_is_refused_with_the_way_out() {
    let docker = check_refusal(json!({"Name": "x", "DockerContainerID": "c", "Args": ["a"], "Interval": "10s"}));
    assert_eq!(docker, "Invalid check: Docker checks are not supported; run the command with Args instead");
    let sidecar = service_refusal(json!({"Name": "x", "Connect": {"SidecarService": {}}}));
    assert!(sidecar.starts_with("Invalid SidecarService: not supported"), "{sidecar}");
}

#[test]
fn a_service_gets_its_defaults() {
    let spec = decode_service(&json!({"name": "web", "enable_tag_override": true}), &Defaults::http()).expect("valid");
    assert_eq!((spec.service.id.as_str(), spec.service.name.as_str()), ("web", "web"));
    assert_eq!(spec.service.weights, Weights { passing: 1, warning: 1 });
    assert!(spec.service.enable_tag_override);
    assert_eq!(spec.checks, []);
}

#[test]
fn an_ip_address_is_tagged_unless_it_was_tagged_already() {
    let body = json!({"Name": "web", "Address": "1.1.1.1", "Port": 5,
        "TaggedAddresses": {"lan_ipv4": {"Address": "2.2.2.2", "Port": 6}}});
    let tagged = decode_service(&body, &Defaults::http()).expect("valid").service.tagged_addresses;
    let address = |address: &str, port| ServiceAddress { address: address.to_owned(), port };
    let expected =
        [("lan_ipv4".to_owned(), address("2.2.2.2", 6)), ("wan_ipv4".to_owned(), address("1.1.1.1", 5))].into();
    assert_eq!(tagged, expected);
}

#[test]
fn several_checks_are_numbered_with_the_single_one_first() {
    let body = json!({"Name": "m1", "Check": {"TTL": "20s"},
        "Checks": [{"TTL": "10s"}, {"TTL": "10s", "CheckID": "own"}, {"TTL": "10s", "Name": "named"}]});
    let spec = decode_service(&body, &Defaults::http()).expect("valid");
    let seen: Vec<_> = spec.checks.iter().map(|c| (c.id.as_str(), c.name.as_str(), c.service_id.as_str())).collect();
    let plain = "Service 'm1' check";
    let expected = [
        ("service:m1:1", plain, "m1"),
        ("service:m1:2", plain, "m1"),
        ("own", plain, "m1"),
        ("service:m1:4", "named", "m1"),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_file_has_its_single_check_numbered_last() {
    let body = json!({"name": "m1", "check": [{"ttl": "20s", "name": "single"}], "checks": [{"ttl": "10s"}]});
    let spec = decode_service(&body, &Defaults::file()).expect("valid");
    let seen: Vec<_> = spec.checks.iter().map(|c| (c.id.as_str(), c.name.as_str())).collect();
    assert_eq!(seen, [("service:m1:1", "Service 'm1' check"), ("service:m1:2", "single")]);
}

#[test]
fn an_only_check_is_not_numbered() {
    let body = json!({"Name": "m", "ID": "i", "Checks": [{"ttl": 10_000_000_000_i64, "Status": "passing"}]});
    let spec = decode_service(&body, &Defaults::http()).expect("valid");
    assert_eq!(spec.checks[0].id, "service:i");
    assert_eq!(spec.checks[0].kind, CheckKind::Ttl { ttl_ms: 10_000 });
    assert_eq!(spec.checks[0].initial_status, Some(Status::Passing));
}

#[test]
fn short_intervals_are_raised_to_the_floor() {
    let body = json!({"Name": "x", "HTTP": "http://a", "Interval": "1ms", "TLSSkipVerify": true,
        "FailuresBeforeCritical": 3, "DeregisterCriticalServiceAfter": "10s", "Timeout": "1m30.5s"});
    let spec = decode_check(&body, &Defaults::http()).expect("valid");
    assert_eq!((spec.interval_ms, spec.deregister_critical_service_after_ms, spec.timeout_ms), (1_000, 60_000, 90_500));
    assert_eq!((spec.failures_before_warning, spec.failures_before_critical), (3, 3));
    let CheckKind::Http { tls, .. } = spec.kind else { panic!("an HTTP check, not {:?}", spec.kind) };
    assert_eq!(tls, TlsOptions { server_name: String::new(), skip_verify: true });
}

#[test]
fn of_several_kinds_the_first_wins() {
    let body = json!({"Name": "x", "TCP": "a:1", "HTTP": "http://a", "Args": ["true"], "Interval": "10s"});
    let spec = decode_check(&body, &Defaults::http()).expect("valid");
    assert_eq!(spec.kind.as_str(), "http");
}

#[test]
fn a_file_may_write_blocks_as_lists() {
    let body = json!({"name": "web", "check": [{"id": "c", "args": ["true"], "interval": "10s"}],
        "weights": [{"passing": 3}], "meta": [{"a": "b"}]});
    let spec = decode_service(&body, &Defaults::file()).expect("valid");
    assert_eq!(spec.checks[0].id, "c");
    assert_eq!(spec.service.weights, Weights { passing: 3, warning: 0 });
    assert_eq!(spec.service.meta["a"], "b");
}

#[test]
fn a_file_may_write_whole_numbers_as_fractions() {
    for (text, port) in [("80.0", 80), ("8e1", 80), ("80.5", 80), ("443", 443)] {
        let body: Value = serde_json::from_str(&format!(r#"{{"name": "web", "port": {text}}}"#)).expect("JSON");
        assert_eq!(decode_service(&body, &Defaults::file()).expect("valid").service.port, port, "{text}");
    }
}

#[test]
fn a_check_of_a_file_needs_an_id_or_a_name() {
    let spec = decode_check(&json!({"id": "c", "ttl": "10s"}), &Defaults::file()).expect("valid");
    assert_eq!((spec.id.as_str(), spec.name.as_str()), ("c", ""));
    let refusal = decode_check(&json!({"ttl": "10s"}), &Defaults::file()).expect_err("refused").to_string();
    assert_eq!(refusal, "Missing check name");
}

#[test]
fn mistakes_in_files_name_the_key_as_written() {
    let cases = [
        (json!({"name": "a", "port": "80"}), "'port' expected type 'int', got unconvertible type 'string'"),
        (json!({"name": "a", "tags": "x"}), "'tags': source data must be an array or slice, got string"),
        (json!({"name": "a", "foo": 1}), "invalid config key foo"),
    ];
    for (body, expected) in cases {
        let refusal = decode_service(&body, &Defaults::file()).expect_err("refused").to_string();
        assert_eq!(refusal, expected, "{body}");
    }
}

#[test]
fn a_proxy_is_kept_with_canonical_names() {
    let body = json!({"Name": "p", "Kind": "connect-proxy", "Port": 9,
        "Proxy": {"destination_service_name": "web", "Upstreams": [{"destination_name": "db", "local_bind_port": 1}]}});
    let spec = decode_service(&body, &Defaults::http()).expect("valid");
    let proxy = super::Proxy::from_json(&spec.service.proxy_json);
    assert_eq!(proxy.destination_service_name, "web");
    assert_eq!(proxy.upstreams[0].destination_type, "service");
}
