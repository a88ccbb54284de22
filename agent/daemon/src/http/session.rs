//! `/v1/session`: leases that locks hang on.
//!
//! The proposer decides the id here; whether node and checks exist is the state
//! machine's to say. A renewal changes nothing in the state: it only tells the
//! leader's timers.

use std::sync::Arc;

use agent_core::duration;
use agent_core::state::Command;
use agent_core::state::tables::{Session, SessionBehavior};
use agent_core::watch::Topic;
use serde::Serialize;
use serde_json::Value;

use super::authorize::{Access, Resource};
use super::decode::request_body;
use super::error::ApiError;
use super::query::{Consistency, ReadOptions, barrier, check_scope, read};
use super::request::Request;
use super::response::Response;
use super::routes::{Route, route};
use super::{ServerApi, by_leader};
use crate::definition::{Fields, Source, milliseconds};

pub(super) const ROUTES: &[Route] = &[
    route!(PUT "/v1/session/create" => create),
    route!(PUT "/v1/session/destroy/" => destroy),
    route!(PUT "/v1/session/renew/" => renew),
    route!(GET "/v1/session/info/" => info),
    route!(GET "/v1/session/node/" => node),
    route!(GET "/v1/session/list" => list),
];

/// The check of a node's own life, which sessions hang on unless they say otherwise.
const NODE_CHECK: &str = "serfHealth";

/// The lock-delay of a session that names none, in milliseconds.
const LOCK_DELAY_MS_DEFAULT: u64 = 15_000;

/// The longest TTL, in milliseconds: a day.
const TTL_MS_MAX: i64 = 86_400_000;

/// A number below this is seconds, from it on nanoseconds: how Consul reads a bare `LockDelay`.
const LOCK_DELAY_SECONDS_BELOW: i64 = 1000;

/// The length of a UUID in text form.
const UUID_TEXT_BYTES: usize = 36;

/// A session as Consul prints it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SessionView<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    node: &'a str,
    lock_delay: u64,
    behavior: &'static str,
    #[serde(rename = "TTL")]
    ttl: &'a str,
    node_checks: &'a [String],
    service_checks: Option<Vec<ServiceCheckView<'a>>>,
    create_index: u64,
    modify_index: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceCheckView<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    namespace: &'static str,
}

impl<'a> SessionView<'a> {
    fn new(session: &'a Session) -> Self {
        let service_check = |id: &'a String| ServiceCheckView { id, namespace: "" };
        SessionView {
            id: &session.id,
            name: &session.name,
            node: &session.node,
            lock_delay: session.lock_delay_ms.saturating_mul(1_000_000),
            behavior: match session.behavior {
                SessionBehavior::Release => "release",
                SessionBehavior::Delete => "delete",
            },
            ttl: &session.ttl,
            node_checks: &session.node_checks,
            service_checks: (!session.service_checks.is_empty())
                .then(|| session.service_checks.iter().map(service_check).collect()),
            create_index: session.create_index,
            modify_index: session.modify_index,
        }
    }
}

#[derive(Serialize)]
struct Created<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
}

async fn create(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    check_scope(api, request)?;
    let body = if request.body.is_empty() { Value::Null } else { request_body(&request.body)? };
    let session = Session { id: api.env.uuid(), ..decode_session(api, request.agent_name(api), &body)? };
    request.require(Access::Write, Resource::Session(&session.node))?;
    let id = session.id.clone();
    api.write(Command::SessionCreate(Box::new(session))).await?;
    Ok(Response::json(request, api.limits.pretty, &Created { id: &id }))
}

/// A session from a request's body, without an id. `agent` is its node when it names none.
fn decode_session(api: &ServerApi, agent: &str, body: &Value) -> Result<Session, ApiError> {
    let empty = Value::Object(serde_json::Map::new());
    let body = if body.is_null() { &empty } else { body };
    let go_type = "struct { LockDelay interface {}; *structs.Alias }";
    let fields = Fields::open_any(body, Source::Http, go_type)?;
    let node = fields.get("Node").map_or(Ok(agent.to_owned()), |_| fields.string("Node"));
    let session = Session {
        name: fields.string("Name")?,
        node: node?,
        node_checks: node_checks(&fields)?,
        service_checks: service_checks(&fields)?,
        lock_delay_ms: lock_delay_ms(&fields)?,
        ttl: fields.string("TTL")?,
        ..Session::default()
    };
    let behavior = behavior(&fields)?;
    if session.node.is_empty() {
        return Err(ApiError::internal("Must provide Node"));
    }
    let ttl_ms = ttl_ms(api, &session.ttl)?;
    Ok(Session { behavior: behavior.map_err(ApiError::internal)?, ttl_ms, ..session })
}

/// The outer error is the shape, the inner one the value: Consul tells them apart by status.
fn behavior(fields: &Fields<'_>) -> Result<Result<SessionBehavior, String>, ApiError> {
    let text = match fields.get("Behavior") {
        None => "",
        Some(Value::String(text)) => text.as_str(),
        Some(other) => return Err(fields.mismatch(other, "Behavior", "structs.SessionBehavior").into()),
    };
    Ok(match text {
        "" | "release" => Ok(SessionBehavior::Release),
        "delete" => Ok(SessionBehavior::Delete),
        other => Err(format!("Invalid Behavior setting '{other}'")),
    })
}

/// The node's own life unless `NodeChecks` says otherwise, and what `Checks`, the old name, has beside that. An empty
/// `Checks` means none at all: so clients ask for it who know the old name only.
fn node_checks(fields: &Fields<'_>) -> Result<Vec<String>, ApiError> {
    let old = check_list(fields, "Checks", "[]types.CheckID")?;
    let node_checks = check_list(fields, "NodeChecks", "[]string")?;
    if old.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let mut checks = node_checks.unwrap_or_else(|| vec![NODE_CHECK.to_owned()]);
    checks.extend(old.unwrap_or_default());
    let mut seen = std::collections::BTreeSet::new();
    checks.retain(|check| seen.insert(check.clone()));
    Ok(checks)
}

/// A list, where there is one: `null` is an empty one.
fn check_list(fields: &Fields<'_>, name: &str, go_type: &str) -> Result<Option<Vec<String>>, ApiError> {
    match fields.get(name) {
        None => Ok(fields.is_null(name).then(Vec::new)),
        Some(Value::Array(_)) => Ok(Some(fields.strings(name)?)),
        Some(other) => Err(fields.mismatch(other, name, go_type).into()),
    }
}

fn service_checks(fields: &Fields<'_>) -> Result<Vec<String>, ApiError> {
    let items = fields.list("ServiceChecks", "[]structs.ServiceCheck")?;
    let id = |item: &Value| match item {
        Value::Object(_) => Fields::open_any(item, Source::Http, "structs.ServiceCheck")
            .and_then(|check| check.string("ID"))
            .map_err(ApiError::from),
        other => Err(fields.mismatch(other, "ServiceChecks", "structs.ServiceCheck").into()),
    };
    items.iter().map(id).collect()
}

/// A duration in a string, or a number of seconds or, from a thousand on, of nanoseconds.
fn lock_delay_ms(fields: &Fields<'_>) -> Result<u64, ApiError> {
    let nanoseconds = match fields.get("LockDelay") {
        None => return Ok(LOCK_DELAY_MS_DEFAULT),
        Some(Value::String(text)) => {
            duration::parse(text).map_err(|error| ApiError::bad_request(format!("Request decode failed: {error}")))?
        }
        Some(Value::Number(number)) => {
            let number = number.as_i64().unwrap_or_else(|| number.as_f64().map_or(0, |n| n as i64));
            if number < LOCK_DELAY_SECONDS_BELOW { number.saturating_mul(1_000_000_000) } else { number }
        }
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => 0,
    };
    Ok(milliseconds(nanoseconds))
}

fn ttl_ms(api: &ServerApi, text: &str) -> Result<u64, ApiError> {
    if text.is_empty() {
        return Ok(0);
    }
    let nanoseconds =
        duration::parse(text).map_err(|error| ApiError::internal(format!("Session TTL '{text}' invalid: {error}")))?;
    let min_ms = i64::try_from(api.limits.session_ttl_min_ms).unwrap_or(TTL_MS_MAX);
    let allowed = min_ms.saturating_mul(1_000_000)..=TTL_MS_MAX * 1_000_000;
    if nanoseconds != 0 && !allowed.contains(&nanoseconds) {
        let min = duration::format(*allowed.start());
        let text = format!("Invalid Session TTL '{nanoseconds}', must be between [{min}=24h0m0s]");
        return Err(ApiError::internal(text));
    }
    Ok(milliseconds(nanoseconds))
}

async fn destroy(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    check_scope(api, request)?;
    let id = session_id(request)?;
    // Only the catalog knows whose session it is.
    if let Some(session) = api.store.snapshot().session(id).value {
        request.require(Access::Write, Resource::Session(&session.node))?;
    }
    api.write(Command::SessionDestroy { id: id.to_owned() }).await?;
    Ok(Response::json(request, api.limits.pretty, &true))
}

async fn renew(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    ReadOptions::parse(api, request)?;
    let id = session_id(request)?;
    // Only the leader's timers know when a session ends.
    if let Some(answer) = by_leader(api, request).await {
        return answer;
    }
    barrier(api, Consistency::Default).await?;
    let Some(session) = api.store.snapshot().session(id).value else {
        return Err(ApiError::not_found(format!("Session id '{id}' not found")));
    };
    request.require(Access::Write, Resource::Session(&session.node))?;
    if session.ttl_ms > 0 && api.renewed.send(id.to_owned()).await.is_err() {
        return Err(ApiError::internal("the agent is shutting down"));
    }
    Ok(Response::json(request, api.limits.pretty, &[SessionView::new(&session)]))
}

async fn info(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let id = session_id(request)?;
    let found = read(api, &options, || vec![Topic::Session(id.to_owned())], |state| state.session(id)).await?;
    let readable = |session: &&Arc<Session>| request.authorizer.allows(Access::Read, Resource::Session(&session.node));
    let views: Vec<SessionView<'_>> =
        found.value.iter().filter(readable).map(|session| SessionView::new(session)).collect();
    Ok(found.json(api, request, &views))
}

async fn node(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let node = match request.rest() {
        "" => return Err(ApiError::bad_request("Missing node name")),
        node => node,
    };
    let found = read(api, &options, || vec![Topic::Sessions], |state| state.node_sessions(node)).await?;
    Ok(found.json(api, request, &views(request, &found.value)))
}

async fn list(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let found = read(api, &options, || vec![Topic::Sessions], agent_core::state::State::session_list).await?;
    Ok(found.json(api, request, &views(request, &found.value)))
}

/// The sessions that the token may see.
fn views<'a>(request: &Request, sessions: &'a [Arc<Session>]) -> Vec<SessionView<'a>> {
    let readable = |session: &&Arc<Session>| request.authorizer.allows(Access::Read, Resource::Session(&session.node));
    sessions.iter().filter(readable).map(|session| SessionView::new(session)).collect()
}

fn session_id(request: &Request) -> Result<&str, ApiError> {
    match request.rest() {
        "" => Err(ApiError::bad_request("Missing session")),
        id if id.len() == UUID_TEXT_BYTES => Ok(id),
        _ => Err(ApiError::internal("failed session lookup: index error: UUID must be 36 characters")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_hangs_on_its_node_unless_it_says_otherwise() {
        let cases: [(&str, &[&str]); 9] = [
            ("{}", &[NODE_CHECK]),
            (r#"{"NodeChecks": ["a"]}"#, &["a"]),
            (r#"{"NodeChecks": []}"#, &[]),
            (r#"{"NodeChecks": null}"#, &[]),
            (r#"{"Checks": ["a"]}"#, &[NODE_CHECK, "a"]),
            (r#"{"Checks": ["a"], "NodeChecks": ["b", "a"]}"#, &["b", "a"]),
            (r#"{"Checks": ["a"], "NodeChecks": null}"#, &["a"]),
            (r#"{"Checks": [], "NodeChecks": ["b"]}"#, &[]),
            (r#"{"checks": null}"#, &[]),
        ];
        for (text, expected) in cases {
            let body: Value = serde_json::from_str(text).expect("JSON");
            let fields = Fields::open_any(&body, Source::Http, "a session").expect("an object");
            assert_eq!(node_checks(&fields).expect("lists"), expected, "{text}");
        }
    }
}
