//! `/v1/status`: who leads, who votes. Needs no leader and no token.

use super::ServerApi;
use super::error::ApiError;
use super::query::check_scope;
use super::request::Request;
use super::response::Response;
use super::routes::{Route, route};

pub(super) const ROUTES: &[Route] =
    &[route!(GET "/v1/status/leader" => leader), route!(GET "/v1/status/peers" => peers)];

/// The RPC address of the leader, or an empty string where there is none or it is not heard any more.
async fn leader(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    check_scope(api, request)?;
    let leader = api.consensus.known_leader().map(|server| server.address.to_string());
    Ok(Response::json(request, api.limits.pretty, &leader.unwrap_or_default()))
}

/// The RPC addresses of all voters.
async fn peers(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    check_scope(api, request)?;
    let peers: Vec<String> = api.consensus.servers().iter().map(|server| server.address.to_string()).collect();
    Ok(Response::json(request, api.limits.pretty, &peers))
}
