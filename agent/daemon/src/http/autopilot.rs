//! `/v1/operator/autopilot`: how the leader cares for the servers, and how they are doing.

use agent_core::Instant;
use agent_core::autopilot::{Report, ServerReport, of_cluster};
use agent_core::duration;
use agent_core::gossip::Member;
use agent_core::state::tables::AutopilotConfig;
use agent_core::state::{Command, Reply};
use agent_raft::Follower;
use hyper::StatusCode;
use serde::Serialize;

use super::authorize::{Access, Resource};
use super::error::ApiError;
use super::query::{Consistency, ReadOptions, barrier, check_scope};
use super::request::{Request, parse_uint};
use super::response::Response;
use super::routes::{Route, route};
use super::{API_VERSION, ServerApi, autopilot_body, by_leader};
use crate::roster;

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/v1/operator/autopilot/configuration" => configuration),
    route!(PUT "/v1/operator/autopilot/configuration" => configure),
    route!(GET "/v1/operator/autopilot/health" => health),
];

/// The settings as Consul prints them.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigView<'a> {
    cleanup_dead_servers: bool,
    last_contact_threshold: String,
    max_trailing_logs: u64,
    min_quorum: u64,
    server_stabilization_time: String,
    redundancy_zone_tag: &'a str,
    disable_upgrade_migration: bool,
    upgrade_version_tag: &'a str,
    create_index: u64,
    modify_index: u64,
}

impl<'a> ConfigView<'a> {
    fn new(config: &'a AutopilotConfig) -> Self {
        ConfigView {
            cleanup_dead_servers: config.cleanup_dead_servers,
            last_contact_threshold: duration::format(config.last_contact_threshold_ns),
            max_trailing_logs: config.max_trailing_logs,
            min_quorum: config.min_quorum,
            server_stabilization_time: duration::format(config.server_stabilization_time_ns),
            redundancy_zone_tag: &config.redundancy_zone_tag,
            disable_upgrade_migration: config.disable_upgrade_migration,
            upgrade_version_tag: &config.upgrade_version_tag,
            create_index: config.create_index,
            modify_index: config.modify_index,
        }
    }
}

async fn configuration(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    request.require(Access::Read, Resource::Operator)?;
    barrier(api, options.consistency).await?;
    let state = api.store.snapshot();
    Ok(Response::json(request, api.limits.pretty, &ConfigView::new(api.board.config(&state))))
}

/// Replaces all settings: what the body leaves out becomes zero, as in Consul.
async fn configure(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    check_scope(api, request)?;
    request.require(Access::Write, Resource::Operator)?;
    let config = autopilot_body::decode(&request.body)
        .map_err(|reason| ApiError::bad_request(format!("Bad request: Error parsing autopilot config: {reason}")))?;
    let cas = request.parameter("cas").map(parse_uint).transpose();
    let cas = cas.map_err(|reason| ApiError::bad_request(format!("Bad request: Error parsing cas value: {reason}")))?;
    let applied = api.write(Command::Autopilot { config: Box::new(config), cas }).await?;
    let written = !matches!(applied.reply, Reply::Bool(false));
    Ok(Response::json(request, api.limits.pretty, &written))
}

/// The servers as Consul prints them.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HealthView {
    healthy: bool,
    failure_tolerance: usize,
    servers: Vec<ServerView>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerView {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    address: String,
    serf_status: &'static str,
    version: String,
    leader: bool,
    last_contact: String,
    last_term: u64,
    last_index: u64,
    healthy: bool,
    voter: bool,
    stable_since: String,
}

/// Answered by the leader, who alone hears every server; with status 429 unless all are well.
async fn health(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    check_scope(api, request)?;
    request.require(Access::Read, Resource::Operator)?;
    if let Some(answer) = by_leader(api, request).await {
        return answer;
    }
    barrier(api, Consistency::Default).await?;
    let view = look(api);
    let mut response = Response::json(request, api.limits.pretty, &view);
    if !view.healthy {
        response.status = StatusCode::TOO_MANY_REQUESTS;
    }
    Ok(response)
}

/// How the servers are doing, as this one sees it: only a leader knows.
pub(super) fn report(api: &ServerApi) -> Report {
    let roster = api.gossip.roster();
    let known = of_cluster(api.consensus.cluster(), &roster::servers(&roster, &api.identity.datacenter));
    api.board.report(api.env.now(), &api.store.snapshot(), &api.consensus, &api.identity.node_id, &known)
}

/// The report with what is shown beside it.
fn look(api: &ServerApi) -> HealthView {
    let Report { healthy, failure_tolerance, servers } = report(api);
    let (roster, now, own_id) = (api.gossip.roster(), api.env.now(), &api.identity.node_id);
    let (followers, named) = (api.consensus.followers(), api.consensus.servers());
    let view = |server: ServerReport| {
        let id = &server.peer.id;
        let member = roster.members.iter().find(|member| member.profile.id.to_string() == *id);
        let follower = followers.iter().find(|follower| follower.server.id == *id);
        let name = named.iter().find(|server| server.id == *id).map(|server| server.node.clone());
        let since = stable_since(api, now, server.since);
        ServerView::new(server, name.unwrap_or_default(), member, follower, own_id, since).at(&api.consensus.stats())
    };
    HealthView { healthy, failure_tolerance, servers: servers.into_iter().map(view).collect() }
}

impl ServerView {
    fn new(
        server: ServerReport,
        name: String,
        member: Option<&Member>,
        follower: Option<&Follower>,
        own_id: &str,
        stable_since: String,
    ) -> Self {
        let silence = server.peer.silence.unwrap_or_default();
        ServerView {
            leader: server.peer.id == own_id,
            name,
            address: server.peer.address.to_string(),
            serf_status: member.map_or("none", |member| member.status.as_str()),
            version: member.map_or_else(String::new, version),
            last_contact: duration::format(i64::try_from(silence.as_nanos()).unwrap_or(i64::MAX)),
            last_term: follower.map_or(0, |follower| follower.last_log_term),
            last_index: follower.map_or(0, |follower| follower.last_log_index),
            healthy: server.healthy,
            voter: server.peer.voter,
            stable_since,
            id: server.peer.id,
        }
    }

    /// The leader itself follows nobody: its place in the log is its own.
    fn at(self, stats: &agent_raft::Stats) -> Self {
        match self.leader {
            // A leader's first act is an entry of its term.
            true => ServerView { last_term: stats.term, last_index: stats.last_log_index, ..self },
            false => self,
        }
    }
}

/// The version among a member's tags, where `1.8.7:abcdef` is one of a build.
fn version(member: &Member) -> String {
    let build = member.profile.tags.get("build").unwrap_or(API_VERSION);
    build.split(':').next().unwrap_or_default().to_owned()
}

/// A moment as wall time, in whole seconds.
fn stable_since(api: &ServerApi, now: Instant, since: Instant) -> String {
    let ago_ms = u64::try_from(now.saturating_since(since).as_millis()).unwrap_or(u64::MAX);
    let at_ms = i64::try_from(api.env.clock.wall_ms().saturating_sub(ago_ms)).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::Method;
    use hyper::header::HeaderMap;

    use super::*;
    use crate::http::handle;
    use crate::http::tests::synced_api;

    /// In no recorded story: Consul needs two seconds before it knows of any server.
    #[tokio::test]
    async fn a_lone_leader_is_healthy_and_may_not_die() {
        let api = synced_api().await;
        let uri = "/v1/operator/autopilot/health".parse().unwrap();
        let request = Request::new(Method::GET, &uri, &HeaderMap::new(), Bytes::new(), None).unwrap();

        let response = handle(&api, request).await;

        let body = String::from_utf8(response.whole().to_vec()).unwrap();
        let (body, since) = body.split_once(r#","StableSince":""#).unwrap();
        let expected = concat!(
            r#"{"Healthy":true,"FailureTolerance":0,"Servers":[{"ID":"40e4a748-2192-161a-0510-9bf59fe950b5","Name":"n1","#,
            r#""Address":"127.0.0.1:8300","SerfStatus":"alive","Version":"1.8.7","Leader":true,"LastContact":"0s","#,
        );
        assert_eq!(response.status, StatusCode::OK);
        assert!(body.starts_with(expected) && body.ends_with(r#""Healthy":true,"Voter":true"#), "{body}");
        assert_eq!(since.len(), r#"2026-11-21T09:24:24Z"}]}"#.len(), "{since}");
    }
}
