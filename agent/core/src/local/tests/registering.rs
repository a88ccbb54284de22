//! What is registered, refused, registered again, and loaded from files.

use std::sync::Arc;

use super::*;
use crate::local::Plugins;
use crate::plugin::Schema;

#[test]
fn a_registered_service_is_in_the_catalog_at_once_and_a_removed_one_is_not() {
    let mut world = World::new();
    world.add_service("web", vec![ttl("service:web", 10)]);
    assert_eq!(world.catalog_services(), ["web"]);
    assert_eq!(world.in_catalog("service:web"), Some((Critical, String::new())));
    assert_eq!(world.writes.len(), 2, "one write for the node, one for the service with its check");

    world.step(Input::RemoveService { id: "web".into() });

    assert_eq!(world.catalog_services(), [""; 0]);
    assert_eq!(world.in_catalog("service:web"), None);
    assert_eq!(world.writes.len(), 3);
    assert_eq!(world.persisted, ["+service web", "+check service:web", "-check service:web", "-service web"]);
}

#[test]
fn refusals_read_as_consuls() {
    let script = CheckSpec::new("s", CheckKind::Script { args: vec!["true".into()] });
    let orphan = CheckSpec { service_id: "nope".into(), ..ttl("c", 1) };
    let add_check = |spec: &CheckSpec, source| Input::AddCheck { spec: Box::new(spec.clone()), source };
    let cases = [
        (
            Input::TtlUpdate { id: "x".into(), status: Passing, output: String::new() },
            "CheckID \"x\" does not have associated TTL",
        ),
        (
            Input::TtlUpdate { id: "tcp".into(), status: Passing, output: String::new() },
            "CheckID \"tcp\" does not have associated TTL",
        ),
        (
            Input::ServiceMaintenance { id: "x".into(), enable: true, reason: String::new() },
            "No service registered with ID \"x\"",
        ),
        (add_check(&orphan, Source::Api), "ServiceID \"nope\" does not exist"),
        (
            add_check(&script, Source::Api),
            "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
        ),
        (
            add_check(&script, Source::Config),
            "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or \
             'enable_local_script_checks' to true",
        ),
    ];
    let mut world = World::new();
    world.add_check(tcp("tcp"));
    for (input, text) in cases {
        let reply = world.step(input).expect("it replies");
        assert_eq!(reply.unwrap_err().to_string(), text);
    }
    assert_eq!(world.local.view().checks.len(), 1);
}

#[test]
fn local_scripts_may_come_from_files_only() {
    let mut world = World::with(|s| s.scripts = ScriptPolicy { from_config: true, from_api: false });
    let script = CheckSpec::new("s", CheckKind::Script { args: vec!["true".into()] });
    let from = |source| Input::AddCheck { spec: Box::new(script.clone()), source };
    assert_eq!(world.step(from(Source::Config)), Some(Ok(())));
    assert_eq!(world.step(from(Source::Api)), Some(Err(Refusal::ScriptsDisabled(Source::Api))));
}

#[test]
fn a_check_that_is_registered_again_keeps_its_status() {
    let mut world = World::new();
    world.add_service("web", vec![ttl("service:web", 10)]);
    world.ttl("service:web", Passing, "abc");
    let again = CheckSpec { initial_status: Some(Critical), name: "other".into(), ..ttl("service:web", 20) };
    world.step(add("web", &["new"], vec![again]));
    assert_eq!(world.check("service:web"), (Passing, "abc".into()));
    let check = &world.local.view().checks["service:web"].check;
    assert_eq!((check.name.as_str(), check.service_tags.as_slice()), ("other", ["new".to_owned()].as_slice()));
}

#[test]
fn checks_that_are_left_out_go_only_when_asked_for() {
    let mut world = World::new();
    world.add_service("web", vec![ttl("a", 10), ttl("b", 10)]);
    world.step(Input::ServiceMaintenance { id: "web".into(), enable: true, reason: String::new() });
    world.add_service("web", vec![ttl("b", 10)]);
    assert!(world.local.view().checks.contains_key("a"));
    let spec = Box::new(ServiceSpec { service: service("web", &[]), checks: vec![ttl("b", 10)], token: String::new() });
    world.step(Input::AddService { spec, source: Source::Api, replace_existing_checks: true });
    let left: Vec<_> = world.local.view().checks.keys().cloned().collect();
    assert_eq!(left, ["_service_maintenance:web", "b"]);
    assert_eq!(world.in_catalog("a"), None);
}

#[test]
fn files_win_over_what_was_persisted_and_ttl_states_survive() {
    let mut world = World::new();
    let spec = |id: &str, tag: &str| ServiceSpec { service: service(id, &[tag]), checks: vec![], token: String::new() };
    let of = |service_id: &str, check: CheckSpec| CheckSpec { service_id: service_id.into(), ..check };
    let config = Definitions { services: vec![spec("web", "file")], checks: vec![of("web", ttl("w", 100))] };
    let state = TtlState { status: Passing, output: "kept".into() };
    let persisted = Persisted {
        services: vec![spec("db", "api"), spec("web", "api")],
        checks: vec![
            CheckSpec { initial_status: Some(Passing), ..of("db", tcp("d")) },
            of("web", tcp("w")),
            of("gone", tcp("orphan")),
        ],
        ttl: BTreeMap::from([("w".to_owned(), state)]),
    };
    assert_eq!(world.step(Input::Load { config, persisted }), Some(Ok(())));
    let view = world.local.view();
    assert_eq!(view.services["web"].service.tags, ["file"]);
    assert_eq!((view.services["web"].source, view.services["db"].source), (Source::Config, Source::Api));
    assert_eq!(world.check("w"), (Passing, "kept".into()));
    assert_eq!(world.check("d"), (Critical, String::new()), "what was healthy before may not be so now");
    let forgotten: Vec<_> = world.persisted.iter().filter(|p| p.starts_with('-')).collect();
    assert_eq!(forgotten, ["-service web", "-check w", "-check orphan"]);
}

#[test]
fn a_refused_definition_is_named_and_what_cannot_be_restored_is_only_logged() {
    let orphan = || CheckSpec { service_id: "nope".into(), name: "orphan".into(), ..ttl("o", 100) };
    let script = CheckSpec::new("s", CheckKind::Script { args: vec!["true".into()] });
    let service = ServiceSpec { service: service("web", &[]), checks: vec![script.clone()], token: String::new() };
    let from_files = |services, checks| Input::Load {
        config: Definitions { services, checks },
        persisted: Persisted { checks: vec![script.clone()], ..Persisted::default() },
    };
    let refusal = |input| World::new().step(input).expect("it replies").map_err(|refusal| refusal.to_string());
    let disabled = "Failed to register service \"web\": Scripts are disabled on this agent; to enable, configure \
        'enable_script_checks' or 'enable_local_script_checks' to true";
    assert_eq!(refusal(from_files(vec![service], vec![orphan()])), Err(disabled.to_owned()), "services come first");
    let missing = "Failed to register check 'orphan': ServiceID \"nope\" does not exist";
    assert_eq!(refusal(from_files(Vec::new(), vec![orphan()])), Err(missing.to_owned()));
    assert_eq!(refusal(from_files(Vec::new(), Vec::new())), Ok(()));
}

#[test]
fn a_reload_replaces_what_files_defined_and_keeps_the_rest() {
    let mut world = World::new();
    let spec = |id: &str, checks| ServiceSpec { service: service(id, &[]), checks, token: String::new() };
    let before = Definitions {
        services: vec![spec("old", vec![ttl("o", 100)]), spec("web", vec![ttl("w1", 100), ttl("w2", 100)])],
        checks: vec![ttl("node", 100)],
    };
    world.step(Input::Load { config: before, persisted: Persisted::default() });
    world.add_service("api", vec![]);
    world.ttl("w1", Passing, "fine");
    let after = Definitions { services: vec![spec("web", vec![ttl("w1", 100)])], checks: vec![] };
    assert_eq!(world.step(Input::Reload(after)), Some(Ok(())));
    assert_eq!(world.catalog_services(), ["api", "web"]);
    let checks: Vec<_> = world.local.view().checks.keys().cloned().collect();
    assert_eq!(checks, ["w1"]);
    assert_eq!(world.check("w1"), (Passing, "fine".into()));
}

#[test]
fn a_plugin_check_needs_a_declared_plugin_and_a_config_that_fits_it() {
    let schema = Schema::parse(r#"{"properties": {"port": {"type": "integer"}}, "required": ["port"]}"#).unwrap();
    let plugins = Plugins::from([("redis".to_owned(), Some(Arc::new(schema))), ("loading".to_owned(), None)]);
    let mut world = World::with(|s| s.plugins = plugins);
    let mut register = |plugin: &str, config: &str| {
        let kind = CheckKind::Plugin { plugin: plugin.to_owned(), config: config.to_owned() };
        let spec = CheckSpec { interval_ms: 1_000, ..CheckSpec::new("cache", kind) };
        world.step(Input::AddCheck { spec: Box::new(spec), source: Source::Api }).expect("it replies")
    };
    assert_eq!(register("redis", r#"{"port": 1}"#), Ok(()));
    assert_eq!(register("loading", "{}"), Ok(()), "it is judged when it runs");
    assert!(
        matches!(register("redis", "{}"), Err(Refusal::PluginConfig { mistakes, .. }) if mistakes[0].contains("port"))
    );
    assert_eq!(register("postgres", "{}"), Err(Refusal::UnknownPlugin("postgres".to_owned())));
    assert_eq!(world.step(Input::Plugins(Plugins::new())), Some(Ok(())));
    assert_eq!(world.local.view().checks.len(), 1, "what is registered stays");
}
