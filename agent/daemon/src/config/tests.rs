//! Whole journeys: files and flags in, a configuration or Consul's message out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_core::state::tables::AutopilotConfig;

use super::*;
use crate::env::ListenAddress;
use crate::goflag;
use crate::telemetry::Level;

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/testdata").join(name)
}

fn load_with(words: &[&str]) -> Result<Loaded, ConfigError> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    load(&goflag::parse(&agent_flags(), &words).expect("the flags of the test are right"))
}

fn loaded_file(name: &str) -> Loaded {
    let file = testdata(name);
    load_with(&["-config-file", &file.display().to_string()]).expect("an accepted file")
}

fn refusal(hcl: &str) -> String {
    let text = format!("data_dir = \"/x\" bind_addr = \"127.0.0.1\" {hcl}");
    let refused = decode("case.hcl", &text, Format::Hcl).and_then(|document| finish(&document, false, Vec::new()));
    refused.expect_err(hcl).to_string()
}

#[test]
fn what_consul_refuses_is_refused_in_its_words() {
    let cases = include_str!("testdata/refused.txt");
    let mut wrong = Vec::new();
    let (_explanation, cases) = cases.split_once("\n").expect("the first line explains");
    for case in cases.split("\n==\n") {
        let (hcl, message) = case.split_once("\n--\n").expect("a case has two parts");
        let said = refusal(hcl);
        if said.trim_end() != message.trim_end() {
            wrong.push((hcl, message, said));
        }
    }
    assert_eq!(wrong, Vec::new());
}

#[test]
fn a_server_file_becomes_values() {
    let Loaded { config, warnings, definitions, watches: _ } = loaded_file("accepted/server.hcl");
    assert_eq!(warnings, vec!["bootstrap = true: do not enable unless necessary"]);
    assert_eq!((config.identity.node_name.as_str(), config.identity.datacenter.as_str()), ("attic", "office-1"));
    assert_eq!((config.server.enabled, config.server.bootstrap, config.server.raft_multiplier), (true, true, 5));
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 8500));
    let socket = ListenAddress::Unix("/run/lictor.sock".into());
    assert_eq!(config.network.http, vec![socket, ListenAddress::Tcp(local)]);
    assert_eq!(config.network.dns.len(), 2);
    assert_eq!(config.network.ports.serf_wan, None);
    assert_eq!((config.dns.node_ttl_s, config.dns.service_ttl_s("web"), config.dns.service_ttl_s("x")), (30, 60, 5));
    assert_eq!((config.dns.soa.min_ttl_s, config.dns.soa.refresh_s, config.dns.recursors.len()), (7, 3600, 2));
    assert_eq!((config.limits.http_conns_per_client_max, config.limits.kv_value_bytes_max), (50, 1 << 20));
    assert_eq!(config.telemetry.block, vec!["consul.raft"]);
    assert_eq!((config.leave.on_terminate, config.leave.skip_on_interrupt), (false, true));
    assert_eq!((definitions.services.len(), definitions.checks.len()), (1, 1));
}

#[test]
fn files_of_client_test_suites_load() {
    for name in ["accepted/go_client.json", "accepted/python_client.json", "accepted/nested_lists.json"] {
        let loaded = loaded_file(name);
        assert!(loaded.config.network.bind.is_loopback(), "{name}");
    }
}

#[test]
fn keys_without_effect_are_warned_about_unless_they_ask_for_the_default() {
    let text = r#"data_dir = "/x" bind_addr = "127.0.0.1" protocol = 2 raft_protocol = 3
        retry_join_wan = [] acl { enabled = true } autopilot { redundancy_zone_tag = "rack" }"#;
    let document = decode("case.hcl", text, Format::Hcl).expect("known keys");
    let loaded = finish(&document, false, Vec::new()).expect("valid values");
    let warning = |key: &str| format!("key {key:?} is accepted but not implemented yet: ignored");
    let [access, other] = &loaded.warnings[..] else { panic!("two warnings, not {:?}", loaded.warnings) };
    assert!(access.starts_with(&warning("acl.enabled")) && access.contains("ACCESS IS NOT CONTROLLED"), "{access}");
    assert_eq!(*other, warning("autopilot.redundancy_zone_tag"));
}

#[test]
fn what_autopilot_goes_by_is_read() {
    let autopilot = |inside: &str| {
        let text = format!(r#"data_dir = "/x" bind_addr = "127.0.0.1" autopilot {{ {inside} }}"#);
        let document = decode("case.hcl", &text, Format::Hcl).expect("known keys");
        finish(&document, false, Vec::new()).map(|loaded| loaded.config.autopilot).map_err(|error| error.to_string())
    };
    let all = r#"cleanup_dead_servers = false last_contact_threshold = "300ms" max_trailing_logs = 7 min_quorum = 3
        server_stabilization_time = "20s" redundancy_zone_tag = "z" disable_upgrade_migration = true upgrade_version_tag = "v""#;
    let expected = AutopilotConfig {
        cleanup_dead_servers: false,
        last_contact_threshold_ns: 300_000_000,
        max_trailing_logs: 7,
        min_quorum: 3,
        server_stabilization_time_ns: 20_000_000_000,
        redundancy_zone_tag: "z".to_owned(),
        disable_upgrade_migration: true,
        upgrade_version_tag: "v".to_owned(),
        ..AutopilotConfig::default()
    };
    assert_eq!(autopilot(all), Ok(expected));
    assert_eq!(autopilot(""), Ok(AutopilotConfig::default()));
    for (inside, reason) in [
        ("min_quorum = -1", "autopilot.min_quorum cannot be -1"),
        ("max_trailing_logs = -1", "autopilot.max_trailing_logs cannot be -1"),
        (r#"last_contact_threshold = "x""#, "autopilot.last_contact_threshold: invalid duration"),
    ] {
        assert!(autopilot(inside).expect_err(inside).contains(reason), "{inside}");
    }
}

#[test]
fn a_folder_is_read_in_order_and_merged() {
    let folder = testdata("folder").display().to_string();
    let loaded = load_with(&["-config-dir", &folder, "-recursor", "3.3.3.3"]).expect("a good folder");
    assert_eq!(loaded.config.identity.node_name, "second");
    assert_eq!(loaded.config.identity.node_meta.values().collect::<Vec<_>>(), ["1", "2"]);
    let recursors: Vec<String> = loaded.config.dns.recursors.iter().map(|found| found.ip().to_string()).collect();
    assert_eq!(recursors, ["1.1.1.1", "2.2.2.2", "3.3.3.3"]);
    assert_eq!(loaded.definitions.services.len(), 2);
    let reason = "extension must be .hcl or .json, or config format must be set";
    assert_eq!(loaded.warnings, vec![format!("skipping file {folder}/30-notes.txt, {reason}")]);
}

#[test]
fn flags_win_over_files_and_fragments_over_flags() {
    let file = testdata("accepted/server.hcl").display().to_string();
    let words = ["-config-file", &file, "-node=flag", "-datacenter=flag", "-hcl", "datacenter = \"fragment\""];
    let config = load_with(&words).expect("valid").config;
    assert_eq!((config.identity.node_name.as_str(), config.identity.datacenter.as_str()), ("flag", "fragment"));
}

#[test]
fn development_mode_needs_no_files() {
    let config = load_with(&["-dev", "-http-port=18500", "-node-meta", "a:b:c"]).expect("valid").config;
    assert_eq!((config.dev, config.server.enabled, config.data_dir), (true, true, None));
    assert_eq!((config.log.level, config.server.raft_multiplier, config.ui.enabled), (Level::Debug, 1, true));
    assert_eq!(
        (config.network.bind, config.network.advertise),
        (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 1]))
    );
    assert_eq!(config.network.http, vec![ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 18500)))]);
    assert_eq!(config.identity.node_meta.get("a").map(String::as_str), Some("b:c"));
    assert_eq!(config.limits.session_ttl_min, Duration::from_secs(10));
}

#[test]
fn mistakes_on_the_command_line_have_consuls_words() {
    for (words, expected) in [
        (&["-config-format=yaml"][..], "-config-format must be either 'hcl' or 'json'"),
        (&[], "data_dir cannot be empty"),
        (&["-data-dir=/x", "extra"], "Unexpected extra arguments: [extra]"),
        (
            &["-data-dir=/x", "-hcl=foo=1"],
            "failed to parse flags-0.hcl: 1 error occurred:\n\t* invalid config key foo\n\n",
        ),
        (&["-dev", "-bootstrap-expect=3"], "'bootstrap_expect > 0' not allowed in dev mode"),
        (
            &["-data-dir=/x", "-node-id=foo"],
            "failed to setup node ID: specified NodeID is invalid: uuid string is wrong length",
        ),
        (
            &["-http-port=abc"],
            "error parsing flags: invalid value \"abc\" for flag -http-port: strconv.Atoi: parsing \"abc\": invalid syntax",
        ),
        (
            &["-config-file=/nonexistent"],
            "config: Open failed on /nonexistent. open /nonexistent: no such file or directory",
        ),
    ] {
        assert_eq!(
            load_with(words).map(|_| ()).map_err(|error| error.to_string()),
            Err(expected.to_owned()),
            "{words:?}"
        );
    }
}

#[test]
fn validation_needs_no_flags() {
    let warnings = validate(&[testdata("folder")], None).expect("a good folder");
    assert_eq!(warnings.len(), 1);
    let text = validate(&[testdata("folder/30-notes.txt")], Some(Format::Hcl)).expect_err("not HCL").to_string();
    assert!(text.starts_with("failed to parse ") && text.contains("key 'not' expected start of object"), "{text}");
}
