//! `/v1/agent/self`, `members` and `version`: who this agent is and how it is doing.

use std::collections::BTreeMap;

use agent_core::health::spec::CheckKind;
use agent_raft::consensus::Server;
use serde::Serialize;
use serde_json::{Value, json};

use super::authorize::{Access, Resource};
use super::query::check_namespace;
use super::routes::{Route, route};
use super::view::MemberView;
use super::{API_VERSION, Api, ApiError, Request, Response};

/// Lictor's own version; [`API_VERSION`] is the one clients decide by.
const LICTOR_VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/v1/agent/self" => self_),
    route!(GET "/v1/agent/members" => members),
    route!(GET "/v1/agent/version" => version),
];

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
    /// `null`, as where coordinates are switched off: there are none.
    coord: Option<()>,
    member: MemberView<'a>,
    stats: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
    meta: &'a BTreeMap<String, String>,
}

async fn self_(api: &Api, request: &Request) -> Result<Response, ApiError> {
    request.require(Access::Read, Resource::Agent)?;
    let identity = &api.identity;
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
        debug_config: debug_config(api),
        coord: None,
        member: MemberView::new(identity),
        stats: stats(api),
        meta: &identity.meta,
    };
    Ok(Response::json(request, api.limits.pretty, &view))
}

/// The part of Consul's running configuration that clients are known to look at.
fn debug_config(api: &Api) -> Value {
    let identity = &api.identity;
    json!({
        "ACLsEnabled": false,
        "AdvertiseAddrLAN": identity.address,
        "AdvertiseAddrWAN": identity.address,
        "Bootstrap": identity.bootstrap,
        "ConnectEnabled": false,
        "Datacenter": identity.datacenter,
        "DisableCoordinates": true,
        "GRPCPort": -1,
        "HTTPMaxConnsPerClient": api.limits.connections_per_client_max,
        "KVMaxValueSize": api.limits.kv_value_bytes_max,
        "NodeID": identity.node_id,
        "NodeMeta": identity.meta,
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
fn stats(api: &Api) -> BTreeMap<&'static str, BTreeMap<&'static str, String>> {
    let build = [("prerelease", String::new()), ("revision", String::new()), ("version", API_VERSION.to_owned())];
    let mut stats = BTreeMap::from([
        ("agent", agent_stats(api)),
        ("build", BTreeMap::from(build)),
        ("consul", consul_stats(api)),
        ("runtime", runtime_stats()),
    ]);
    if api.identity.server {
        stats.insert("raft", raft_stats(api));
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
    let leadership = api.consensus.leadership();
    let leader = leadership.leader.map(|server| server.address.to_string());
    BTreeMap::from([
        ("acl", "disabled".to_owned()),
        ("bootstrap", api.identity.bootstrap.to_string()),
        ("known_datacenters", "1".to_owned()),
        ("leader", leadership.is_self.to_string()),
        ("leader_addr", leader.unwrap_or_default()),
        ("server", api.identity.server.to_string()),
    ])
}

fn raft_stats(api: &Api) -> BTreeMap<&'static str, String> {
    let figures = api.consensus.stats();
    let servers = api.consensus.servers();
    let state = if api.consensus.leadership().is_self { "Leader" } else { "Follower" };
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

/// The members of the LAN: this agent. There is no WAN to be a member of.
async fn members(api: &Api, request: &Request) -> Result<Response, ApiError> {
    check_namespace(request)?;
    if !matches!(request.parameter("segment"), None | Some("" | "_all")) {
        return Err(ApiError::internal("Network segments are not supported in this version of Consul"));
    }
    let wan = request.parameter("wan").is_some_and(|value| !value.is_empty());
    let node = &api.identity.node_name;
    let visible = !wan && request.authorizer.allows(Access::Read, Resource::Node(node));
    let members: Vec<_> = visible.then(|| MemberView::new(&api.identity)).into_iter().collect();
    Ok(Response::json(request, api.limits.pretty, &members))
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
