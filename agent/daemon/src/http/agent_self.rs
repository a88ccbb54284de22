//! `/v1/agent/self` and `version`: who this agent is and how it is doing.

use std::collections::BTreeMap;

use agent_core::gossip::Stats as PoolStats;
use agent_core::health::spec::CheckKind;
use agent_raft::Consensus;
use agent_raft::consensus::Server;
use serde::Serialize;
use serde_json::{Value, json};

use super::authorize::{Access, Resource};
use super::routes::{Route, route};
use super::view::{CoordinateView, MemberView};
use super::{API_VERSION, Adjustable, Api, ApiError, Request, Response};

/// Lictor's own version; [`API_VERSION`] is the one clients decide by.
const LICTOR_VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) const ROUTES: &[Route] =
    &[route!(here GET "/v1/agent/self" => self_), route!(here GET "/v1/agent/version" => version)];

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigView<'a> {
    datacenter: &'a str,
    primary_datacenter: &'a str,
    node_name: &'a str,
    #[serde(rename = "NodeID")]
    node_id: &'a str,
    revision: &'static str,
    server: bool,
    version: &'static str,
    lictor_version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SelfView<'a> {
    config: ConfigView<'a>,
    debug_config: Value,
    coord: CoordinateView,
    member: MemberView,
    stats: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
    meta: &'a BTreeMap<String, String>,
}

async fn self_(api: &Api, request: &Request) -> Result<Response, ApiError> {
    request.require(Access::Read, Resource::Agent)?;
    let (identity, adjustable) = (&api.identity, api.adjustable.load_full());
    let (me, place, pool) = api.gossip.look(|pool| (pool.me(), pool.coordinate().clone(), pool.stats())).await?;
    let view = SelfView {
        config: ConfigView {
            datacenter: &identity.datacenter,
            primary_datacenter: &identity.datacenter,
            node_name: &identity.node_name,
            node_id: &identity.node_id,
            revision: "",
            server: identity.server,
            version: API_VERSION,
            lictor_version: LICTOR_VERSION,
        },
        debug_config: debug_config(api, &adjustable),
        coord: CoordinateView::new(&place),
        member: MemberView::new(&me),
        stats: stats(api, &pool),
        meta: &adjustable.meta,
    };
    Ok(Response::json(request, api.limits.pretty, &view))
}

/// The part of Consul's running configuration that clients are known to look at.
fn debug_config(api: &Api, adjustable: &Adjustable) -> Value {
    let identity = &api.identity;
    json!({
        "ACLsEnabled": false,
        "AdvertiseAddrLAN": identity.address,
        "AdvertiseAddrWAN": identity.address,
        "Bootstrap": identity.bootstrap,
        "ConnectEnabled": false,
        "Datacenter": identity.datacenter,
        "DisableCoordinates": false,
        "GRPCPort": -1,
        "HTTPMaxConnsPerClient": adjustable.connections_per_client_max,
        "KVMaxValueSize": api.limits.kv_value_bytes_max,
        "NodeID": identity.node_id,
        "NodeMeta": adjustable.meta,
        "NodeName": identity.node_name,
        "PrimaryDatacenter": identity.datacenter,
        "Revision": "",
        "SerfPortLAN": identity.serf_port,
        "ServerMode": identity.server,
        "ServerPort": identity.rpc_port,
        "TxnMaxReqLen": api.limits.txn_bytes_max,
        "Version": API_VERSION,
        "VersionPrerelease": "",
    })
}

/// Figures by group, all of them as text, which is how `info` prints them.
fn stats(api: &Api, pool: &PoolStats) -> BTreeMap<&'static str, BTreeMap<&'static str, String>> {
    let build = [("prerelease", String::new()), ("revision", String::new()), ("version", API_VERSION.to_owned())];
    let mut stats = BTreeMap::from([
        ("agent", agent_stats(api)),
        ("build", BTreeMap::from(build)),
        ("consul", consul_stats(api)),
        ("runtime", runtime_stats()),
        ("serf_lan", pool_stats(pool)),
    ]);
    if let Api::Server(server) = api {
        stats.insert("raft", raft_stats(&server.consensus));
    }
    stats
}

fn agent_stats(api: &Api) -> BTreeMap<&'static str, String> {
    let view = api.local.view();
    let of = |wanted: fn(&CheckKind) -> bool| view.checks.values().filter(|local| wanted(&local.spec.kind)).count();
    BTreeMap::from([
        ("check_monitors", of(|kind| matches!(kind, CheckKind::Script { .. })).to_string()),
        ("check_ttls", of(|kind| matches!(kind, CheckKind::Ttl { .. })).to_string()),
        ("checks", view.checks.len().to_string()),
        ("services", view.services.len().to_string()),
    ])
}

fn consul_stats(api: &Api) -> BTreeMap<&'static str, String> {
    let mut stats = BTreeMap::from([("acl", "disabled".to_owned()), ("server", api.identity.server.to_string())]);
    match api {
        Api::Server(server) => {
            let leader = server.consensus.known_leader();
            let leads = leader.as_ref().is_some_and(|leader| leader.id == api.identity.node_id);
            stats.insert("bootstrap", api.identity.bootstrap.to_string());
            stats.insert("known_datacenters", "1".to_owned());
            stats.insert("leader", leads.to_string());
            stats.insert("leader_addr", leader.map(|leader| leader.address.to_string()).unwrap_or_default());
        }
        Api::Client(client) => {
            stats.insert("known_servers", client.servers.count().to_string());
        }
    }
    stats
}

fn raft_stats(consensus: &Consensus) -> BTreeMap<&'static str, String> {
    let figures = consensus.stats();
    let servers = consensus.servers();
    let state = match (consensus.has_leader(), consensus.leadership().is_self) {
        (true, true) => "Leader",
        (true, false) => "Follower",
        (false, _) => "Candidate",
    };
    let suffrage = |server: &Server| if server.voter { "Voter" } else { "Nonvoter" };
    let shown: Vec<String> = servers
        .iter()
        .map(|server| format!("{{Suffrage:{} ID:{} Address:{}}}", suffrage(server), server.id, server.address))
        .collect();
    BTreeMap::from([
        ("applied_index", figures.applied_index.to_string()),
        ("commit_index", figures.commit_index.to_string()),
        ("fsm_pending", "0".to_owned()),
        ("last_contact", "0".to_owned()),
        ("last_log_index", figures.last_log_index.to_string()),
        ("last_log_term", figures.term.to_string()),
        ("last_snapshot_index", figures.snapshot_index.to_string()),
        ("latest_configuration", format!("[{}]", shown.join(" "))),
        ("latest_configuration_index", "0".to_owned()),
        ("num_peers", servers.len().saturating_sub(1).to_string()),
        ("protocol_version", "3".to_owned()),
        ("protocol_version_max", "3".to_owned()),
        ("protocol_version_min", "0".to_owned()),
        ("snapshot_version_max", "1".to_owned()),
        ("snapshot_version_min", "0".to_owned()),
        ("state", state.to_owned()),
        ("term", figures.term.to_string()),
    ])
}

fn pool_stats(pool: &PoolStats) -> BTreeMap<&'static str, String> {
    let PoolStats {
        members,
        failed,
        left,
        health_score,
        member_time,
        event_time,
        query_time,
        intent_queue,
        event_queue,
        query_queue,
        encrypted,
        coordinate_resets,
    } = *pool;
    BTreeMap::from([
        ("coordinate_resets", coordinate_resets.to_string()),
        ("encrypted", encrypted.to_string()),
        ("event_queue", event_queue.to_string()),
        ("event_time", event_time.to_string()),
        ("failed", failed.to_string()),
        ("health_score", health_score.to_string()),
        ("intent_queue", intent_queue.to_string()),
        ("left", left.to_string()),
        ("member_time", member_time.to_string()),
        ("members", members.to_string()),
        ("query_queue", query_queue.to_string()),
        ("query_time", query_time.to_string()),
    ])
}

fn runtime_stats() -> BTreeMap<&'static str, String> {
    // Go's names, which clients know.
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from).to_string();
    BTreeMap::from([
        ("arch", arch.to_owned()),
        ("cpu_count", cpus.clone()),
        ("max_procs", cpus),
        ("os", std::env::consts::OS.to_owned()),
        ("version", format!("lictor {LICTOR_VERSION}")),
    ])
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct VersionView {
    #[serde(rename = "SHA")]
    sha: &'static str,
    human_version: &'static str,
    #[serde(rename = "FIPS")]
    fips: &'static str,
    lictor_version: &'static str,
}

async fn version(api: &Api, request: &Request) -> Result<Response, ApiError> {
    let view = VersionView { sha: "", human_version: API_VERSION, fips: "", lictor_version: LICTOR_VERSION };
    Ok(Response::json(request, api.limits.pretty, &view))
}
