//! Reads selectors off the records of [`crate::state::tables`].
//!
//! Records don't hold their data centre (there is one per catalog), so rows
//! carry it. Paths were checked against [`super::schema`]; a path nothing here
//! knows reads as unset.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::{Selectable, Value};
use crate::state::tables::{Check, Node, Service, ServiceAddress, Weights};

/// A node as `/v1/catalog/nodes` lists it.
#[derive(Clone, Copy, Debug)]
pub struct NodeRow<'a> {
    /// The node.
    pub node: &'a Node,
    /// The data centre of the catalog.
    pub datacenter: &'a str,
}

/// An instance as `/v1/catalog/service/:name` lists it.
#[derive(Clone, Copy, Debug)]
pub struct InstanceRow<'a> {
    /// Where it runs.
    pub node: &'a Node,
    /// The instance.
    pub service: &'a Service,
    /// The data centre of the catalog.
    pub datacenter: &'a str,
}

/// An instance with its health as `/v1/health/service/:name` lists it.
#[derive(Clone, Copy, Debug)]
pub struct HealthRow<'a> {
    /// Where it runs.
    pub node: &'a Node,
    /// The instance.
    pub service: &'a Service,
    /// The checks that decide its health.
    pub checks: &'a [Arc<Check>],
    /// The data centre of the catalog.
    pub datacenter: &'a str,
}

impl Selectable for NodeRow<'_> {
    fn select(&self, path: &[String]) -> Value<'_> {
        select_node(self.node, self.datacenter, path)
    }
}

impl Selectable for Service {
    fn select(&self, path: &[String]) -> Value<'_> {
        select_service(self, path)
    }
}

impl Selectable for Check {
    fn select(&self, path: &[String]) -> Value<'_> {
        let Some((head, _)) = path.split_first() else { return Value::Unset };
        match head.as_str() {
            "Node" => self.node.as_str().into(),
            "CheckID" => self.id.as_str().into(),
            "Name" => self.name.as_str().into(),
            "Status" => self.status.as_str().into(),
            "Notes" => self.notes.as_str().into(),
            "Output" => self.output.as_str().into(),
            "ServiceID" => self.service_id.as_str().into(),
            "ServiceName" => self.service_name.as_str().into(),
            "ServiceTags" => Value::Texts(&self.service_tags),
            "Type" => self.kind.as_str().into(),
            _ => Value::Unset,
        }
    }
}

impl Selectable for InstanceRow<'_> {
    fn select(&self, path: &[String]) -> Value<'_> {
        let Some((head, rest)) = path.split_first() else { return Value::Unset };
        let service = self.service;
        match head.as_str() {
            "NodeMeta" => text_map(&self.node.meta, rest),
            "ServiceKind" => service.kind.as_str().into(),
            "ServiceID" => service.id.as_str().into(),
            "ServiceName" => service.name.as_str().into(),
            "ServiceTags" => Value::Texts(&service.tags),
            "ServiceAddress" => service.address.as_str().into(),
            "ServiceTaggedAddresses" => address_map(&service.tagged_addresses, rest),
            "ServiceWeights" => weights(service.weights, rest),
            "ServiceMeta" => text_map(&service.meta, rest),
            "ServicePort" => Value::Int(i64::from(service.port)),
            "ServiceEnableTagOverride" => Value::Bool(service.enable_tag_override),
            "ServiceProxy" => proxy(service, rest),
            "ServiceConnect" => Value::Bool(service.connect_native),
            _ => select_node(self.node, self.datacenter, path),
        }
    }
}

impl Selectable for HealthRow<'_> {
    fn select(&self, path: &[String]) -> Value<'_> {
        let Some((head, rest)) = path.split_first() else { return Value::Unset };
        match (head.as_str(), rest) {
            ("Node", rest) => select_node(self.node, self.datacenter, rest),
            ("Service", rest) => select_service(self.service, rest),
            ("Checks", []) => Value::Count(self.checks.len()),
            ("Checks", rest) => Value::Each(self.checks.iter().map(|check| check.select(rest)).collect()),
            _ => Value::Unset,
        }
    }
}

fn select_node<'a>(node: &'a Node, datacenter: &'a str, path: &[String]) -> Value<'a> {
    let Some((head, rest)) = path.split_first() else { return Value::Unset };
    match head.as_str() {
        "ID" => node.id.as_str().into(),
        "Node" => node.name.as_str().into(),
        "Address" => node.address.as_str().into(),
        "Datacenter" => datacenter.into(),
        "TaggedAddresses" => text_map(&node.tagged_addresses, rest),
        "Meta" => text_map(&node.meta, rest),
        _ => Value::Unset,
    }
}

fn select_service<'a>(service: &'a Service, path: &[String]) -> Value<'a> {
    let Some((head, rest)) = path.split_first() else { return Value::Unset };
    match head.as_str() {
        "Kind" => service.kind.as_str().into(),
        "ID" => service.id.as_str().into(),
        "Service" => service.name.as_str().into(),
        "Tags" => Value::Texts(&service.tags),
        "Address" => service.address.as_str().into(),
        "TaggedAddresses" => address_map(&service.tagged_addresses, rest),
        "Meta" => text_map(&service.meta, rest),
        "Port" => Value::Int(i64::from(service.port)),
        "Weights" => weights(service.weights, rest),
        "EnableTagOverride" => Value::Bool(service.enable_tag_override),
        "Proxy" => proxy(service, rest),
        "Connect" => Value::Bool(service.connect_native),
        _ => Value::Unset,
    }
}

fn text_map<'a>(map: &'a BTreeMap<String, String>, rest: &[String]) -> Value<'a> {
    match rest.first() {
        None => Value::TextMap(map),
        Some(key) => map.get(key).map_or(Value::Missing, |value| value.as_str().into()),
    }
}

fn address_map<'a>(map: &'a BTreeMap<String, ServiceAddress>, rest: &[String]) -> Value<'a> {
    let Some((key, field)) = rest.split_first() else { return Value::AddressMap(map) };
    let Some(found) = map.get(key) else { return Value::Missing };
    match field.first().map(String::as_str) {
        Some("Address") => found.address.as_str().into(),
        Some("Port") => Value::Int(i64::from(found.port)),
        _ => Value::Unset,
    }
}

fn weights<'a>(weights: Weights, rest: &[String]) -> Value<'a> {
    match rest.first().map(String::as_str) {
        Some("Passing") => Value::Int(i64::from(weights.passing)),
        Some("Warning") => Value::Int(i64::from(weights.warning)),
        _ => Value::Unset,
    }
}

/// `Proxy` is kept as the client wrote it, so it is read when somebody asks.
fn proxy<'a>(service: &Service, rest: &[String]) -> Value<'a> {
    if service.proxy_json.is_empty() {
        return unset(rest);
    }
    serde_json::from_str(&service.proxy_json).map_or_else(|_| unset(rest), |json| select_json(&json, rest))
}

fn select_json<'a>(json: &Json, path: &[String]) -> Value<'a> {
    match (json, path.split_first()) {
        (Json::Array(list), None) => Value::Count(list.len()),
        (Json::Array(list), Some(_)) => Value::Each(list.iter().map(|one| select_json(one, path)).collect()),
        (Json::Object(map), Some((head, rest))) => match map.iter().find(|(key, _)| same_key(key, head)) {
            Some((_, value)) => select_json(value, rest),
            None => unset(path),
        },
        (Json::String(text), None) => Value::Text(Cow::Owned(text.clone())),
        (Json::Bool(flag), None) => Value::Bool(*flag),
        (Json::Number(number), None) => number.as_i64().map_or(Value::Unset, Value::Int),
        (Json::Null | Json::String(_) | Json::Bool(_) | Json::Number(_) | Json::Object(_), _) => unset(path),
    }
}

/// Nothing was set there: an absent list has no elements that could match.
fn unset<'a>(path: &[String]) -> Value<'a> {
    let inside_list = matches!(path, [.., list, _] if list == "Upstreams" || list == "Paths");
    if inside_list || path.first().is_some_and(|head| head == "Upstreams" && path.len() > 1) {
        return Value::Each(Vec::new());
    }
    Value::Unset
}

/// Clients may write request keys in any case and in snake_case.
fn same_key(written: &str, name: &str) -> bool {
    written
        .bytes()
        .filter(|byte| *byte != b'_')
        .map(|byte| byte.to_ascii_lowercase())
        .eq(name.bytes().map(|byte| byte.to_ascii_lowercase()))
}
