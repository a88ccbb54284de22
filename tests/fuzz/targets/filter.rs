//! Any text as a filter over every family: refused or evaluated, never a panic, never slow.
#![no_main]

use agent_core::filter::{Family, Filter, HealthRow, InstanceRow, NodeRow, Selectable};
use agent_core::state::tables::{Node, Service};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let node = Node::default();
    let service = Service { proxy_json: r#"{"Upstreams":[{"DestinationName":"u"}]}"#.to_owned(), ..Service::default() };
    let datacenter = "dc1";
    let rows: [(Family, &dyn Selectable); 4] = [
        (Family::Nodes, &NodeRow { node: &node, datacenter }),
        (Family::Instances, &InstanceRow { node: &node, service: &service, datacenter }),
        (Family::Services, &service),
        (Family::Health, &HealthRow { node: &node, service: &service, checks: &[], datacenter }),
    ];
    for (family, row) in rows {
        match Filter::compile(family, text) {
            Ok(filter) => drop(filter.matches(row)),
            Err(refused) => assert!(!refused.to_string().is_empty()),
        }
    }
});
