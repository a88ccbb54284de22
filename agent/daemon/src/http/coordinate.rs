//! `/v1/coordinate`: where members are on the map of round trips.
//!
//! An agent answers with what it measured and was told by gossip. Nothing is
//! written anywhere for it, so an idle data centre stays idle; Consul's servers
//! write a batch every few seconds instead.

use std::collections::BTreeMap;
use std::time::Duration;

use agent_core::coordinate::Coordinate;
use agent_core::gossip::Gossip;
use hyper::StatusCode;
use serde::Serialize;

use super::authorize::{Access, Resource};
use super::query::{ReadOptions, barrier, check_scope};
use super::response::names;
use super::routes::{Route, route};
use super::view::CoordinateView;
use super::{ApiError, Request, Response, ServerApi};

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/v1/coordinate/datacenters" => datacenters),
    route!(GET "/v1/coordinate/nodes" => nodes),
    route!(GET "/v1/coordinate/node/" => node),
    route!(PUT "/v1/coordinate/update" => update),
];

/// How often those who wait are told of changes, which come with every probe. Consul's servers write as often.
const NEWS_EVERY: Duration = Duration::from_secs(5);

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PlaceView<'a> {
    node: &'a str,
    segment: &'static str,
    coord: CoordinateView,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DatacenterView<'a> {
    datacenter: &'a str,
    #[serde(rename = "AreaID")]
    area_id: &'static str,
    coordinates: Vec<PlaceView<'a>>,
}

/// The places of all members that are known, by name.
pub(super) fn places(pool: &Gossip) -> BTreeMap<String, Coordinate> {
    let me = pool.me();
    let place = |name: &str| match *name == *me.profile.name {
        true => Some(pool.coordinate().clone()),
        false => pool.coordinate_of(name).cloned(),
    };
    pool.members().filter_map(|member| Some((member.profile.name.to_string(), place(&member.profile.name)?))).collect()
}

fn view<'a>(places: impl IntoIterator<Item = (&'a String, &'a Coordinate)>) -> Vec<PlaceView<'a>> {
    let view =
        |(node, place): (&'a String, &Coordinate)| PlaceView { node, segment: "", coord: CoordinateView::new(place) };
    places.into_iter().map(view).collect()
}

async fn nodes(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    answer(api, request, |_| true).await
}

async fn node(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let wanted = request.rest();
    answer(api, request, |name| name.eq_ignore_ascii_case(wanted)).await
}

async fn answer(api: &ServerApi, request: &Request, wanted: impl Fn(&str) -> bool) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let deadline = tokio::time::Instant::now() + options.wait;
    let news = |index: u64| NEWS_EVERY * u32::try_from(index).unwrap_or(u32::MAX);
    let index = || 1 + api.env.now().since_start().as_secs() / NEWS_EVERY.as_secs();
    if options.index > 0 && options.index == index() {
        let at = api.env.deadline(agent_core::Instant::from_start(news(options.index)));
        tokio::time::sleep_until(at.min(deadline)).await;
    }
    barrier(api, options.consistency).await?;
    let in_segment = matches!(request.parameter("segment"), None | Some(""));
    let mut found = api.gossip.look(places).await?;
    found.retain(|name, _| in_segment && wanted(name) && request.authorizer.allows(Access::Read, Resource::Node(name)));
    let is_one = !request.rest().is_empty() || request.path.ends_with("/node/");
    let mut response = match found.is_empty() && is_one {
        true => Response::empty(StatusCode::NOT_FOUND),
        false => Response::json(request, api.limits.pretty, &view(&found)),
    };
    response.header(&names::INDEX, index().into());
    response.header(&names::KNOWN_LEADER, if api.consensus.has_leader() { TRUE } else { FALSE });
    response.header(&names::LAST_CONTACT, 0.into());
    Ok(response)
}

const TRUE: hyper::header::HeaderValue = hyper::header::HeaderValue::from_static("true");
const FALSE: hyper::header::HeaderValue = hyper::header::HeaderValue::from_static("false");

/// The servers of each data centre, of which there is one.
async fn datacenters(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let is_server = |name: &str, pool: &Gossip| {
        pool.member(name).is_some_and(|member| member.profile.tags.get("role") == Some("consul"))
    };
    let found = api
        .gossip
        .look(move |pool| {
            let mut found = places(pool);
            found.retain(|name, _| is_server(name, pool));
            found
        })
        .await?;
    let datacenter = DatacenterView { datacenter: &api.identity.datacenter, area_id: "wan", coordinates: view(&found) };
    Ok(Response::json(request, api.limits.pretty, &[datacenter]))
}

/// Places are measured, and measured places would win over told ones.
async fn update(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    check_scope(api, request)?;
    Err(ApiError::internal("coordinates can't be set: members measure their own"))
}
