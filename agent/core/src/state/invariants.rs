//! What must hold in every state, for tests and the simulator.

use std::collections::BTreeSet;

use super::plugin::{PLUGINS_MAX, STORE_BYTES_MAX, UPLOADS_MAX, VERSIONS_MAX};
use super::tables::{Index, State, Status, fold};

/// Checks everything that can be seen in one state.
///
/// # Errors
/// The first rule that is broken, with the record that breaks it.
pub fn check(state: &State) -> Result<(), String> {
    nodes(state)?;
    services(state)?;
    checks(state)?;
    keys(state)?;
    sessions(state)?;
    plugins(state)?;
    indexes(state)
}

fn ensure(holds: bool, rule: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(rule()) }
}

fn nodes(state: &State) -> Result<(), String> {
    for (name, node) in &state.nodes {
        ensure(*name == fold(&node.name), || format!("node {:?} is stored as {name:?}", node.name))?;
        ensure(state.node_indexes.contains_key(name), || format!("node {name:?} has no index"))?;
        let known = node.id.is_empty() || state.node_ids.get(&fold(&node.id)) == Some(name);
        ensure(known, || format!("node {name:?} is not found by its id"))?;
    }
    let with_id = state.nodes.values().filter(|node| !node.id.is_empty()).count();
    ensure(with_id == state.node_ids.len(), || "node_ids knows nodes that are gone".to_string())?;
    ensure(state.node_indexes.len() == state.nodes.len(), || "node_indexes knows nodes that are gone".to_string())
}

fn services(state: &State) -> Result<(), String> {
    for ((node, id), service) in &state.services {
        let key = (fold(&service.name), node.clone(), id.clone());
        ensure(*node == fold(&service.node) && *id == service.id, || format!("service {key:?} is stored wrongly"))?;
        ensure(state.nodes.contains_key(node), || format!("service {key:?} has no node"))?;
        ensure(state.services_by_name.get(&key) == Some(service), || format!("service {key:?} is not found by name"))?;
        ensure(state.service_indexes.contains_key(&key.0), || format!("service {key:?} has no index"))?;
    }
    ensure(state.services.len() == state.services_by_name.len(), || {
        "services_by_name knows instances that are gone".to_string()
    })?;
    let names: BTreeSet<&String> = state.services_by_name.keys().map(|(name, _, _)| name).collect();
    ensure(names.len() == state.service_indexes.len(), || "service_indexes knows services that are gone".to_string())
}

fn checks(state: &State) -> Result<(), String> {
    for (key, check) in &state.checks {
        ensure(*key == (fold(&check.node), check.id.clone()), || format!("check {key:?} is stored wrongly"))?;
        ensure(state.nodes.contains_key(&key.0), || format!("check {key:?} has no node"))?;
        if check.service_id.is_empty() {
            let unlabelled = check.service_name.is_empty() && check.service_tags.is_empty();
            ensure(unlabelled, || format!("check {key:?} of a node names a service"))?;
            continue;
        }
        let service = state.services.get(&(key.0.clone(), check.service_id.clone()));
        let agrees =
            service.is_some_and(|service| service.name == check.service_name && service.tags == check.service_tags);
        ensure(agrees, || format!("check {key:?} does not agree with its service"))?;
    }
    Ok(())
}

fn keys(state: &State) -> Result<(), String> {
    let mut held = 0;
    for (key, entry) in state.kv.iter() {
        ensure(!state.tombstones.contains_key(key), || format!("key {key:?} has a tombstone"))?;
        if entry.session.is_empty() {
            continue;
        }
        held += 1;
        ensure(state.sessions.contains_key(&entry.session), || format!("key {key:?} is held by a session that ended"))?;
        let known = state.session_keys.contains_key(&(entry.session.clone(), key.clone()));
        ensure(known, || format!("session_keys misses key {key:?}"))?;
    }
    ensure(held == state.session_keys.len(), || "session_keys knows keys that are not held".to_string())
}

fn sessions(state: &State) -> Result<(), String> {
    for (id, session) in &state.sessions {
        let node = fold(&session.node);
        ensure(*id == session.id, || format!("session {:?} is stored as {id:?}", session.id))?;
        ensure(state.nodes.contains_key(&node), || format!("session {id:?} outlived its node"))?;
        let known = state.node_sessions.contains_key(&(node.clone(), id.clone()));
        ensure(known, || format!("node_sessions misses session {id:?}"))?;
        for check in session.node_checks.iter().chain(&session.service_checks) {
            let alive = state.checks.get(&(node.clone(), check.clone())).is_some_and(|c| c.status != Status::Critical);
            ensure(alive, || format!("session {id:?} outlived its check {check:?}"))?;
        }
    }
    ensure(state.sessions.len() == state.node_sessions.len(), || "node_sessions knows sessions that ended".to_string())
}

fn plugins(state: &State) -> Result<(), String> {
    ensure(state.plugins.len() <= PLUGINS_MAX, || format!("{} plugins", state.plugins.len()))?;
    for (name, plugin) in &state.plugins {
        let count = plugin.versions.len();
        ensure(*name == plugin.name, || format!("plugin {:?} is stored as {name:?}", plugin.name))?;
        ensure((1..=VERSIONS_MAX).contains(&count), || format!("plugin {name:?} has {count} versions"))?;
        for version in &plugin.versions {
            let file = state.plugin_files.get(&version.digest);
            let whole = file.is_some_and(|file| file.is_complete() && file.size == version.size);
            ensure(whole, || format!("plugin {name:?} names the file {}, which is not there", version.digest))?;
        }
    }
    let named: BTreeSet<_> = state.plugins.values().flat_map(|plugin| &plugin.versions).map(|one| one.digest).collect();
    ensure(state.plugin_files.len() - named.len() <= UPLOADS_MAX, || "too many uploads".to_string())?;
    let bytes: u64 = state.plugin_files.values().map(|file| file.size).sum();
    ensure(bytes <= STORE_BYTES_MAX, || format!("{bytes} bytes of plugins"))
}

/// No record is newer than its table, and no table newer than the state.
fn indexes(state: &State) -> Result<(), String> {
    let tables = &state.indexes;
    let nodes = state.nodes.values().map(|node| (node.create_index, node.modify_index));
    let services = state.services.values().map(|service| (service.create_index, service.modify_index));
    let checks = state.checks.values().map(|check| (check.create_index, check.modify_index));
    let kv = state.kv.values().map(|entry| (entry.create_index, entry.modify_index));
    let sessions = state.sessions.values().map(|session| (session.create_index, session.modify_index));
    let tombstones = state.tombstones.values().map(|at| (*at, *at));
    records("nodes", nodes, tables.nodes)?;
    records("services", services, tables.services)?;
    records("checks", checks, tables.checks)?;
    records("kv", kv, tables.kv)?;
    records("sessions", sessions, tables.sessions)?;
    records("tombstones", tombstones, tables.kv)?;
    let autopilot = state.autopilot.iter().map(|config| (config.create_index, config.modify_index));
    records("autopilot", autopilot, state.index)?;
    let plugins = state.plugins.values().map(|plugin| (plugin.create_index, plugin.modify_index));
    records("plugins", plugins, state.plugin_indexes.changed)?;
    let newest = [
        state.plugin_indexes.changed,
        state.plugin_indexes.extinction,
        tables.nodes,
        tables.services,
        tables.checks,
        tables.kv,
        tables.sessions,
        tables.service_extinction,
        tables.node_extinction,
        tables.tombstones_reaped,
        tables.service_names,
        tables.session_extinction,
    ];
    let derived = state.service_indexes.values().chain(state.node_indexes.values());
    let newer = newest.iter().chain(derived).find(|index| **index > state.index);
    ensure(newer.is_none(), || format!("an index is {newer:?} and the state's is {}", state.index))
}

fn records(table: &str, records: impl Iterator<Item = (Index, Index)>, newest: Index) -> Result<(), String> {
    for (create_index, modify_index) in records {
        let ordered = 0 < create_index && create_index <= modify_index && modify_index <= newest;
        ensure(ordered, || format!("{table}: created {create_index}, modified {modify_index}, table {newest}"))?;
    }
    Ok(())
}
