//! The bytes of a snapshot.
//!
//! One place that says how a state becomes bytes and back, `[version][postcard]`.

use std::io;
use std::sync::Arc;

use agent_core::state::State;
use agent_core::state::tables::{Check, Index, KvEntry, Node, Service, Session, TableIndexes, UnixMs};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Tables {
    index: Index,
    nodes: Vec<(String, Arc<Node>)>,
    node_ids: Vec<(String, String)>,
    services: Vec<((String, String), Arc<Service>)>,
    services_by_name: Vec<((String, String, String), Arc<Service>)>,
    checks: Vec<((String, String), Arc<Check>)>,
    kv: Vec<(String, Arc<KvEntry>)>,
    tombstones: Vec<(String, Index)>,
    sessions: Vec<(String, Arc<Session>)>,
    node_sessions: Vec<((String, String), ())>,
    session_keys: Vec<((String, String), ())>,
    lock_delays: Vec<(String, UnixMs)>,
    service_indexes: Vec<(String, Index)>,
    node_indexes: Vec<(String, Index)>,
    indexes: TableIndexes,
}

/// The bytes of `state`.
pub(crate) fn encode(state: &State) -> Vec<u8> {
    let State {
        index,
        nodes,
        node_ids,
        services,
        services_by_name,
        checks,
        kv,
        tombstones,
        sessions,
        node_sessions,
        session_keys,
        lock_delays,
        service_indexes,
        node_indexes,
        indexes,
    } = state.clone();
    let tables = Tables {
        index,
        nodes: nodes.into_iter().collect(),
        node_ids: node_ids.into_iter().collect(),
        services: services.into_iter().collect(),
        services_by_name: services_by_name.into_iter().collect(),
        checks: checks.into_iter().collect(),
        kv: kv.into_iter().collect(),
        tombstones: tombstones.into_iter().collect(),
        sessions: sessions.into_iter().collect(),
        node_sessions: node_sessions.into_iter().collect(),
        session_keys: session_keys.into_iter().collect(),
        lock_delays: lock_delays.into_iter().collect(),
        service_indexes: service_indexes.into_iter().collect(),
        node_indexes: node_indexes.into_iter().collect(),
        indexes,
    };
    postcard::to_extend(&tables, vec![VERSION]).expect("records have no types that postcard refuses")
}

/// The state that [`encode`] wrote.
pub(crate) fn decode(bytes: &[u8]) -> io::Result<State> {
    let [VERSION, rest @ ..] = bytes else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the snapshot has an unknown version"));
    };
    let tables: Tables =
        postcard::from_bytes(rest).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why.to_string()))?;
    Ok(State {
        index: tables.index,
        nodes: tables.nodes.into_iter().collect(),
        node_ids: tables.node_ids.into_iter().collect(),
        services: tables.services.into_iter().collect(),
        services_by_name: tables.services_by_name.into_iter().collect(),
        checks: tables.checks.into_iter().collect(),
        kv: tables.kv.into_iter().collect(),
        tombstones: tables.tombstones.into_iter().collect(),
        sessions: tables.sessions.into_iter().collect(),
        node_sessions: tables.node_sessions.into_iter().collect(),
        session_keys: tables.session_keys.into_iter().collect(),
        lock_delays: tables.lock_delays.into_iter().collect(),
        service_indexes: tables.service_indexes.into_iter().collect(),
        node_indexes: tables.node_indexes.into_iter().collect(),
        indexes: tables.indexes,
    })
}
