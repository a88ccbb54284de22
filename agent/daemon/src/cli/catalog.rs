//! `catalog datacenters`, `catalog nodes`, `catalog services`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::address::escape_path;
use super::client::Call;
use super::command::{Failure, Invocation, list, text};
use super::table;

/// `catalog datacenters`.
pub fn datacenters(run: &mut Invocation) -> Result<(), Failure> {
    run.no_args()?;
    let answer = run.client()?.json(Call::new("GET", "/v1/catalog/datacenters"));
    let answer = answer.map_err(|error| Failure::new(format!("Error listing datacenters: {error}")))?;
    for name in list(&answer).iter().filter_map(Value::as_str) {
        run.line(name);
    }
    Ok(())
}

/// `catalog nodes`.
pub fn nodes(run: &mut Invocation) -> Result<(), Failure> {
    run.no_args()?;
    let path = match run.flags.last("service").filter(|service| !service.is_empty()) {
        Some(service) => format!("/v1/catalog/service/{}", escape_path(service)),
        None => "/v1/catalog/nodes".to_owned(),
    };
    let mut call = with_node_meta(run, Call::new("GET", path));
    for name in ["near", "filter"] {
        if let Some(value) = run.flags.last(name).filter(|value| !value.is_empty()) {
            call = call.with(name, value);
        }
    }
    let answer = run.client()?.json(call).map_err(|error| Failure::new(format!("Error listing nodes: {error}")))?;
    let nodes = list(&answer);
    if nodes.is_empty() {
        run.remark("No nodes match the given query - try expanding your search.");
        return Ok(());
    }
    let detailed = run.flags.bool("detailed");
    let titles: &[&str] = if detailed {
        &["Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"]
    } else {
        &["Node", "ID", "Address", "DC"]
    };
    let mut rows = vec![titles.iter().map(|&title| title.to_owned()).collect()];
    rows.extend(nodes.iter().map(|node| node_row(node, detailed)));
    run.line(&table::columns(&rows));
    Ok(())
}

fn node_row(node: &Value, detailed: bool) -> Vec<String> {
    let id = text(node, "ID");
    let id = if detailed { id } else { id.split('-').next().unwrap_or_default().to_owned() };
    let mut row = vec![text(node, "Node"), id, text(node, "Address"), text(node, "Datacenter")];
    if detailed {
        // An instance's answer calls the node's own metadata NodeMeta.
        let meta = node.get("NodeMeta").or_else(|| node.get("Meta"));
        row.extend([pairs(node.get("TaggedAddresses")), pairs(meta)]);
    }
    row
}

fn pairs(map: Option<&Value>) -> String {
    let entries = map.and_then(Value::as_object).into_iter().flatten();
    let sorted: BTreeMap<&str, &str> =
        entries.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or(""))).collect();
    sorted.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

fn with_node_meta(run: &Invocation, call: Call) -> Call {
    let pairs = run.flags.pairs("node-meta");
    pairs.fold(call, |call, (key, value)| call.with("node-meta", format!("{key}:{value}")))
}

/// `catalog services`.
pub fn services(run: &mut Invocation) -> Result<(), Failure> {
    run.no_args()?;
    let node = run.flags.last("node").unwrap_or_default().to_owned();
    let path = match node.as_str() {
        "" => "/v1/catalog/services".to_owned(),
        node => format!("/v1/catalog/node/{}", escape_path(node)),
    };
    let answer = run.client()?.json(with_node_meta(run, Call::new("GET", path)));
    let answer = answer.map_err(|error| match node.as_str() {
        "" => Failure::new(format!("Error listing services: {error}")),
        _ => Failure::new(format!("Error listing services for node: {error}")),
    })?;
    let services = tags_by_service(&answer, !node.is_empty());
    if services.is_empty() {
        run.remark("No services match the given query - try expanding your search.");
        return Ok(());
    }
    if run.flags.bool("tags") {
        let joined = |tags: &BTreeSet<String>| tags.iter().cloned().collect::<Vec<_>>().join(",");
        let rows: Vec<_> = services.iter().map(|(name, tags)| (name.clone(), joined(tags))).collect();
        run.line(&table::pairs(&rows));
    } else {
        run.line(&services.into_keys().collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}

fn tags_by_service(answer: &Value, of_node: bool) -> BTreeMap<String, BTreeSet<String>> {
    let mut services: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let entries = if of_node { answer.get("Services") } else { Some(answer) };
    for (key, entry) in entries.and_then(Value::as_object).into_iter().flatten() {
        let (name, tags) =
            if of_node { (text(entry, "Service"), entry.get("Tags")) } else { (key.clone(), Some(entry)) };
        let tags = tags.map_or(&[][..], list).iter().filter_map(Value::as_str).map(str::to_owned);
        services.entry(name).or_default().extend(tags);
    }
    services
}
