//! `/v1/health`: checks, and the instances whose health they decide.

use std::sync::Arc;

use agent_core::filter::Family;
use agent_core::state::catalog::HealthInstance;
use agent_core::state::tables::{Check, fold};
use agent_core::state::{Answer, State};
use agent_core::watch::Topic;

use super::catalog::{answer, mark_cached, named};
use super::catalog_listing::{Listing, mesh_topics};
use super::query::{Found, ReadOptions, read, read_shared};
use super::routes::{Route, route};
use super::view::{CheckView, HealthView};
use super::{ApiError, Request, Response, ServerApi};

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/v1/health/node/" => node),
    route!(GET "/v1/health/checks/" => checks),
    route!(GET "/v1/health/state/" => state),
    route!(GET "/v1/health/service/" => service),
    route!(GET "/v1/health/connect/" => connect),
    route!(GET "/v1/health/ingress/" => ingress),
];

fn list_checks(api: &ServerApi, request: &Request, found: &Found<Vec<Arc<Check>>>) -> Response {
    let views: Vec<_> = found.value.iter().map(|check| CheckView::new(check)).collect();
    answer(api, request, found, &views)
}

fn list_instances(api: &ServerApi, request: &Request, found: &Found<Vec<HealthInstance>>) -> Response {
    let views: Vec<_> = found.value.iter().map(|one| HealthView::new(one, &api.identity.datacenter)).collect();
    mark_cached(request, answer(api, request, found, &views))
}

/// The checks of a node and of its services.
async fn node(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let name = named(request, "node name")?;
    let listing = Listing::parse(api, request, &options, Family::Checks).await?;
    let found = read(api, &options, || vec![Topic::Node(fold(name))], |state| listing.node_checks(state, name)).await?;
    Ok(list_checks(api, request, &found))
}

/// The checks of a service's instances.
async fn checks(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let name = named(request, "service name")?;
    let listing = Listing::parse(api, request, &options, Family::Checks).await?;
    let found =
        read(api, &options, || vec![Topic::Service(fold(name))], |state| listing.service_checks(state, name)).await?;
    Ok(list_checks(api, request, &found))
}

/// The checks in a state, or in `any`.
async fn state(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let word = named(request, "check state")?;
    let listing = Listing::parse(api, request, &options, Family::Checks).await?;
    let topics = match listing.node_meta.is_empty() {
        true => vec![Topic::Checks],
        false => vec![Topic::Checks, Topic::Nodes],
    };
    let found = read(api, &options, || topics, |state| listing.checks_in_state(state, word)).await?;
    Ok(list_checks(api, request, &found))
}

/// The instances of a service with the checks that decide their health.
async fn service(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let name = named(request, "service name")?;
    let listing = Listing::parse(api, request, &options, Family::Health).await?;
    let encode = |state: &State| {
        let found = listing.health(state, name).value;
        let views: Vec<_> = found.iter().map(|one| HealthView::new(one, &api.identity.datacenter)).collect();
        Response::json_body(request, api.limits.pretty, &views)
    };
    let folded = fold(name);
    let topics = || vec![Topic::Service(folded.clone())];
    let response = read_shared(api, request, &options, topics, |state| state.service_index(&folded), encode).await?;
    Ok(mark_cached(request, response))
}

/// The instances that speak the mesh protocol for a service.
async fn connect(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let name = named(request, "service name")?;
    let listing = Listing::parse(api, request, &options, Family::Health).await?;
    let topics = mesh_topics(&api.store.snapshot());
    let found = read(api, &options, || topics, |state| listing.mesh_health(state, name)).await?;
    Ok(list_instances(api, request, &found))
}

/// The ingress gateways of a service: none, since there are no gateways to configure.
async fn ingress(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    named(request, "service name")?;
    Listing::parse(api, request, &options, Family::Health).await?;
    let found = read(api, &options, Vec::new, |_| Answer { index: 1, value: Vec::new() }).await?;
    Ok(list_instances(api, request, &found))
}
