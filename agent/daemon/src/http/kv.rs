//! `/v1/kv`: read, write and delete keys.
//!
//! The rules are the state machine's; this file turns parameters into commands
//! and records into Consul's JSON, straight from the shared records. Writes refuse
//! the bad parameters of reads too, though they have no use for the good ones.

use std::sync::Arc;

use agent_core::state::command::{KvOp, KvWrite};
use agent_core::state::tables::KvEntry;
use agent_core::state::{Answer, Command, Reply, State};
use agent_core::watch::Topic;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde::{Serialize, Serializer};

use super::ServerApi;
use super::authorize::{Access, Resource};
use super::error::ApiError;
use super::json;
use super::query::{ReadOptions, read};
use super::request::{Request, encode_query, parse_uint};
use super::response::Response;
use super::routes::{Route, route};

pub(super) const ROUTES: &[Route] =
    &[route!(GET "/v1/kv/" => get), route!(PUT "/v1/kv/" => put, KvValue), route!(DELETE "/v1/kv/" => delete)];

/// A key as Consul prints it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KvView<'a> {
    lock_index: u64,
    key: &'a str,
    flags: u64,
    #[serde(serialize_with = "base64_or_null")]
    value: Option<&'a [u8]>,
    #[serde(skip_serializing_if = "str::is_empty")]
    session: &'a str,
    create_index: u64,
    modify_index: u64,
}

impl<'a> KvView<'a> {
    pub(super) fn new(entry: &'a KvEntry) -> Self {
        KvView {
            lock_index: entry.lock_index,
            key: &entry.key,
            flags: entry.flags,
            value: (!entry.value.is_empty()).then_some(&*entry.value),
            session: &entry.session,
            create_index: entry.create_index,
            modify_index: entry.modify_index,
        }
    }
}

fn base64_or_null<S: Serializer>(value: &Option<&[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(bytes) => serializer.serialize_str(&STANDARD.encode(bytes)),
        None => serializer.serialize_none(),
    }
}

/// Entries as Consul prints them, in a list. The same bytes as [`KvView`] gives, in a fourth of the time: keys are what
/// most clients read.
fn encode(entries: &[impl AsRef<KvEntry>], pretty: bool) -> Vec<u8> {
    if pretty {
        let views: Vec<KvView<'_>> = entries.iter().map(|entry| KvView::new(entry.as_ref())).collect();
        return json::encode(&views, pretty);
    }
    // Names and numbers take about 120 bytes, base64 four for three.
    let room = |entry: &KvEntry| 160 + entry.key.len() + entry.session.len() + entry.value.len() / 3 * 4;
    let mut out = String::with_capacity(2 + entries.iter().map(|entry| room(entry.as_ref())).sum::<usize>());
    let mut separator = '[';
    for entry in entries {
        out.push(separator);
        encode_entry(entry.as_ref(), &mut out);
        separator = ',';
    }
    if entries.is_empty() {
        out.push('[');
    }
    out.push(']');
    out.into_bytes()
}

fn encode_entry(entry: &KvEntry, out: &mut String) {
    out.push_str("{\"LockIndex\":");
    json::push_number(entry.lock_index, out);
    out.push_str(",\"Key\":");
    json::push_string(&entry.key, out);
    out.push_str(",\"Flags\":");
    json::push_number(entry.flags, out);
    out.push_str(",\"Value\":");
    if entry.value.is_empty() {
        out.push_str("null");
    } else {
        out.push('"');
        STANDARD.encode_string(&entry.value, out);
        out.push('"');
    }
    if !entry.session.is_empty() {
        out.push_str(",\"Session\":");
        json::push_string(&entry.session, out);
    }
    out.push_str(",\"CreateIndex\":");
    json::push_number(entry.create_index, out);
    out.push_str(",\"ModifyIndex\":");
    json::push_number(entry.modify_index, out);
    out.push('}');
}

async fn get(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    if request.has("keys") {
        return keys(api, request, &options).await;
    }
    if request.has("recurse") {
        return recurse(api, request, &options).await;
    }
    let key = key(request)?;
    request.require(Access::Read, Resource::Key(key))?;
    let (is_raw, pretty) = (request.has("raw"), api.limits.pretty || request.has("pretty"));
    let ask = |state: &State| {
        let Answer { index, value } = state.kv_look(key);
        let body = |entry: &Arc<KvEntry>| {
            if is_raw { entry.value.to_vec() } else { encode(std::slice::from_ref(entry), pretty) }
        };
        Answer { index, value: value.map(body) }
    };
    let mut found = read(api, &options, || vec![Topic::KvKey(key.to_owned())], ask).await?;
    Ok(match found.value.take() {
        None => found.not_found(),
        Some(body) if is_raw => found.with_headers(raw(body)),
        Some(body) => found.with_headers(Response::encoded_json(body)),
    })
}

fn list(api: &ServerApi, request: &Request, entries: &[Arc<KvEntry>]) -> Response {
    Response::encoded_json(encode(entries, api.limits.pretty || request.has("pretty")))
}

async fn recurse(api: &ServerApi, request: &Request, options: &ReadOptions) -> Result<Response, ApiError> {
    let prefix = request.rest();
    request.require(Access::List, Resource::KeyPrefix(prefix))?;
    let found = read(api, options, || vec![Topic::KvPrefix(prefix.to_owned())], |state| state.kv_list(prefix)).await?;
    if found.value.is_empty() {
        return Ok(found.not_found());
    }
    Ok(found.with_headers(list(api, request, &found.value)))
}

async fn keys(api: &ServerApi, request: &Request, options: &ReadOptions) -> Result<Response, ApiError> {
    let prefix = request.rest();
    let separator = request.parameter("separator").unwrap_or_default();
    request.require(Access::List, Resource::KeyPrefix(prefix))?;
    let topics = || vec![Topic::KvPrefix(prefix.to_owned())];
    let found = read(api, options, topics, |state| state.kv_keys(prefix, separator)).await?;
    // The root is always there, even when nothing is below it.
    if found.value.is_empty() && !prefix.is_empty() {
        return Ok(found.not_found());
    }
    Ok(found.json(api, request, &found.value))
}

/// The value alone, with headers that keep a browser from running it.
fn raw(value: Vec<u8>) -> Response {
    let mut response = Response::text(StatusCode::OK, value);
    response.set_header("content-type", "text/plain");
    response.set_header("x-content-type-options", "nosniff");
    response.set_header("content-security-policy", "sandbox");
    response
}

async fn put(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    ReadOptions::parse(api, request)?;
    let key = key(request)?;
    check_conflict(request, &["cas", "acquire", "release"])?;
    let flags = uint(request, "flags")?.unwrap_or(0);
    let write = KvWrite { key: key.to_owned(), value: Arc::from(&request.body[..]), flags };
    let op = if let Some(index) = uint(request, "cas")? {
        KvOp::Cas { write, index }
    } else if let Some(session) = request.parameter("acquire") {
        KvOp::Lock { write, session: session.to_owned() }
    } else if let Some(session) = request.parameter("release") {
        KvOp::Unlock { write, session: session.to_owned() }
    } else {
        KvOp::Set(write)
    };
    request.require(Access::Write, Resource::Key(key))?;
    apply(api, request, op).await
}

async fn delete(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    ReadOptions::parse(api, request)?;
    check_conflict(request, &["recurse", "cas"])?;
    let path = request.rest();
    let op = if request.has("recurse") {
        request.require(Access::Write, Resource::KeyPrefix(path))?;
        KvOp::DeleteTree { prefix: path.to_owned() }
    } else {
        let key = key(request)?.to_owned();
        request.require(Access::Write, Resource::Key(&key))?;
        match uint(request, "cas")? {
            Some(index) => KvOp::DeleteCas { key, index },
            None => KvOp::Delete { key },
        }
    };
    apply(api, request, op).await
}

/// Proposes the operation; answers whether it happened.
async fn apply(api: &ServerApi, request: &Request, op: KvOp) -> Result<Response, ApiError> {
    let happened = match api.write(Command::Kv(op)).await?.reply {
        Reply::Bool(happened) => happened,
        Reply::Done | Reply::Txn(_) | Reply::TxnRefused(_) | Reply::Refused(_) => true,
    };
    Ok(Response::json(request, api.limits.pretty, &happened))
}

fn key(request: &Request) -> Result<&str, ApiError> {
    match request.rest() {
        "" => Err(ApiError::bad_request("Missing key name")),
        key => Ok(key),
    }
}

/// Refuses a request with more than one of `names`.
fn check_conflict(request: &Request, names: &[&str]) -> Result<(), ApiError> {
    if names.iter().filter(|name| request.has(name)).count() < 2 {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("Conflicting flags: {}", encode_query(&request.query))))
}

/// An unsigned parameter. A bad one is Consul's 500.
fn uint(request: &Request, name: &str) -> Result<Option<u64>, ApiError> {
    request.parameter(name).map(|text| parse_uint(text).map_err(ApiError::internal)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_as_their_view_says() {
        let plain = Arc::new(KvEntry { key: "a/b".to_owned(), value: Arc::from(&b"v"[..]), ..KvEntry::default() });
        let locked = Arc::new(KvEntry {
            key: "<\"&\u{2028}\\\u{1}ü>".to_owned(),
            value: Arc::from(&[0xff, 0, 7, 9][..]),
            flags: u64::MAX,
            session: "id".to_owned(),
            lock_index: 3,
            create_index: 10,
            modify_index: 12_345,
        });
        let empty = Arc::new(KvEntry::default());
        let lists = [vec![], vec![plain.clone()], vec![plain, locked, empty.clone()], vec![empty]];
        for entries in lists {
            let views: Vec<_> = entries.iter().map(|entry| KvView::new(entry)).collect();
            for pretty in [false, true] {
                assert_eq!(encode(&entries, pretty), json::encode(&views, pretty), "{entries:?}");
            }
        }
    }
}
