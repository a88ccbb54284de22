//! Registration, deregistration and the indexes of catalog queries, one story each.

use std::collections::BTreeMap;

use super::CheckState;
use crate::state::command::{Register, Reply};
use crate::state::tables::Status::{Critical, Passing};
use crate::state::tables::{Check, Node, Service};
use crate::state::trial::{Trial, check, id, node, node_with_id, registration, service};
use crate::watch::Topic;

fn none() -> BTreeMap<String, String> {
    BTreeMap::new()
}

fn tagged(id: &str, name: &str, tags: &[&str]) -> Service {
    Service { tags: tags.iter().map(|tag| (*tag).to_string()).collect(), ..service(id, name) }
}

/// Node `n1` (index 10) with `w1` of `web`, its check `wc` and the node's check `serfHealth`; node `n2` (11) with `d1` of `db`.
fn world() -> Trial {
    let mut trial = Trial::new();
    let checks = vec![check("wc", "w1", Passing), check("serfHealth", "", Passing)];
    trial.add(registration(node("n1"), Some(tagged("w1", "web", &["A", "b"])), checks));
    trial.add(registration(node("n2"), Some(service("d1", "db")), vec![]));
    trial
}

fn refusal(reply: Reply) -> String {
    let Reply::Refused(refusal) = reply else { panic!("{reply:?}") };
    refusal.to_string()
}

#[test]
fn registering_the_same_again_changes_nothing() {
    let mut trial = world();
    let before = trial.state.clone();
    trial.add(registration(node("n1"), Some(tagged("w1", "web", &["A", "b"])), vec![check("wc", "w1", Passing)]));
    assert!(trial.changes.is_empty());
    assert_eq!(trial.state, crate::state::State { index: 12, ..before });
}

#[test]
fn an_update_keeps_when_the_node_appeared() {
    let mut trial = world();
    trial.add(registration(Node { address: "10.0.0.9".into(), ..node("N1") }, None, vec![]));
    let found = trial.state.node("n1").value.unwrap();
    assert_eq!((found.name.as_str(), found.create_index, found.modify_index), ("N1", 10, 12));
}

#[test]
fn skipping_the_node_update_leaves_its_record_and_still_adds_a_missing_node() {
    let mut trial = world();
    for name in ["n1", "n3"] {
        trial.add(Register {
            skip_node_update: true,
            ..registration(Node { address: "9.9.9.9".into(), ..node(name) }, None, vec![])
        });
    }
    let address = |name| trial.state.node(name).value.unwrap().address.clone();
    assert_eq!((address("n1"), address("n3")), ("10.0.0.1".to_string(), "9.9.9.9".to_string()));
}

#[test]
fn a_refused_registration_leaves_nothing() {
    let mut trial = world();
    let before = trial.state.nodes.clone();
    let stray = Check { node: "other".into(), ..check("x", "", Passing) };
    let cases = [
        (check("x", "nosuch", Passing), "failed inserting check: Missing service registration on node \"n3\""),
        (stray, "check node \"other\" does not match node \"n3\""),
    ];
    for (check, expected) in cases {
        let reply = trial.register(registration(node("n3"), Some(service("w", "web")), vec![check]));
        assert_eq!((refusal(reply).as_str(), &trial.state.nodes), (expected, &before));
    }
}

/// A living node with id `a`, one with id `b` whose agent is gone, and one alive without id.
fn identified() -> Trial {
    let mut trial = Trial::new();
    trial.add(registration(
        node_with_id("alive", 'a'),
        Some(service("w", "web")),
        vec![check("serfHealth", "", Passing)],
    ));
    trial.add(registration(node_with_id("dead", 'b'), None, vec![check("serfHealth", "", Critical)]));
    trial.add(registration(node("plain"), None, vec![check("serfHealth", "", Passing)]));
    trial
}

#[test]
fn a_living_nodes_name_is_not_taken_over() {
    let reserved = "reserved by node aaaaaaaa-0000-0000-0000-000000000000 with name alive (10.0.0.1)";
    let cases = [
        ("alive", 'c', format!("ID: \"{}\": Node name alive is {reserved}", id('c'))),
        ("alive", 'b', format!("ID: \"{}\" (10.0.0.1): Node name alive is {reserved}", id('b'))),
        (
            "plain",
            'b',
            format!("ID: \"{}\" (10.0.0.1): Node name plain is reserved by node  with name plain (10.0.0.1)", id('b')),
        ),
    ];
    for (name, letter, expected) in cases {
        let reply = identified().register(registration(node_with_id(name, letter), None, vec![]));
        assert_eq!(refusal(reply), format!("failed inserting node: Error while renaming Node {expected}"));
    }
}

#[test]
fn names_of_dead_nodes_and_of_nodes_without_id_are_free() {
    for (name, letter) in [("dead", 'c'), ("plain", 'c'), ("ALIVE", 'a')] {
        let mut trial = identified();
        trial.add(registration(node_with_id(name, letter), None, vec![]));
        assert_eq!(trial.state.node(&id(letter)).value.unwrap().name, name);
    }
}

#[test]
fn a_rename_takes_along_what_hung_on_the_old_name() {
    let mut trial = identified();
    trial.add(registration(node_with_id("renamed", 'a'), None, vec![]));
    assert_eq!(trial.state.node("alive").value, None);
    assert_eq!(trial.state.service_instances("web", &[]).value, []);
    assert_eq!(trial.state.node("renamed").value.unwrap().create_index, 10);
    assert!(trial.touched(&Topic::node("alive")) && trial.touched(&Topic::node(&id('a'))));
}

#[test]
fn a_service_check_carries_its_services_name_and_tags() {
    let mut trial = world();
    let wc = |trial: &Trial| trial.state.checks[&("n1".to_string(), "wc".to_string())].clone();
    assert_eq!(
        (wc(&trial).service_name.as_str(), &wc(&trial).service_tags[..]),
        ("web", &["A".into(), "b".into()][..])
    );
    trial.add(registration(node("n1"), Some(tagged("w1", "web2", &[])), vec![]));
    assert_eq!((wc(&trial).service_name.as_str(), wc(&trial).service_tags.len()), ("web2", 0));
}

#[test]
fn removal_takes_along_what_hangs_on_it() {
    type Gone<'a> = (&'a str, Option<&'a str>, Option<&'a str>, [usize; 3]);
    let cases: [Gone<'_>; 6] = [
        ("N1", None, None, [1, 1, 0]),
        ("n1", Some("w1"), None, [2, 1, 1]),
        ("n1", Some("w1"), Some("serfHealth"), [2, 1, 1]),
        ("n1", None, Some("wc"), [2, 2, 1]),
        ("n1", Some("nope"), None, [2, 2, 2]),
        ("nope", None, None, [2, 2, 2]),
    ];
    for (node, service_id, check_id, left) in cases {
        let mut trial = world();
        trial.deregister(node, service_id, check_id);
        let state = &trial.state;
        assert_eq!(
            [state.nodes.len(), state.services.len(), state.checks.len()],
            left,
            "{node} {service_id:?} {check_id:?}"
        );
    }
}

#[test]
fn health_lists_the_nodes_checks_before_the_instances() {
    let mut trial = world();
    trial.add(registration(node("n1"), Some(service("other", "other")), vec![check("aa", "other", Passing)]));
    let found = trial.state.health_instances("WEB", &["a".into(), "B".into()]).value;
    let checks: Vec<&str> = found[0].checks.iter().map(|check| check.id.as_str()).collect();
    assert_eq!((found.len(), checks), (1, vec!["serfHealth", "wc"]));
    assert_eq!(trial.state.health_instances("web", &["c".into()]).value, []);
}

#[test]
fn an_index_moves_only_with_what_was_asked() {
    type Act = fn(&mut Trial);
    type Ask = fn(&Trial) -> u64;
    let web: Ask = |t| t.state.health_instances("web", &[]).index;
    let db: Ask = |t| t.state.health_instances("db", &[]).index;
    let names: Ask = |t| t.state.service_list(&none()).index;
    let nodes: Ask = |t| t.state.node_list(&none()).index;
    let n1: Ask = |t| t.state.node_checks("n1").index;
    let absent: Ask = |t| t.state.service_instances("absent", &[]).index;
    let node_check: Act = |t| t.add(registration(node("n1"), None, vec![check("serfHealth", "", Critical)]));
    let service_check: Act = |t| t.add(registration(node("n1"), None, vec![check("wc", "w1", Critical)]));
    let port: Act =
        |t| t.add(registration(node("n1"), Some(Service { port: 1, ..tagged("w1", "web", &["A", "b"]) }), vec![]));
    let tags: Act = |t| t.add(registration(node("n1"), Some(service("w1", "web")), vec![]));
    let address: Act = |t| t.add(registration(Node { address: "1.1.1.1".into(), ..node("n1") }, None, vec![]));
    let gone: Act = |t| t.deregister("n1", Some("w1"), None);
    let cases: [(&str, Act, [bool; 6]); 6] = [
        ("a node's check", node_check, [true, false, false, false, true, false]),
        ("a service's check", service_check, [true, false, false, false, true, false]),
        ("a port", port, [true, false, false, false, true, false]),
        ("tags", tags, [true, false, true, false, true, false]),
        ("an address", address, [true, false, false, true, true, false]),
        ("the last instance goes", gone, [true, false, true, false, true, true]),
    ];
    for (what, act, expected) in cases {
        let mut trial = world();
        let asks = [web, db, names, nodes, n1, absent];
        let before = asks.map(|ask| ask(&trial));
        act(&mut trial);
        let moved: Vec<bool> = asks.iter().zip(before).map(|(ask, before)| ask(&trial) > before).collect();
        assert_eq!(moved, expected, "web, db, names, nodes, n1, absent after {what}");
    }
}

#[test]
fn who_asks_for_a_nodes_services_sleeps_through_its_checks() {
    let mut trial = world();
    let checked = |status| registration(node("n1"), None, vec![check("serfHealth", "", status)]);
    trial.add(checked(Critical));
    let before = trial.state.node_services("n1").index;
    trial.add(checked(Passing));
    assert!(trial.touched(&Topic::node("n1")) && !trial.touched(&Topic::node_services("n1")));
    assert_eq!(trial.state.node_services("n1").index, before);

    let acts: [fn(&mut Trial); 4] = [
        |trial| trial.add(registration(node("n1"), Some(service("new", "new")), vec![])),
        |trial| trial.deregister("n1", Some("new"), None),
        |trial| trial.add(registration(Node { address: "1.1.1.1".into(), ..node("n1") }, None, vec![])),
        |trial| trial.deregister("n1", None, None),
    ];
    for act in acts {
        act(&mut trial);
        assert!(trial.touched(&Topic::node_services("N1")));
        assert_eq!(trial.state.node_services("n1").index, trial.index);
    }
}

#[test]
fn lists_select_by_node_meta_and_by_state() {
    let mut trial = world();
    let rack = BTreeMap::from([("rack".to_string(), "7".to_string())]);
    trial.add(registration(Node { meta: rack.clone(), ..node("n2") }, None, vec![check("bad", "", Critical)]));
    assert_eq!(trial.state.node_list(&rack).value.len(), 1);
    assert_eq!(trial.state.service_list(&rack).value.keys().collect::<Vec<_>>(), ["db"]);
    assert_eq!(trial.state.service_list(&none()).value["web"].len(), 2);
    assert_eq!(trial.state.checks_in_state(CheckState::Only(Critical)).value.len(), 1);
    assert_eq!(trial.state.checks_in_state(CheckState::Any).value.len(), 3);
}

#[test]
fn addresses_find_nodes_and_instances() {
    let mut trial = world();
    let own = Service { address: "192.0.2.7".into(), ..service("d1", "db") };
    trial.add(registration(Node { address: "fd00::1".into(), ..node("n2") }, Some(own), vec![]));
    let nodes = |text: &str| trial.state.nodes_by_address(text.parse().unwrap()).len();
    let services = |text: &str| trial.state.services_by_address(text.parse().unwrap()).len();
    assert_eq!((nodes("10.0.0.1"), nodes("fd00:0::1"), nodes("192.0.2.7")), (1, 1, 0));
    assert_eq!((services("192.0.2.7"), services("10.0.0.1")), (1, 0));
}

#[test]
fn what_was_never_there_answers_one() {
    let trial = Trial::new();
    let state = &trial.state;
    let indexes = [
        state.node("n").index,
        state.node_list(&none()).index,
        state.service_list(&none()).index,
        state.health_instances("s", &[]).index,
        state.service_checks("s").index,
        state.node_checks("n").index,
        state.checks_in_state(CheckState::Any).index,
        state.session_list().index,
        state.session("s").index,
    ];
    assert_eq!(indexes, [1; 9]);
}
