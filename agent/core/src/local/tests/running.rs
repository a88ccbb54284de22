//! How checks get their status: time to live, schedules, output, maintenance, and what mirrors others.

use super::*;

#[test]
fn a_ttl_check_speaks_until_it_is_silent_for_too_long() {
    let mut world = World::new();
    world.add_check(ttl("c", 10));
    assert_eq!(world.ttl("c", Passing, "hello"), Some(Ok(())));
    world.pass(9 * SECOND);
    assert_eq!(world.in_catalog("c"), Some((Passing, "hello".into())));
    world.ttl("c", Warning, "hm");
    world.pass(10 * SECOND);
    let expired = (Critical, "TTL expired (last output before timeout follows): hm".to_owned());
    assert_eq!(world.in_catalog("c"), Some(expired));
}

#[test]
fn a_ttl_that_nobody_ever_spoke_for_expires_without_a_note() {
    let mut world = World::new();
    world.add_check(CheckSpec { initial_status: Some(Passing), ..ttl("c", 2) });
    world.pass(2 * SECOND);
    assert_eq!(world.check("c"), (Critical, "TTL expired".into()));
}

#[test]
fn a_long_note_is_cut() {
    let mut world = World::new();
    world.add_check(ttl("c", 10));
    world.ttl("c", Passing, &"x".repeat(5000));
    let (_, output) = world.check("c");
    assert_eq!(output.len(), 4130);
    assert!(output.ends_with("x ... (captured 4096 of 5000 bytes)"));
}

#[test]
fn a_check_runs_within_its_first_interval_and_then_an_interval_after_each_end() {
    let mut world = World::new();
    world.add_check(tcp("c"));
    world.pass(10 * SECOND);
    assert_eq!(world.runs.len(), 1, "the first run was spread over the interval");
    world.pass(30 * SECOND);
    assert_eq!(world.runs.len(), 1, "one run at a time");
    world.finish_run(Passing, "fine");
    assert_eq!(world.in_catalog("c"), Some((Passing, "fine".into())));
    world.pass(9 * SECOND);
    assert_eq!(world.runs.len(), 0);
    world.pass(SECOND);
    assert_eq!(world.runs.len(), 1);
}

#[test]
fn a_run_of_an_older_definition_is_called_off() {
    let mut world = World::new();
    world.add_check(tcp("c"));
    world.pass(10 * SECOND);
    let (_, run) = world.runs[0].clone();
    world.add_check(CheckSpec { notes: "changed".into(), ..tcp("c") });
    assert_eq!(world.cancelled, [run]);
    world.finish_run(Passing, "late");
    assert_eq!(world.check("c"), (Critical, String::new()));
}

#[test]
fn the_same_definition_again_does_not_disturb_the_schedule() {
    let mut world = World::new();
    for _ in 0..20 {
        world.add_check(tcp("c"));
        world.pass(SECOND);
    }
    assert_eq!((world.runs.len(), world.cancelled.len()), (1, 0));
}

#[test]
fn an_output_that_changes_alone_waits_and_a_status_does_not() {
    let mut world = World::new();
    world.add_check(ttl("c", 10_000));
    world.ttl("c", Passing, "one");
    let writes = world.writes.len();
    world.ttl("c", Passing, "two");
    world.pass(149 * SECOND);
    assert_eq!(world.writes.len(), writes, "full comparisons leave a deferred output alone");
    assert_eq!(world.check("c"), (Passing, "two".into()));
    world.pass(301 * SECOND);
    assert_eq!(world.in_catalog("c"), Some((Passing, "two".into())));
    world.ttl("c", Passing, "three");
    world.ttl("c", Critical, "four");
    assert_eq!(world.in_catalog("c"), Some((Critical, "four".into())));
    assert_eq!(world.writes.len(), writes + 2);
}

#[test]
fn output_can_be_discarded() {
    let mut world = World::with(|s| s.discard_check_output = true);
    world.add_check(ttl("c", 10));
    world.ttl("c", Passing, "secret");
    assert_eq!(world.in_catalog("c"), Some((Passing, String::new())));
}

#[test]
fn output_can_be_discarded_from_now_on() {
    let mut world = World::new();
    world.add_check(ttl("c", 10));
    world.ttl("c", Passing, "kept");
    world.step(Input::Adjust { node_meta: BTreeMap::new(), discard_check_output: true });
    assert_eq!(world.check("c"), (Passing, "kept".into()));
    world.ttl("c", Warning, "secret");
    assert_eq!(world.check("c"), (Warning, String::new()));
}

#[test]
fn a_service_that_is_critical_for_too_long_is_removed() {
    let mut world = World::new();
    let check = CheckSpec { deregister_critical_service_after_ms: 90_000, ..ttl("c", 10_000) };
    world.add_service("web", vec![check]);
    world.pass(200 * SECOND);
    assert!(world.local.view().services.contains_key("web"), "never having run is not being critical");
    world.ttl("c", Critical, "down");
    world.pass(80 * SECOND);
    world.ttl("c", Passing, "up");
    world.ttl("c", Critical, "down again");
    world.pass(89 * SECOND);
    assert_eq!(world.catalog_services(), ["web"]);
    world.pass(31 * SECOND);
    assert_eq!(world.catalog_services(), [""; 0]);
}

#[test]
fn maintenance_is_a_critical_check_with_a_reason() {
    let mut world = World::new();
    world.add_service("web", vec![]);
    world.step(Input::NodeMaintenance { enable: true, reason: String::new() });
    world.step(Input::NodeMaintenance { enable: true, reason: "too late".into() });
    world.step(Input::ServiceMaintenance { id: "web".into(), enable: true, reason: "why".into() });
    let view = world.local.view().clone();
    let node = &view.checks[NODE_MAINTENANCE_ID].check;
    let expected = "Maintenance mode is enabled for this node, but no reason was provided. This is a default message.";
    assert_eq!((node.notes.as_str(), node.kind.as_str(), node.status), (expected, "maintenance", Critical));
    let of_service = &view.checks["_service_maintenance:web"].check;
    assert_eq!((of_service.notes.as_str(), of_service.name.as_str()), ("why", "Service Maintenance Mode"));

    world.step(Input::NodeMaintenance { enable: false, reason: String::new() });
    world.step(Input::ServiceMaintenance { id: "web".into(), enable: false, reason: String::new() });
    assert_eq!((world.local.view().checks.len(), world.catalog.checks.len()), (0, 0));
}

#[test]
fn an_alias_follows_what_it_mirrors_even_through_another_alias() {
    let mut world = World::new();
    world.add_service("web", vec![ttl("w", 1000)]);
    world.add_service("side", vec![alias("s", "", "web")]);
    world.add_service("car", vec![alias("a", "", "side")]);
    assert_eq!(world.check("s"), (Critical, "Aliased check \"w\" failing: ".into()));
    world.ttl("w", Passing, "");
    assert_eq!(world.check("s"), (Passing, "All checks passing.".into()));
    assert_eq!(world.in_catalog("a"), Some((Passing, "All checks passing.".into())));
    world.step(Input::RemoveService { id: "web".into() });
    assert_eq!(world.check("s"), (Critical, "Service web could not be found on node ".into()));
}

#[test]
fn aliases_that_face_each_other_come_to_rest() {
    let mut world = World::new();
    world.add_service("a", vec![]);
    world.add_service("b", vec![]);
    world.add_check(CheckSpec { service_id: "a".into(), ..alias("ca", "", "b") });
    world.add_check(CheckSpec { service_id: "b".into(), ..alias("cb", "", "a") });
    for round in 0..200 {
        world.step(Input::NodeMaintenance { enable: round % 2 == 0, reason: String::new() });
    }
    assert!(world.check("ca").1.len() < 4200);
}

#[test]
fn an_alias_of_another_node_waits_for_the_catalog() {
    let mut world = World::new();
    world.add_check(alias("a", "n2", "db"));
    assert_eq!(world.watched, ["n2"]);
    assert_eq!(world.check("a"), (Critical, String::new()));
    let db = Check { id: "d".into(), name: "d".into(), service_id: "db".into(), status: Warning, ..Check::default() };
    let remote = Remote {
        node: None,
        services: BTreeMap::from([("db".into(), service("db", &[]).into())]),
        checks: BTreeMap::from([("d".into(), db.into())]),
    };
    world.step(Input::AliasNode { node: "n2".into(), remote: Box::new(remote) });
    assert_eq!(world.check("a"), (Warning, "Aliased check \"d\" failing: ".into()));
    world.step(Input::AliasNode { node: "n2".into(), remote: Box::default() });
    assert_eq!(world.check("a").1, "Service db could not be found on node n2");
    world.step(Input::RemoveCheck { id: "a".into() });
    assert_eq!(world.watched, [""; 0]);
}
