//! Records and the bytes the real Consul 1.8.7 printed for them.

use std::sync::Arc;

use agent_core::state::catalog::{HealthInstance, Instance};
use agent_core::state::tables::{Check, CheckDefinition, Node, Service, ServiceAddress, Status, Weights};
use serde::Serialize;

use super::{
    AgentCheckView, AgentServiceView, CatalogServiceView, CheckView, HealthView, NodeView, ServiceView, TxnCheckView,
};

#[test]
fn a_node() {
    let expected = r#"{"ID":"40e4a748-2192-161a-0510-9bf59fe950b9","Node":"e","Address":"192.168.10.10","Datacenter":"dc1","TaggedAddresses":{"lan":"192.168.10.10","wan":"10.0.10.10"},"Meta":{"somekey":"somevalue"},"CreateIndex":162,"ModifyIndex":162}"#;
    assert_eq!(json(NodeView::new(&full_node(), "dc1")), expected);
}

#[test]
fn a_node_with_nothing_but_an_address() {
    let expected = r#"{"ID":"","Node":"x","Address":"1.1.1.1","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,"CreateIndex":131,"ModifyIndex":158}"#;
    assert_eq!(json(NodeView::new(&bare_node(), "dc1")), expected);
}

#[test]
fn an_instance_in_the_catalog() {
    let instance = Instance { node: Arc::new(full_node()), service: Arc::new(full_service()) };
    let expected = r#"{"ID":"40e4a748-2192-161a-0510-9bf59fe950b9","Node":"e","Address":"192.168.10.10","Datacenter":"dc1","TaggedAddresses":{"lan":"192.168.10.10","wan":"10.0.10.10"},"NodeMeta":{"somekey":"somevalue"},"ServiceKind":"","ServiceID":"redis1","ServiceName":"redis","ServiceTags":["primary","v1"],"ServiceAddress":"127.0.0.1","ServiceTaggedAddresses":{"lan":{"Address":"127.0.0.1","Port":8000},"wan":{"Address":"198.18.0.1","Port":80}},"ServiceWeights":{"Passing":1,"Warning":1},"ServiceMeta":{"redis_version":"4.0"},"ServicePort":8000,"ServiceEnableTagOverride":false,"ServiceProxy":{"MeshGateway":{},"Expose":{}},"ServiceConnect":{},"CreateIndex":162,"ModifyIndex":162}"#;
    assert_eq!(json(CatalogServiceView::new(&instance, "dc1")), expected);
}

#[test]
fn a_bare_instance_in_the_catalog() {
    let instance = Instance { node: Arc::new(bare_node()), service: Arc::new(bare_service()) };
    let expected = r#"{"ID":"","Node":"x","Address":"1.1.1.1","Datacenter":"dc1","TaggedAddresses":null,"NodeMeta":null,"ServiceKind":"","ServiceID":"s","ServiceName":"s","ServiceTags":[],"ServiceAddress":"","ServiceWeights":{"Passing":1,"Warning":1},"ServiceMeta":{},"ServicePort":80,"ServiceEnableTagOverride":true,"ServiceProxy":{"MeshGateway":{},"Expose":{}},"ServiceConnect":{},"CreateIndex":133,"ModifyIndex":161}"#;
    assert_eq!(json(CatalogServiceView::new(&instance, "dc1")), expected);
}

#[test]
fn an_instance_with_its_health() {
    let check = Check {
        node: "e".to_owned(),
        id: "service:redis1".to_owned(),
        name: "Redis health check".to_owned(),
        status: Status::Passing,
        notes: "Script based health check".to_owned(),
        service_id: "redis1".to_owned(),
        service_name: "redis".to_owned(),
        service_tags: strings(&["primary", "v1"]),
        kind: "tcp".to_owned(),
        definition: CheckDefinition {
            tcp: "localhost:8888".to_owned(),
            interval_ms: 5_000,
            timeout_ms: 1_000,
            deregister_critical_service_after_ms: 30_000,
            ..CheckDefinition::default()
        },
        create_index: 162,
        modify_index: 162,
        ..Check::default()
    };
    let (node, service) = (Arc::new(full_node()), Arc::new(full_service()));
    let instance = HealthInstance { node, service, checks: vec![Arc::new(check)] };
    let expected = r#"{"Node":{"ID":"40e4a748-2192-161a-0510-9bf59fe950b9","Node":"e","Address":"192.168.10.10","Datacenter":"dc1","TaggedAddresses":{"lan":"192.168.10.10","wan":"10.0.10.10"},"Meta":{"somekey":"somevalue"},"CreateIndex":162,"ModifyIndex":162},"Service":{"ID":"redis1","Service":"redis","Tags":["primary","v1"],"Address":"127.0.0.1","TaggedAddresses":{"lan":{"Address":"127.0.0.1","Port":8000},"wan":{"Address":"198.18.0.1","Port":80}},"Meta":{"redis_version":"4.0"},"Port":8000,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"MeshGateway":{},"Expose":{}},"Connect":{},"CreateIndex":162,"ModifyIndex":162},"Checks":[{"Node":"e","CheckID":"service:redis1","Name":"Redis health check","Status":"passing","Notes":"Script based health check","Output":"","ServiceID":"redis1","ServiceName":"redis","ServiceTags":["primary","v1"],"Type":"tcp","Definition":{"Interval":"5s","Timeout":"1s","DeregisterCriticalServiceAfter":"30s","TCP":"localhost:8888"},"CreateIndex":162,"ModifyIndex":162}]}"#;
    assert_eq!(json(HealthView::new(&instance, "dc1")), expected);
}

#[test]
fn a_bare_instance_beside_its_node() {
    let expected = r#"{"ID":"s","Service":"s","Tags":[],"Address":"","Meta":null,"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":true,"Proxy":{"MeshGateway":{},"Expose":{}},"Connect":{},"CreateIndex":133,"ModifyIndex":161}"#;
    assert_eq!(json(ServiceView::new(&bare_service())), expected);
    let in_txn = expected.replace("\"Tags\":[]", "\"Tags\":null");
    assert_eq!(json(ServiceView::in_txn(&bare_service())), in_txn);
    assert_eq!(json(ServiceView::in_txn(&full_service())), json(ServiceView::new(&full_service())));
}

#[test]
fn a_check_with_a_definition_for_others_to_run() {
    let check = Check {
        node: "x".to_owned(),
        id: "c4".to_owned(),
        status: Status::Warning,
        kind: "http".to_owned(),
        definition: CheckDefinition {
            http: "http://x".to_owned(),
            tls_skip_verify: true,
            header: [("a".to_owned(), strings(&["b"]))].into(),
            method: "GET".to_owned(),
            interval_ms: 10_000,
            timeout_ms: 5_000,
            deregister_critical_service_after_ms: 90 * 60_000,
            ..CheckDefinition::default()
        },
        create_index: 141,
        modify_index: 141,
        ..Check::default()
    };
    let expected = r#"{"Node":"x","CheckID":"c4","Name":"","Status":"warning","Notes":"","Output":"","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"http","Definition":{"Interval":"10s","Timeout":"5s","DeregisterCriticalServiceAfter":"1h30m0s","HTTP":"http://x","TLSSkipVerify":true,"Header":{"a":["b"]},"Method":"GET"},"CreateIndex":141,"ModifyIndex":141}"#;
    assert_eq!(json(CheckView::new(&check)), expected);
    let in_txn = expected.replace("\"ServiceTags\":[]", "\"ServiceTags\":null");
    assert_eq!(json(TxnCheckView::new(&check)), in_txn);
}

#[test]
fn a_check_in_the_health_of_the_agents_own_service() {
    let check = Check {
        node: "n1".to_owned(),
        id: "nodettl".to_owned(),
        name: "nodettl".to_owned(),
        kind: "ttl".to_owned(),
        ..Check::default()
    };
    let expected = r#"{"Node":"n1","CheckID":"nodettl","Name":"nodettl","Status":"critical","Notes":"","Output":"","ServiceID":"","ServiceName":"","ServiceTags":null,"Type":"","Definition":{"Interval":"0s","Timeout":"0s","DeregisterCriticalServiceAfter":"0s","HTTP":"","Header":null,"Method":"","Body":"","TLSSkipVerify":false,"TCP":""},"CreateIndex":0,"ModifyIndex":0}"#;
    assert_eq!(json(AgentCheckView::new(&check)), expected);
}

#[test]
fn a_native_service_of_this_agent() {
    let service = Service {
        id: "m4".to_owned(),
        name: "m4".to_owned(),
        address: "9.9.9.9".to_owned(),
        port: 8,
        tagged_addresses: [
            ("lan".to_owned(), address("1.2.3.4", 1)),
            ("lan_ipv4".to_owned(), address("9.9.9.9", 8)),
            ("wan_ipv4".to_owned(), address("9.9.9.9", 8)),
        ]
        .into(),
        meta: [("a".to_owned(), "b".to_owned())].into(),
        weights: Weights { passing: 3, warning: 0 },
        connect_native: true,
        ..Service::default()
    };
    let expected = r#"{"ID":"m4","Service":"m4","Tags":[],"Meta":{"a":"b"},"Port":8,"Address":"9.9.9.9","TaggedAddresses":{"lan":{"Address":"1.2.3.4","Port":1},"lan_ipv4":{"Address":"9.9.9.9","Port":8},"wan_ipv4":{"Address":"9.9.9.9","Port":8}},"Weights":{"Passing":3,"Warning":0},"EnableTagOverride":false,"ContentHash":"28ccb60f23ee2cf9","Connect":{"Native":true}}"#;
    assert_eq!(json(AgentServiceView::new(&service, Some("28ccb60f23ee2cf9"))), expected);
}

#[test]
fn a_proxy_as_the_agent_and_as_the_catalog_prints_it() {
    let body = serde_json::json!({"Name": "m5", "Kind": "connect-proxy", "Port": 9, "Proxy": {
        "DestinationServiceName": "m4", "Config": {"a": 1},
        "Upstreams": [{"DestinationName": "x", "LocalBindPort": 1}]}});
    let defaults = crate::definition::Defaults::http();
    let service = crate::definition::decode_service(&body, &defaults).expect("valid").service;
    let agent = r#"{"Kind":"connect-proxy","ID":"m5","Service":"m5","Tags":[],"Meta":{},"Port":9,"Address":"","Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"DestinationServiceName":"m4","Config":{"a":1},"Upstreams":[{"DestinationType":"service","DestinationName":"x","LocalBindPort":1,"MeshGateway":{}}],"MeshGateway":{},"Expose":{}}}"#;
    let catalog = r#"{"Kind":"connect-proxy","ID":"m5","Service":"m5","Tags":[],"Address":"","Meta":null,"Port":9,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"DestinationServiceName":"m4","Config":{"a":1},"Upstreams":[{"DestinationType":"service","DestinationName":"x","Datacenter":"","LocalBindPort":1,"Config":null,"MeshGateway":{}}],"MeshGateway":{},"Expose":{}},"Connect":{},"CreateIndex":0,"ModifyIndex":0}"#;
    assert_eq!(json(AgentServiceView::new(&service, None)), agent);
    assert_eq!(json(ServiceView::new(&service)), catalog);
}

fn json(view: impl Serialize) -> String {
    serde_json::to_string(&view).expect("views always serialise")
}

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|&item| item.to_owned()).collect()
}

fn address(address: &str, port: u16) -> ServiceAddress {
    ServiceAddress { address: address.to_owned(), port }
}

fn full_node() -> Node {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Node {
        id: "40e4a748-2192-161a-0510-9bf59fe950b9".to_owned(),
        name: "e".to_owned(),
        address: "192.168.10.10".to_owned(),
        tagged_addresses: [pair("lan", "192.168.10.10"), pair("wan", "10.0.10.10")].into(),
        meta: [pair("somekey", "somevalue")].into(),
        create_index: 162,
        modify_index: 162,
    }
}

fn bare_node() -> Node {
    Node {
        name: "x".to_owned(),
        address: "1.1.1.1".to_owned(),
        create_index: 131,
        modify_index: 158,
        ..Node::default()
    }
}

fn full_service() -> Service {
    Service {
        node: "e".to_owned(),
        id: "redis1".to_owned(),
        name: "redis".to_owned(),
        tags: strings(&["primary", "v1"]),
        address: "127.0.0.1".to_owned(),
        port: 8000,
        tagged_addresses: [
            ("lan".to_owned(), address("127.0.0.1", 8000)),
            ("wan".to_owned(), address("198.18.0.1", 80)),
        ]
        .into(),
        meta: [("redis_version".to_owned(), "4.0".to_owned())].into(),
        create_index: 162,
        modify_index: 162,
        ..Service::default()
    }
}

fn bare_service() -> Service {
    Service {
        node: "x".to_owned(),
        id: "s".to_owned(),
        name: "s".to_owned(),
        port: 80,
        enable_tag_override: true,
        create_index: 133,
        modify_index: 161,
        ..Service::default()
    }
}
