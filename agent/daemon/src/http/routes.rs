//! Every endpoint in one table.
//!
//! A pattern that ends in `/` takes everything below it, as Go's router does:
//! what follows is [`Request::rest`]. The longest pattern wins. An endpoint that
//! does not speak a method answers 405 with `Allow`; `OPTIONS` lists the methods.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use hyper::{Method, StatusCode};

use super::error::ApiError;
use super::request::Request;
use super::response::Response;
use super::{
    Api, ServerApi, acl, agent_check, agent_health, agent_plugin, agent_pool, agent_process, agent_self, agent_service,
    autopilot, catalog, catalog_write, coordinate, event, health, keyring, kv, operator, path, plugin, session, status,
    txn,
};
use crate::env::BoxFuture;

/// What a handler comes to.
pub type Answering<'a> = BoxFuture<'a, Result<Response, ApiError>>;

/// Answers a request.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Whatever agent is asked: it is about the agent itself, or its pool.
    Here(for<'a> fn(&'a Api, &'a Request) -> Answering<'a>),
    /// A server: it is about the replicated state. A client has one answer.
    Server(for<'a> fn(&'a ServerApi, &'a Request) -> Answering<'a>),
}

/// The largest body a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLimit {
    /// `limits.kv_max_value_size`.
    KvValue,
    /// `limits.txn_max_req_len`.
    Txn,
    /// [`OTHER_BYTES_MAX`].
    Other,
}

/// The largest body of anything but a key or a transaction, in bytes.
pub const OTHER_BYTES_MAX: usize = 1024 * 1024;

/// One method of one endpoint.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, or a prefix when it ends in `/`.
    pub pattern: &'static str,
    /// The largest body it takes.
    pub body: BodyLimit,
    /// What answers it.
    pub handler: Handler,
}

/// A [`Route`] from a method, a pattern and an `async fn(&ServerApi, &Request) -> Result<Response, ApiError>`; after
/// the word `here`, one of `&Api` that any agent answers itself.
macro_rules! route {
    (here $method:ident $pattern:literal => $handler:path) => {
        route!(@ Here $method $pattern => $handler, Other)
    };
    ($method:ident $pattern:literal => $handler:path) => {
        route!(@ Server $method $pattern => $handler, Other)
    };
    ($method:ident $pattern:literal => $handler:path, $body:ident) => {
        route!(@ Server $method $pattern => $handler, $body)
    };
    (@ $by:ident $method:ident $pattern:literal => $handler:path, $body:ident) => {
        $crate::http::routes::Route {
            method: hyper::Method::$method,
            pattern: $pattern,
            body: $crate::http::routes::BodyLimit::$body,
            handler: $crate::http::routes::Handler::$by(|api, request| Box::pin($handler(api, request))),
        }
    };
}
pub(crate) use route;

/// The families.
const FAMILIES: &[&[Route]] = &[
    acl::ROUTES,
    agent_check::ROUTES,
    agent_health::ROUTES,
    agent_pool::ROUTES,
    agent_plugin::ROUTES,
    agent_process::ROUTES,
    agent_self::ROUTES,
    agent_service::ROUTES,
    autopilot::ROUTES,
    catalog::ROUTES,
    catalog_write::ROUTES,
    coordinate::ROUTES,
    event::ROUTES,
    health::ROUTES,
    keyring::ROUTES,
    kv::ROUTES,
    operator::ROUTES,
    plugin::ROUTES,
    session::ROUTES,
    status::ROUTES,
    txn::ROUTES,
];

/// The methods of one pattern.
#[derive(Default)]
struct Endpoint {
    /// The place of its name among [`names`].
    place: usize,
    routes: Vec<&'static Route>,
}

/// What requests that reach no endpoint are called in metrics, before the patterns.
const NOWHERE: [&str; 3] = ["blocked", "redirect", "unknown"];
const BLOCKED: usize = 0;
const REDIRECT: usize = 1;
const UNKNOWN: usize = 2;

struct Table {
    names: Vec<&'static str>,
    exact: BTreeMap<&'static str, Endpoint>,
    /// [`BUSIEST`] first, then the longest first.
    prefixes: Vec<(&'static str, Endpoint)>,
    /// How many of `prefixes` are [`BUSIEST`].
    busy: usize,
}

/// The prefixes that most requests go to, tried before everything else. No other pattern begins with one of them.
const BUSIEST: [&str; 3] = ["/v1/kv/", "/v1/health/service/", "/v1/catalog/service/"];

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut by_pattern: BTreeMap<&'static str, Endpoint> = BTreeMap::new();
    for route in FAMILIES.iter().copied().flatten() {
        by_pattern.entry(route.pattern).or_default().routes.push(route);
    }
    let mut names = NOWHERE.to_vec();
    for (pattern, endpoint) in &mut by_pattern {
        endpoint.place = names.len();
        names.push(pattern);
    }
    let (prefixes, exact): (Vec<_>, Vec<_>) = by_pattern.into_iter().partition(|(pattern, _)| pattern.ends_with('/'));
    let mut prefixes = prefixes;
    prefixes.sort_by_key(|(pattern, _)| {
        (BUSIEST.iter().position(|busy| busy == pattern).unwrap_or(BUSIEST.len()), std::cmp::Reverse(pattern.len()))
    });
    Table { names, exact: exact.into_iter().collect(), prefixes, busy: BUSIEST.len() }
});

/// What routes are called in metrics, by the places that [`dispatch`] returns.
pub fn names() -> &'static [&'static str] {
    &TABLE.names
}

fn find(path: &str) -> Option<(&'static str, &'static Endpoint)> {
    let table = &*TABLE;
    let (busy, others) = table.prefixes.split_at(table.busy);
    let below = |prefixes: &'static [(&'static str, Endpoint)]| {
        let found = prefixes.iter().find(|(prefix, _)| path.starts_with(prefix));
        found.map(|(pattern, endpoint)| (*pattern, endpoint))
    };
    let exact = || table.exact.get_key_value(path).map(|(pattern, endpoint)| (*pattern, endpoint));
    below(busy).or_else(exact).or_else(|| below(others))
}

/// The largest body for a method and decoded path.
pub fn body_limit(method: &Method, path: &str) -> BodyLimit {
    let route = find(path).and_then(|(_, endpoint)| endpoint.routes.iter().find(|route| route.method == *method));
    route.map_or(BodyLimit::Other, |route| route.body)
}

/// Finds the endpoint and answers the request. Also returns the place of the route's name among [`names`].
pub async fn dispatch(api: &Api, request: &mut Request) -> (Response, usize) {
    if api.limits.blocked.iter().any(|prefix| request.path.starts_with(prefix.as_str())) {
        return (
            ApiError::new(StatusCode::FORBIDDEN, "Endpoint is blocked by agent configuration").response(),
            BLOCKED,
        );
    }
    if let Some(clean) = path::cleaned(&request.path) {
        return (path::moved(request, &clean), REDIRECT);
    }
    let Some((pattern, endpoint)) = find(&request.path) else {
        if let Some(prefix) = TABLE.prefixes.iter().find(|(prefix, _)| prefix.strip_suffix('/') == Some(&request.path))
        {
            return (path::moved(request, prefix.0), REDIRECT);
        }
        return (Response::empty(StatusCode::NOT_FOUND), UNKNOWN);
    };
    request.rest_at = pattern.len();
    let response = match endpoint.routes.iter().find(|route| route.method == request.method) {
        Some(_) if !may_come_from_there(api, request) => {
            ApiError::new(StatusCode::FORBIDDEN, "Access is restricted").response()
        }
        Some(route) => answer(api, request, route.handler).await,
        None => other_method(&request.method, endpoint),
    };
    (response, endpoint.place)
}

/// Whether a request that may change something comes from where those may come from.
fn may_come_from_there(api: &Api, request: &Request) -> bool {
    let writers = &api.limits.writers;
    let from = request.peer.map(|peer| peer.ip());
    writers.is_empty()
        || matches!(request.method, Method::GET | Method::HEAD)
        || from.is_some_and(|from| writers.iter().any(|network| network.contains(from)))
}

/// Finds the endpoint of a request that another agent passed on, and answers it. Where requests may come from and which
/// endpoints are blocked was that agent's to say.
pub async fn dispatch_for_agent(api: &ServerApi, request: &mut Request) -> Response {
    let Some((pattern, endpoint)) = find(&request.path) else { return Response::empty(StatusCode::NOT_FOUND) };
    request.rest_at = pattern.len();
    match endpoint.routes.iter().find(|route| route.method == request.method).map(|route| route.handler) {
        Some(Handler::Server(handler)) => shown(request, handler(api, request).await),
        Some(Handler::Here(_)) => ApiError::bad_request("this is answered by the agent that is asked").response(),
        None => other_method(&request.method, endpoint),
    }
}

async fn answer(api: &Api, request: &Request, handler: Handler) -> Response {
    let answered = match (handler, api) {
        (Handler::Here(handler), api) => handler(api, request).await,
        (Handler::Server(handler), Api::Server(server)) => handler(server, request).await,
        (Handler::Server(_), Api::Client(client)) => Box::pin(client.by_server(request)).await,
    };
    shown(request, answered)
}

/// The response, an error logged and in Consul's form.
fn shown(request: &Request, answered: Result<Response, ApiError>) -> Response {
    match answered {
        Ok(response) => response,
        Err(error) => {
            let (url, from) = (request.shown_url(), request.shown_peer());
            if error.status().is_server_error() {
                tracing::warn!(method = %request.method, url = %url, from = %from, error = %error, "Request error");
            } else {
                tracing::debug!(method = %request.method, url = %url, from = %from, error = %error, "Request refused");
            }
            error.response()
        }
    }
}

fn other_method(method: &Method, endpoint: &Endpoint) -> Response {
    let allowed: Vec<&str> =
        std::iter::once("OPTIONS").chain(endpoint.routes.iter().map(|route| route.method.as_str())).collect();
    let mut response = match *method == Method::OPTIONS {
        true => Response::empty(StatusCode::OK),
        false => Response::text(StatusCode::METHOD_NOT_ALLOWED, format!("method {method} not allowed")),
    };
    response.set_header("allow", &allowed.join(","));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_first_hides_nothing() {
        for busy in BUSIEST {
            let below: Vec<_> = names().iter().filter(|name| name.starts_with(busy)).collect();
            assert_eq!(below, [&busy], "a pattern that begins with another one");
        }
    }
}
