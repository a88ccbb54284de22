//! The filter language against what Consul answered.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::state::tables::{Check, Node, Service, Status, Weights};

#[test]
fn answers_are_those_recorded_from_consul() {
    let world = World::new();
    let mut family = Family::Instances;
    let mut lines = include_str!("recorded.txt").lines().filter(|line| !line.starts_with('#'));
    let mut wrong = Vec::new();
    while let Some(line) = lines.next() {
        match line {
            "[instances]" => family = Family::Instances,
            "[health]" => family = Family::Health,
            text => {
                let expected = lines.next().expect("an expression is followed by its answer").trim_start();
                let got = world.answer(family, text);
                if got != expected {
                    wrong.push(format!("{text}\n  consul {expected}\n  lictor {got}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_empty_filter_matches_everything() {
    let filter = Filter::compile(Family::Services, "").expect("nothing to refuse");
    assert!(filter.is_empty() && filter.matches(&Service::default()));
}

#[test]
fn a_regular_expression_that_does_not_compile_is_refused() {
    let refused = Filter::compile(Family::Checks, "Name matches `(`").expect_err("the parenthesis is open");
    assert!(
        refused.to_string().starts_with(
            r#"Failed to create boolean expression evaluator: Failed to compile regular expression "(": error parsing regexp: "#
        ),
        "{refused}"
    );
}

#[test]
fn what_comes_from_outside_is_bounded() {
    for text in [
        "x".repeat(TEXT_BYTES_MAX + 1),
        "(".repeat(5_000) + "Name == x" + &")".repeat(5_000),
        "not ".repeat(4_000) + "Name == x",
        format!("Name matches `{}`", "(a{1,500}){1,500}"),
        format!("Name matches `{}`", "(".repeat(4_000)),
    ] {
        assert!(Filter::compile(Family::Checks, &text).is_err(), "{}", &text[..20]);
    }
}

#[test]
fn a_long_chain_is_read_in_a_loop() {
    let text = vec!["Name == x"; 1_000].join(" and ");
    assert!(Filter::compile(Family::Checks, &text).is_ok());
}

#[test]
fn proxy_settings_are_read_from_what_the_client_sent() {
    let service = Service {
        proxy_json: r#"{"destination_service_name":"db","LocalServicePort":7,"Upstreams":[{"DestinationName":"u1"},
            {"DestinationName":"u2","LocalBindPort":6}],"Expose":{"Checks":true}}"#
            .to_owned(),
        ..Service::default()
    };
    for (text, expected) in [
        ("Proxy.DestinationServiceName == db", true),
        ("Proxy.LocalServicePort == 7", true),
        ("Proxy.LocalServiceAddress == ``", true),
        ("Proxy.Upstreams.DestinationName == u2", true),
        ("Proxy.Upstreams.DestinationName != u2", true),
        ("Proxy.Upstreams.DestinationName == u3", false),
        ("Proxy.Upstreams.LocalBindPort == 6", true),
        ("Proxy.Upstreams is empty", false),
        ("Proxy.Expose.Checks == true", true),
        ("Proxy.Expose.Paths is empty", true),
        ("Proxy.Expose.Paths.Path != x", false),
        ("Proxy.MeshGateway.Mode == ``", true),
    ] {
        assert_eq!(passes(Family::Services, text, &service), expected, "{text}");
    }
}

#[test]
fn fields_of_nodes_services_and_checks_are_found() {
    let world = World::new();
    let node = NodeRow { node: &world.nodes[0], datacenter: "dc1" };
    for text in [
        "Node == n1 and Address == `10.1.0.1` and Datacenter == dc1 and ID == ``",
        "Meta.env == prod and TaggedAddresses.wan == `1.2.3.4` and wan in TaggedAddresses",
    ] {
        assert!(passes(Family::Nodes, text, &node), "{text}");
    }
    for text in [
        "ID == web1 and Service == web and Port == 8080 and Kind == `` and Address == `10.9.0.1`",
        "v1 in Tags and Meta.ver == 3 and Weights.Warning == 2 and TaggedAddresses.lan.Port == 8080",
        "EnableTagOverride == false and Connect.Native == false",
    ] {
        assert!(passes(Family::Services, text, &*world.services[0]), "{text}");
    }
    for text in [
        "CheckID == c1 and Name == `C one` and Status == passing and Notes == nn and Output == fine and Type == ``",
        "Node == n1 and ServiceID == web1 and ServiceName == web and primary in ServiceTags",
    ] {
        assert!(passes(Family::Checks, text, &*world.checks[0][0]), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let _ = World::new().answer(Family::Health, &text);
    }

    #[test]
    fn nothing_made_of_its_words_panics(words in prop::collection::vec(
        prop::sample::select(vec![
            " ", "(", ")", "not", "and", "or", "in", "is", "empty", "contains", "matches", "==", "!=", ".", "[", "]", "\"", "`",
            "\\", "\n", "0", "5", "-", "x", "é", "Node", "Service", "Checks", "Status", "Tags", "Meta", "Port", "ServiceTags",
        ]), 0..24)) {
        let _ = World::new().answer(Family::Health, &words.concat());
    }
}

struct World {
    nodes: Vec<Arc<Node>>,
    services: Vec<Arc<Service>>,
    checks: Vec<Vec<Arc<Check>>>,
}

impl World {
    fn new() -> World {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let text = |text: &str| text.to_owned();
        let first = Node {
            name: text("n1"),
            address: text("10.1.0.1"),
            meta: map(&[("env", "prod"), ("a.b", "x"), ("rfc1035-t", "hello")]),
            tagged_addresses: map(&[("lan", "10.1.0.1"), ("wan", "1.2.3.4")]),
            ..Node::default()
        };
        let second =
            Node { name: text("n2"), address: text("10.1.0.2"), meta: map(&[("env", "dev")]), ..Node::default() };
        let tags = vec![text("v1"), text("primary")];
        let address = ServiceAddress { address: text("10.9.0.1"), port: 8080 };
        let web1 = Service {
            node: text("n1"),
            id: text("web1"),
            name: text("web"),
            tags: tags.clone(),
            meta: map(&[("ver", "3"), ("my-key", "z")]),
            port: 8080,
            address: text("10.9.0.1"),
            weights: Weights { passing: 10, warning: 2 },
            tagged_addresses: [(text("lan"), address)].into(),
            ..Service::default()
        };
        let web2 = Service { node: text("n2"), id: text("web2"), name: text("web"), port: 80, ..Service::default() };
        let service_check = Check {
            node: text("n1"),
            id: text("c1"),
            name: text("C one"),
            status: Status::Passing,
            service_id: text("web1"),
            service_name: text("web"),
            service_tags: tags,
            output: text("fine"),
            notes: text("nn"),
            ..Check::default()
        };
        let node_check =
            Check { node: text("n1"), id: text("n"), name: text("node"), status: Status::Warning, ..Check::default() };
        World {
            nodes: vec![Arc::new(first), Arc::new(second)],
            services: vec![Arc::new(web1), Arc::new(web2)],
            checks: vec![vec![Arc::new(service_check), Arc::new(node_check)], Vec::new()],
        }
    }

    /// The answer in the notation of `recorded.txt`.
    fn answer(&self, family: Family, text: &str) -> String {
        let filter = match Filter::compile(family, text) {
            Ok(filter) => filter,
            Err(FilterError::Malformed(refused) | FilterError::Unfit(refused)) => {
                return format!("!{}", refused.replace('\n', "\\n"));
            }
        };
        let passing = (0..2).filter(|at| {
            let (node, service) = (&*self.nodes[*at], &*self.services[*at]);
            let health = HealthRow { node, service, checks: &self.checks[*at], datacenter: "dc1" };
            let instance = InstanceRow { node, service, datacenter: "dc1" };
            filter.matches(if family == Family::Health { &health as &dyn Selectable } else { &instance })
        });
        format!("={}", passing.count())
    }
}

fn passes(family: Family, text: &str, record: &dyn Selectable) -> bool {
    Filter::compile(family, text).unwrap_or_else(|refused| panic!("{text}: {refused}")).matches(record)
}
