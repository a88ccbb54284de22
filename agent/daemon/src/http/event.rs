//! `/v1/event`: notices that every member hears once.

use std::sync::Arc;

use agent_core::gossip::config::EVENT_BYTES_DEFAULT;
use agent_core::gossip::{Fired, UserEvent};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde::Serialize;

use super::authorize::{Access, Resource};
use super::query::{check_scope, parse_wait};
use super::response::names;
use super::routes::{Route, route};
use super::{Api, ApiError, Request, Response};
use crate::config::error_list;
use crate::gossip::{Heard, index_of};

pub(super) const ROUTES: &[Route] =
    &[route!(here PUT "/v1/event/fire/" => fire), route!(here GET "/v1/event/list" => list)];

/// The version of events that Consul's clients expect to see.
const VERSION: u8 = 1;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EventView<'a> {
    #[serde(rename = "ID")]
    id: String,
    name: &'a str,
    payload: Option<String>,
    node_filter: &'a str,
    service_filter: &'a str,
    tag_filter: &'a str,
    version: u8,
    #[serde(rename = "LTime")]
    time: u64,
}

impl<'a> EventView<'a> {
    fn new(fired: &'a Fired, time: u64) -> Self {
        let Fired { id, name, payload, node_filter, service_filter, tag_filter } = fired;
        EventView {
            id: uuid::Uuid::from_u128(*id).to_string(),
            name,
            payload: (!payload.is_empty()).then(|| STANDARD.encode(payload)),
            node_filter,
            service_filter,
            tag_filter,
            version: VERSION,
            time,
        }
    }
}

/// Fires an event here: every member is as good a place for that as another.
async fn fire(api: &Api, request: &Request) -> Result<Response, ApiError> {
    let name = request.rest();
    if name.is_empty() {
        return Err(ApiError::bad_request("Missing name"));
    }
    check_scope(api, request)?;
    request.require(Access::Write, Resource::Event(name))?;
    let filter = |name: &str| request.parameter(name).unwrap_or_default().to_owned();
    let id = (u128::from(api.env.random.u64()) << 64) | u128::from(api.env.random.u64());
    let fired = Fired {
        // A UUID of random bits, as its version and variant say.
        id: uuid::Builder::from_random_bytes(id.to_be_bytes()).into_uuid().as_u128(),
        name: name.to_owned(),
        payload: request.body.to_vec(),
        node_filter: filter("node"),
        service_filter: filter("service"),
        tag_filter: filter("tag"),
    };
    check_filters(&fired)?;
    let fired = fired.within(EVENT_BYTES_DEFAULT).map_err(|error| {
        ApiError::internal(error_list(&[format!("error broadcasting event to segment \"\": {error}")]))
    })?;
    api.gossip.fire(fired.clone()).await?;
    Ok(Response::json(request, api.limits.pretty, &EventView::new(&fired, 0)))
}

fn check_filters(fired: &Fired) -> Result<(), ApiError> {
    if !fired.tag_filter.is_empty() && fired.service_filter.is_empty() {
        return Err(ApiError::internal("Cannot provide tag filter without service filter"));
    }
    let filters = [("node", &fired.node_filter), ("service", &fired.service_filter), ("tag", &fired.tag_filter)];
    for (what, filter) in filters {
        Regex::new(filter).map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            let reason = last.strip_prefix("error: ").unwrap_or(last);
            ApiError::internal(format!("Invalid {what} filter: error parsing regexp: {reason}: `{filter}`"))
        })?;
    }
    Ok(())
}

/// What was heard here: wherever a request says it is for, nobody else is asked.
async fn list(api: &Api, request: &Request) -> Result<Response, ApiError> {
    let (known, wait) = parse_wait(api, request)?;
    let name = request.parameter("name").unwrap_or_default();
    let visible = |heard: &Heard| -> Vec<Arc<UserEvent>> {
        let mut events = heard.named(name);
        events.retain(|event| request.authorizer.allows(Access::Read, Resource::Event(&event.fired.name)));
        events
    };
    let index = |events: &[Arc<UserEvent>]| events.last().map_or(1, |last| index_of(last.fired.id));
    let mut heard = api.gossip.heard();
    let mut events = visible(&heard);
    let deadline = tokio::time::Instant::now() + wait;
    // The index is no number that grows: any other one is news.
    while known > 0 && index(&events) == known {
        tokio::select! {
            biased;
            more = api.gossip.heard_more(heard.version) => heard = more,
            () = tokio::time::sleep_until(deadline) => break,
        }
        events = visible(&heard);
    }
    let views: Vec<EventView<'_>> = events.iter().map(|event| EventView::new(&event.fired, event.time.0)).collect();
    let mut response = Response::json(request, api.limits.pretty, &views);
    response.header(&names::INDEX, index(&events).into());
    Ok(response)
}
