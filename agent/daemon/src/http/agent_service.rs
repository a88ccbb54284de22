//! `/v1/agent/service`: the services that this agent registered.

use std::sync::Arc;

use agent_core::filter::{Family, Filter};
use agent_core::local::{Input, LocalService, LocalView, Refusal, Source};
use agent_core::state::tables::Service;

use super::authorize::{Access, Resource};
use super::catalog_listing::go_bool;
use super::decode::request_body;
use super::query::{ReadOptions, check_namespace};
use super::routes::{Route, route};
use super::view::{AgentServiceView, ById};
use super::{Api, ApiError, Request, Response, json};
use crate::definition::{Defaults, decode_service};
use crate::sync::LocalError;

pub(super) const ROUTES: &[Route] = &[
    route!(here GET "/v1/agent/services" => services),
    route!(here GET "/v1/agent/service/" => service),
    route!(here PUT "/v1/agent/service/register" => register),
    route!(here PUT "/v1/agent/service/deregister/" => deregister),
    route!(here PUT "/v1/agent/service/maintenance/" => maintenance),
];

impl From<LocalError> for ApiError {
    fn from(error: LocalError) -> Self {
        match error {
            // Consul has no such checks, so no client waits for its code.
            LocalError::Refused(Refusal::UnknownPlugin(_) | Refusal::PluginConfig { .. }) => {
                ApiError::bad_request(error.to_string())
            }
            LocalError::Refused(_) | LocalError::NotPersisted(_) | LocalError::Stopped => {
                ApiError::internal(error.to_string())
            }
        }
    }
}

/// The token to sync a definition with: its own, or the one it came with.
pub(super) fn token(own: String, request: &Request) -> String {
    if own.is_empty() { request.authorizer.token().to_owned() } else { own }
}

/// `filter` of a request for this agent's own records.
pub(super) fn filter(request: &Request, family: Family) -> Result<Filter, ApiError> {
    let text = request.parameter("filter").unwrap_or_default();
    Filter::compile(family, text).map_err(|error| ApiError::internal(error.to_string()))
}

async fn services(api: &Api, request: &Request) -> Result<Response, ApiError> {
    check_namespace(request)?;
    let filter = filter(request, Family::Services)?;
    let view = api.local.view();
    let listed = view.services.values().map(|local| &local.service).filter(|service| {
        request.authorizer.allows(Access::Read, Resource::Service(&service.name)) && filter.matches(*service)
    });
    let views = ById(listed.map(|service| (service.id.as_str(), AgentServiceView::new(service, None))).collect());
    Ok(Response::json(request, api.limits.pretty, &views))
}

/// One service, with a hash of its definition to wait for changes by.
async fn service(api: &Api, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let seen = request.parameter("hash").unwrap_or_default();
    let deadline = tokio::time::Instant::now() + options.wait;
    let mut view = api.local.view();
    loop {
        let local = find(&view, request.rest())?;
        request.require(Access::Read, Resource::Service(&local.service.name))?;
        let hash = content_hash(&local.service);
        if hash != seen || tokio::time::Instant::now() >= deadline {
            let body = AgentServiceView::new(&local.service, Some(&hash));
            let mut response = Response::json(request, api.limits.pretty, &body);
            response.set_header("x-consul-contenthash", &hash);
            return Ok(response);
        }
        tokio::select! {
            biased;
            newer = api.local.changed(view.version) => view = newer,
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
}

fn find<'a>(view: &'a LocalView, id: &str) -> Result<&'a Arc<LocalService>, ApiError> {
    view.services.get(id).ok_or_else(|| ApiError::not_found(format!("unknown service ID: {id}")))
}

/// Sixteen digits that change with the definition: FNV-1a over its JSON.
fn content_hash(service: &Service) -> String {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let bytes = json::encode(&AgentServiceView::new(service, None), false);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

async fn register(api: &Api, request: &Request) -> Result<Response, ApiError> {
    check_namespace(request)?;
    let mut spec = decode_service(&request_body(&request.body)?, &Defaults::http())?;
    request.require(Access::Write, Resource::Service(&spec.service.name))?;
    spec.token = token(spec.token, request);
    let replace_existing_checks = matches!(request.parameter("replace-existing-checks"), Some("" | "true"));
    api.local.send(Input::AddService { spec: Box::new(spec), source: Source::Api, replace_existing_checks }).await?;
    Ok(Response::empty(hyper::StatusCode::OK))
}

/// Deregistering what is not there is done already.
async fn deregister(api: &Api, request: &Request) -> Result<Response, ApiError> {
    check_namespace(request)?;
    if request.rest().is_empty() {
        return Err(ApiError::internal("ServiceID missing"));
    }
    if let Some(local) = api.local.view().services.get(request.rest()) {
        request.require(Access::Write, Resource::Service(&local.service.name))?;
    }
    api.local.send(Input::RemoveService { id: request.rest().to_owned() }).await?;
    Ok(Response::empty(hyper::StatusCode::OK))
}

/// Whether maintenance is to be switched on, and why.
pub(super) fn maintenance_wish(request: &Request) -> Result<(bool, String), ApiError> {
    let enable = request.parameter("enable").ok_or_else(|| ApiError::bad_request("Missing value for enable"))?;
    let enable =
        go_bool(enable).ok_or_else(|| ApiError::bad_request(format!("Invalid value for enable: {enable:?}")))?;
    Ok((enable, request.parameter("reason").unwrap_or_default().to_owned()))
}

async fn maintenance(api: &Api, request: &Request) -> Result<Response, ApiError> {
    check_namespace(request)?;
    let id = request.rest().to_owned();
    if id.is_empty() {
        return Err(ApiError::bad_request("Missing service ID"));
    }
    let (enable, reason) = maintenance_wish(request)?;
    let unknown = || ApiError::not_found(format!("No service registered with ID {id:?}"));
    let view = api.local.view();
    let local = view.services.get(&id).ok_or_else(unknown)?;
    request.require(Access::Write, Resource::Service(&local.service.name))?;
    match api.local.send(Input::ServiceMaintenance { id: id.clone(), enable, reason }).await {
        Ok(()) => Ok(Response::empty(hyper::StatusCode::OK)),
        Err(LocalError::Refused(Refusal::UnknownService(_))) => Err(unknown()),
        Err(error) => Err(error.into()),
    }
}
