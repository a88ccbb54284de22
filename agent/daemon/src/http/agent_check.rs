//! `/v1/agent/check`: the checks that this agent registered, and what clients say of TTL checks.

use agent_core::filter::{Family, Filter, FilterError};
use agent_core::local::Input;
use agent_core::state::tables::{Check, Status};

use super::agent_service::token;
use super::authorize::{Access, Resource};
use super::decode::request_body;
use super::query::check_namespace;
use super::routes::{Route, route};
use super::view::{ById, CheckView};
use super::{Api, ApiError, Request, Response};
use crate::definition::{Defaults, Fields, Source, decode_check};

pub(super) const ROUTES: &[Route] = &[
    route!(here GET "/v1/agent/checks" => checks),
    route!(here PUT "/v1/agent/check/register" => register),
    route!(here PUT "/v1/agent/check/deregister/" => deregister),
    route!(here PUT "/v1/agent/check/pass/" => pass),
    route!(here PUT "/v1/agent/check/warn/" => warn),
    route!(here PUT "/v1/agent/check/fail/" => fail),
    route!(here PUT "/v1/agent/check/update/" => update),
];

/// What a client must be allowed to touch for a check.
fn resource<'a>(api: &'a Api, check: &'a Check) -> Resource<'a> {
    match check.service_id.is_empty() {
        true => Resource::Node(&api.identity.node_name),
        false => Resource::Service(&check.service_name),
    }
}

async fn checks(api: &Api, request: &Request) -> Result<Response, ApiError> {
    check_namespace(request)?;
    let view = api.local.view();
    let mut listed: Vec<&Check> = view.checks.values().map(|local| &local.check).collect();
    listed.retain(|check| request.authorizer.allows(Access::Read, resource(api, check)));
    match Filter::compile(Family::Checks, request.parameter("filter").unwrap_or_default()) {
        Ok(filter) => listed.retain(|check| filter.matches(*check)),
        Err(FilterError::Unfit(_)) if listed.is_empty() => {}
        Err(FilterError::Unfit(reason)) => return Err(ApiError::internal(reason)),
        Err(error @ FilterError::Malformed(_)) => return Err(ApiError::internal(error.to_string())),
    }
    let views = ById(listed.into_iter().map(|check| (check.id.as_str(), CheckView::new(check))).collect());
    Ok(Response::json(request, api.limits.pretty, &views))
}

async fn register(api: &Api, request: &Request) -> Result<Response, ApiError> {
    check_namespace(request)?;
    let mut spec = decode_check(&request_body(&request.body)?, &Defaults::http())?;
    let view = api.local.view();
    let resource = match view.services.get(&spec.service_id) {
        Some(local) => Resource::Service(&local.service.name),
        None => Resource::Node(&api.identity.node_name),
    };
    request.require(Access::Write, resource)?;
    spec.token = token(spec.token, request);
    let source = agent_core::local::Source::Api;
    api.local.send(Input::AddCheck { spec: Box::new(spec), source }).await?;
    Ok(Response::empty(hyper::StatusCode::OK))
}

/// Fails unless the request may change the check; a check that is not there is nobody's.
fn require_write(api: &Api, request: &Request, id: &str) -> Result<(), ApiError> {
    let view = api.local.view();
    view.checks.get(id).map_or(Ok(()), |local| request.require(Access::Write, resource(api, &local.check)))
}

/// Deregistering what is not there is done already.
async fn deregister(api: &Api, request: &Request) -> Result<Response, ApiError> {
    check_namespace(request)?;
    if request.rest().is_empty() {
        return Err(ApiError::internal("CheckID missing"));
    }
    require_write(api, request, request.rest())?;
    api.local.send(Input::RemoveCheck { id: request.rest().to_owned() }).await?;
    Ok(Response::empty(hyper::StatusCode::OK))
}

async fn pass(api: &Api, request: &Request) -> Result<Response, ApiError> {
    tell(api, request, Status::Passing, note(request)).await
}

async fn warn(api: &Api, request: &Request) -> Result<Response, ApiError> {
    tell(api, request, Status::Warning, note(request)).await
}

async fn fail(api: &Api, request: &Request) -> Result<Response, ApiError> {
    tell(api, request, Status::Critical, note(request)).await
}

fn note(request: &Request) -> String {
    request.parameter("note").unwrap_or_default().to_owned()
}

async fn update(api: &Api, request: &Request) -> Result<Response, ApiError> {
    let body = request_body(&request.body)?;
    let fields = Fields::open(&body, &["Status", "Output"], Source::Http, "agent.checkUpdate")?.of("checkUpdate");
    let (word, output) = (fields.string("Status")?, fields.string("Output")?);
    let status =
        Status::parse(&word).ok_or_else(|| ApiError::bad_request(format!("Invalid check status: '{word}'")))?;
    tell(api, request, status, output).await
}

/// Speaks for a TTL check.
async fn tell(api: &Api, request: &Request, status: Status, output: String) -> Result<Response, ApiError> {
    check_namespace(request)?;
    require_write(api, request, request.rest())?;
    api.local.send(Input::TtlUpdate { id: request.rest().to_owned(), status, output }).await?;
    Ok(Response::empty(hyper::StatusCode::OK))
}
