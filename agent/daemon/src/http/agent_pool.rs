//! `/v1/agent/members`, `join` and `force-leave`: the pool as this agent sees it.

use hyper::StatusCode;

use super::authorize::{Access, Resource};
use super::query::check_namespace;
use super::routes::{Route, route};
use super::view::MemberView;
use super::{Api, ApiError, Request, Response};

pub(super) const ROUTES: &[Route] = &[
    route!(here GET "/v1/agent/members" => members),
    route!(here PUT "/v1/agent/join/" => join),
    route!(here PUT "/v1/agent/force-leave/" => force_leave),
];

/// The members of the LAN. There is no WAN to be a member of.
async fn members(api: &Api, request: &Request) -> Result<Response, ApiError> {
    check_namespace(request)?;
    if !matches!(request.parameter("segment"), None | Some("" | "_all")) {
        return Err(ApiError::internal("Network segments are not supported in this version of Consul"));
    }
    if is_wan(request) {
        return Ok(Response::json(request, api.limits.pretty, &[(); 0]));
    }
    let mut members = api.gossip.look(|pool| pool.members().collect::<Vec<_>>()).await?;
    members.retain(|member| request.authorizer.allows(Access::Read, Resource::Node(&member.profile.name)));
    let views: Vec<MemberView> = members.iter().map(MemberView::new).collect();
    Ok(Response::json(request, api.limits.pretty, &views))
}

async fn join(api: &Api, request: &Request) -> Result<Response, ApiError> {
    request.require(Access::Write, Resource::Agent)?;
    if is_wan(request) {
        return Err(ApiError::internal("joining data centres is not implemented yet"));
    }
    let joined = api.gossip.join(&[request.rest().to_owned()]).await;
    joined.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(Response::empty(StatusCode::OK))
}

async fn force_leave(api: &Api, request: &Request) -> Result<Response, ApiError> {
    request.require(Access::Write, Resource::Operator)?;
    let name = request.rest();
    if api.gossip.force_leave(name, request.has("prune")).await? {
        return Ok(Response::empty(StatusCode::OK));
    }
    Err(ApiError::internal(format!("agent: No node found with name '{name}'")))
}

/// An empty `wan` means the LAN, as in Consul.
fn is_wan(request: &Request) -> bool {
    request.parameter("wan").is_some_and(|value| !value.is_empty())
}
