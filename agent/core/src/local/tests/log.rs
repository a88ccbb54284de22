//! What an operator reads about local state. The lines are those of Consul 1.8.7.

use super::*;

#[test]
fn what_reaches_the_catalog_is_told_once() {
    let mut world = World::new();
    world.step(Input::ServersChanged);
    world.pass(120 * SECOND);
    assert_eq!(world.told(), ["Info Synced node info"]);
    world.add_service("web", vec![ttl("service:web", 10)]);
    assert_eq!(world.told(), ["Info Synced service: service=web"]);
    world.ttl("service:web", Passing, "fine");
    assert_eq!(world.told(), ["Info Synced check: check=service:web"]);
    world.step(Input::ServiceMaintenance { id: "web".into(), enable: true, reason: String::new() });
    let expected =
        ["Info Service entered maintenance mode: service=web", "Info Synced check: check=_service_maintenance:web"];
    assert_eq!(world.told(), expected);
    world.step(Input::RemoveService { id: "web".into() });
    assert_eq!(world.told(), ["Info Deregistered service: service=web"]);
}

#[test]
fn a_probe_is_told_when_it_finds_something_else_than_before() {
    let mut world = World::new();
    world.add_check(tcp("db"));
    world.told();
    let mut lines = Vec::new();
    for status in [Critical, Critical, Passing, Critical, Warning] {
        world.pass(10 * SECOND);
        world.finish_run(status, "");
        lines.extend(world.told().into_iter().filter(|line| line.starts_with("Warn")));
    }
    let critical = "Warn Check is now critical: check=db";
    assert_eq!(lines, [critical, critical, "Warn Check is now warning: check=db"]);
}

#[test]
fn a_silent_ttl_check_is_told() {
    let mut world = World::new();
    world.add_check(ttl("beat", 10));
    world.told();
    world.pass(11 * SECOND);
    assert_eq!(world.told()[0], "Warn Check missed TTL, is now critical: check=beat");
}

impl World {
    /// The lines since the last call, those for debugging left out.
    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}
