//! `/v1/catalog`: what is registered. Reads only; [`super::catalog_write`] changes it.

use agent_core::filter::Family;
use agent_core::state::tables::fold;
use agent_core::state::{Answer, State};
use agent_core::watch::Topic;
use serde::Serialize;

use super::catalog_listing::{Listing, mesh_topics};
use super::query::{Found, ReadOptions, check_namespace, read, read_shared};
use super::response::names;
use super::routes::{Route, route};
use super::view::{ById, CatalogServiceView, NodeView, ServiceView};
use super::{ApiError, Request, Response, ServerApi};

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/v1/catalog/datacenters" => datacenters),
    route!(GET "/v1/catalog/nodes" => nodes),
    route!(GET "/v1/catalog/services" => services),
    route!(GET "/v1/catalog/service/" => service),
    route!(GET "/v1/catalog/connect/" => connect),
    route!(GET "/v1/catalog/node/" => node),
    route!(GET "/v1/catalog/node-services/" => node_services),
    route!(GET "/v1/catalog/gateway-services/" => gateway_services),
];

/// The rest of the path, which must name something.
///
/// # Errors
/// 400 when it is empty.
pub(super) fn named<'a>(request: &'a Request, what: &str) -> Result<&'a str, ApiError> {
    match request.rest() {
        "" => Err(ApiError::bad_request(format!("Missing {what}"))),
        name => Ok(name),
    }
}

/// The answer of a read of these families, which name their consistency.
pub(super) fn answer<T, V: Serialize>(api: &ServerApi, request: &Request, found: &Found<T>, view: &V) -> Response {
    let mut response = found.json(api, request, view);
    response.header(&names::CONSISTENCY, found.effective_consistency());
    response
}

/// Marks the answer of a read that asked for the agent's cache. There is none to be stale: every answer is fresh.
pub(super) fn mark_cached(request: &Request, mut response: Response) -> Response {
    if request.has("cached") {
        response.set_header("x-cache", "MISS");
        response.set_header("age", "0");
    }
    response
}

/// The data centres: this one.
async fn datacenters(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    check_namespace(request)?;
    let names = [api.identity.datacenter.as_str()];
    Ok(mark_cached(request, Response::json(request, api.limits.pretty, &names)))
}

async fn nodes(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let listing = Listing::parse(api, request, &options, Family::Nodes).await?;
    let encode = |state: &State| {
        let found = listing.nodes(state).value;
        let views: Vec<_> = found.iter().map(|node| NodeView::new(node, &listing.datacenter)).collect();
        Response::json_body(request, api.limits.pretty, &views)
    };
    read_shared(api, request, &options, || vec![Topic::Nodes], State::node_list_index, encode).await
}

/// Names with tags. `filter` is accepted and ignored, as Consul 1.8 does.
async fn services(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let meta = &options.node_meta;
    let topics = || match meta.is_empty() {
        true => vec![Topic::Services],
        false => vec![Topic::Services, Topic::Nodes],
    };
    let index = |state: &State| state.service_list_index(meta);
    let encode = |state: &State| Response::json_body(request, api.limits.pretty, &state.service_list(meta).value);
    let response = read_shared(api, request, &options, topics, index, encode).await?;
    Ok(mark_cached(request, response))
}

async fn service(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let name = named(request, "service name")?;
    let listing = Listing::parse(api, request, &options, Family::Instances).await?;
    let encode = |state: &State| {
        let found = listing.instances(state, name).value;
        let views: Vec<_> = found.iter().map(|one| CatalogServiceView::new(one, &listing.datacenter)).collect();
        Response::json_body(request, api.limits.pretty, &views)
    };
    let folded = fold(name);
    let topics = || vec![Topic::Service(folded.clone())];
    let response = read_shared(api, request, &options, topics, |state| state.service_index(&folded), encode).await?;
    Ok(mark_cached(request, response))
}

async fn connect(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let name = named(request, "service name")?;
    let listing = Listing::parse(api, request, &options, Family::Instances).await?;
    let topics = mesh_topics(&api.store.snapshot());
    let found = read(api, &options, || topics, |state| listing.mesh_instances(state, name)).await?;
    let views: Vec<_> = found.value.iter().map(|one| CatalogServiceView::new(one, &listing.datacenter)).collect();
    Ok(mark_cached(request, answer(api, request, &found, &views)))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NodeWithServices<'a, S> {
    node: Option<NodeView<'a>>,
    services: Option<S>,
}

/// A node with its instances by id; `null` for a node that is not registered.
async fn node(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let name = named(request, "node name")?;
    let listing = Listing::parse(api, request, &options, Family::Services).await?;
    let topics = || vec![Topic::node_services(name)];
    let found = read(api, &options, topics, |state| listing.node_services(state, name)).await?;
    let view = found.value.as_ref().map(|(node, services)| NodeWithServices {
        node: Some(NodeView::new(node, &listing.datacenter)),
        services: Some(ById(
            services.iter().flatten().map(|service| (service.id.as_str(), ServiceView::new(service))).collect(),
        )),
    });
    Ok(answer(api, request, &found, &view))
}

/// A node with a list of its instances, `null` when it has none; nulls for a node that is not registered.
async fn node_services(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let name = named(request, "node name")?;
    let listing = Listing::parse(api, request, &options, Family::Services).await?;
    let topics = || vec![Topic::node_services(name)];
    let found = read(api, &options, topics, |state| listing.node_services(state, name)).await?;
    let view = match &found.value {
        None => NodeWithServices { node: None, services: None },
        Some((node, services)) => NodeWithServices {
            node: Some(NodeView::new(node, &listing.datacenter)),
            services: services
                .as_ref()
                .map(|services| services.iter().map(|service| ServiceView::new(service)).collect::<Vec<_>>()),
        },
    };
    Ok(answer(api, request, &found, &view))
}

/// What a gateway serves: nothing, since there are no gateways to configure.
async fn gateway_services(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    named(request, "gateway name")?;
    let found = read(api, &options, Vec::new, |_| Answer { index: 1, value: () }).await?;
    Ok(answer(api, request, &found, &found.value))
}
