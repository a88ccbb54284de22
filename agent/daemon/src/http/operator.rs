//! `/v1/operator`: the servers as Raft sees them.

use agent_raft::{Change, Consensus};
use hyper::StatusCode;
use serde::Serialize;

use super::ServerApi;
use super::authorize::{Access, Resource};
use super::error::ApiError;
use super::query::check_scope;
use super::request::Request;
use super::response::Response;
use super::routes::{Route, route};

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/v1/operator/raft/configuration" => raft_configuration),
    route!(DELETE "/v1/operator/raft/peer" => raft_remove_peer),
    route!(POST "/v1/operator/raft/transfer-leader" => transfer_leader),
];

/// Consul's number for the Raft protocol whose answers these are.
const RAFT_PROTOCOL: &str = "3";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    servers: Vec<ServerView>,
    index: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerView {
    #[serde(rename = "ID")]
    id: String,
    node: String,
    address: String,
    leader: bool,
    protocol_version: &'static str,
    voter: bool,
}

fn servers(consensus: &Consensus) -> Vec<ServerView> {
    let leader = consensus.known_leader().map(|server| server.id);
    let view = |server: agent_raft::Server| ServerView {
        leader: leader.as_ref() == Some(&server.id),
        id: server.id,
        node: server.node,
        address: server.address.to_string(),
        protocol_version: RAFT_PROTOCOL,
        voter: server.voter,
    };
    consensus.servers().into_iter().map(view).collect()
}

async fn raft_configuration(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    check_scope(api, request)?;
    request.require(Access::Read, Resource::Operator)?;
    let configuration = Configuration { servers: servers(&api.consensus), index: 0 };
    Ok(Response::json(request, api.limits.pretty, &configuration))
}

/// Removes a server that is gone for good, by id or by address.
async fn raft_remove_peer(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    check_scope(api, request)?;
    request.require(Access::Write, Resource::Operator)?;
    let known = api.consensus.servers();
    let found = match (request.parameter("id"), request.parameter("address")) {
        (None, None) => {
            let text =
                "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove";
            return Err(ApiError::bad_request(text));
        }
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request("Bad request: Must specify only one of ?id or ?address"));
        }
        (Some(id), None) => {
            let found = known.iter().find(|server| server.id == id);
            found.ok_or_else(|| format!("id {id:?} was not found in the Raft configuration"))
        }
        (None, Some(address)) => {
            let found = known.iter().find(|server| server.address.to_string() == address);
            found.ok_or_else(|| format!("address {address:?} was not found in the Raft configuration"))
        }
    };
    let server = found.map_err(ApiError::internal)?;
    if known.len() < 2 {
        return Err(ApiError::internal("could not remove the server: it is the only one of the data centre"));
    }
    change(api, &Change::Remove(server.id.clone())).await?;
    Ok(Response::empty(StatusCode::OK))
}

/// Hands the lead to another server: the one named by `id`, or whichever is furthest.
async fn transfer_leader(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    check_scope(api, request)?;
    request.require(Access::Write, Resource::Operator)?;
    let to = request.parameter("id").filter(|id| !id.is_empty()).map(str::to_owned);
    change(api, &Change::Transfer(to)).await?;
    Ok(Response::json(request, api.limits.pretty, &Transferred { success: true }))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Transferred {
    success: bool,
}

async fn change(api: &ServerApi, change: &Change) -> Result<(), ApiError> {
    api.consensus.change(change).await.map_err(|error| ApiError::internal(error.to_string()))
}
