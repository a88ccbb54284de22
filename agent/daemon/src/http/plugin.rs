//! `/v1/plugins`, `/v1/plugin`: plugins and their files, as the servers keep them.
//!
//! A file goes up and down in chunks, so that nothing bigger crosses between
//! agents. The rules are the state machine's ([`agent_core::state::plugin`]);
//! this file has one more: where `plugin_trust` is set, only files signed by one
//! of its keys are published. Not Consul's: there is nothing there to resemble.

use agent_core::plugin::digest::Digest;
use agent_core::plugin::signature;
use agent_core::state::plugin::{self, CHUNK_BYTES};
use agent_core::state::{Command, Refusal, Reply, State};
use agent_core::watch::Topic;
use bytes::Bytes;
use hyper::StatusCode;

use super::ServerApi;
use super::authorize::{Access, Resource};
use super::decode::first_value;
use super::error::ApiError;
use super::plugin_view::{HaveView, PluginView, Publication};
use super::query::{Consistency, ReadOptions, barrier, check_scope, read};
use super::request::{Request, parse_uint};
use super::response::Response;
use super::routes::{Route, route};
use crate::plugin::trust::distrust_text;
use crate::propose::propose;

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/v1/plugins" => list),
    route!(GET "/v1/plugin/name/" => show),
    route!(PUT "/v1/plugin/name/" => publish),
    route!(DELETE "/v1/plugin/name/" => remove),
    route!(GET "/v1/plugin/chunk/" => chunk),
    route!(PUT "/v1/plugin/chunk/" => upload),
];

/// The header that says how many bytes the whole file has.
pub const SIZE_HEADER: &str = "x-lictor-file-size";

async fn list(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    request.require(Access::List, Resource::KeyPrefix(plugin::KEY_PREFIX))?;
    let topics = || vec![Topic::Plugins, Topic::KvPrefix(plugin::KEY_PREFIX.to_owned())];
    let found = read(api, &options, topics, State::plugin_list).await?;
    let views: Vec<PluginView> = found.value.iter().map(PluginView::new).collect();
    Ok(found.json(api, request, &views))
}

async fn show(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let options = ReadOptions::parse(api, request)?;
    let (name, key) = name(request)?;
    request.require(Access::Read, Resource::Key(&key))?;
    let topics = || vec![Topic::Plugin(name.to_owned()), Topic::KvKey(key.clone())];
    let found = read(api, &options, topics, |state| state.plugin(name)).await?;
    Ok(match &found.value {
        Some(plugin) => found.json(api, request, &PluginView::new(plugin)),
        None => found.not_found(),
    })
}

/// Publishes a file that is complete.
async fn publish(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    check_scope(api, request)?;
    let (name, key) = name(request)?;
    request.require(Access::Write, Resource::Key(&key))?;
    let bad = |reason: String| ApiError::bad_request(format!("Request decode failed: {reason}"));
    let body = first_value(&request.body).map_err(bad)?;
    let publication: Publication = serde_json::from_value(body).map_err(|error| bad(error.to_string()))?;
    let version = publication.record().map_err(bad)?;
    let trusted = &api.limits.plugin_trust;
    signature::check(&version.digest, version.signature.as_ref(), trusted)
        .map_err(|distrust| ApiError::new(StatusCode::FORBIDDEN, distrust_text(&distrust)))?;
    let cas = uint(request, "cas")?;
    let reply = write(api, Command::PluginSet { name: name.to_owned(), version: Box::new(version), cas }).await?;
    Ok(Response::json(request, api.limits.pretty, &(reply != Reply::Bool(false))))
}

async fn remove(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    check_scope(api, request)?;
    let (name, key) = name(request)?;
    request.require(Access::Write, Resource::Key(&key))?;
    write(api, Command::PluginRemove { name: name.to_owned() }).await?;
    Ok(Response::json(request, api.limits.pretty, &true))
}

/// Takes a chunk. Status 409 where it is not the next one; `?have` tells which is.
async fn upload(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    check_scope(api, request)?;
    let digest = digest(request)?;
    request.require(Access::Write, Resource::KeyPrefix(plugin::KEY_PREFIX))?;
    let missing = |name| ApiError::bad_request(format!("the parameter {name} is missing"));
    let size = uint(request, "size")?.ok_or_else(|| missing("size"))?;
    let offset = uint(request, "offset")?.ok_or_else(|| missing("offset"))?;
    // The log would keep what the state machine refuses.
    if request.body.len() as u64 > CHUNK_BYTES {
        let (bytes, text) = (request.body.len(), format!("and may have {CHUNK_BYTES}"));
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the chunk has {bytes} bytes, {text}")));
    }
    let bytes = request.body[..].into();
    write(api, Command::PluginChunk { digest, size, offset, bytes }).await?;
    Ok(Response::json(request, api.limits.pretty, &true))
}

/// A chunk of a complete file, or with `?have`, how much of it there is.
async fn chunk(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    check_scope(api, request)?;
    let digest = digest(request)?;
    request.require(Access::Read, Resource::KeyPrefix(plugin::KEY_PREFIX))?;
    if request.has("have") {
        barrier(api, Consistency::Default).await?;
        let view = api.store.read(|state| have(state, &digest));
        return Ok(Response::json(request, api.limits.pretty, &view));
    }
    let offset = uint(request, "offset")?.unwrap_or(0);
    // What a digest names never changes: only where it is missing here, others may know more.
    let mut found = api.store.read(|state| piece(state, &digest, offset));
    if found.is_none() {
        barrier(api, Consistency::Default).await?;
        found = api.store.read(|state| piece(state, &digest, offset));
    }
    let (size, bytes) = found.ok_or_else(|| ApiError::not_found(format!("there is no file {digest} at {offset}")))?;
    let mut response = Response::text(StatusCode::OK, bytes);
    response.set_header("content-type", "application/octet-stream");
    response.set_header(SIZE_HEADER, &size.to_string());
    Ok(response)
}

fn have(state: &State, digest: &Digest) -> HaveView {
    let file = state.plugin_files.get(digest);
    let (have, complete) = file.map_or((0, false), |file| (file.have(), file.is_complete()));
    HaveView { digest: digest.to_string(), have, complete }
}

/// The size of a complete file, and its chunk at an offset. The bytes are the state's own.
fn piece(state: &State, digest: &Digest, offset: u64) -> Option<(u64, Bytes)> {
    let file = state.plugin_files.get(digest).filter(|file| file.is_complete())?;
    let place = usize::try_from(offset / CHUNK_BYTES).ok().filter(|_| offset.is_multiple_of(CHUNK_BYTES))?;
    let chunk = file.chunks.get(place)?;
    Some((file.size, Bytes::from_owner(chunk.clone())))
}

/// Proposes a command. What does not fit is 409 for a file that is not complete, and otherwise 400.
async fn write(api: &ServerApi, command: Command) -> Result<Reply, ApiError> {
    let applied = propose(&api.consensus, &api.metrics, command).await;
    match applied.map_err(|error| ApiError::internal(error.to_string()))?.reply {
        Reply::Refused(refusal @ Refusal::PluginIncomplete { .. }) => {
            Err(ApiError::new(StatusCode::CONFLICT, refusal.to_string()))
        }
        Reply::Refused(refusal) => Err(ApiError::bad_request(refusal.to_string())),
        reply => Ok(reply),
    }
}

/// The plugin's name and the key that says which of its files is to run.
fn name(request: &Request) -> Result<(&str, String), ApiError> {
    let name = request.rest();
    plugin::check_name(name).map_err(ApiError::bad_request)?;
    Ok((name, plugin::key(name)))
}

fn digest(request: &Request) -> Result<Digest, ApiError> {
    Digest::parse(request.rest()).map_err(ApiError::bad_request)
}

fn uint(request: &Request, name: &str) -> Result<Option<u64>, ApiError> {
    let bad = |reason| ApiError::bad_request(format!("the parameter {name} is no number: {reason}"));
    request.parameter(name).map(parse_uint).transpose().map_err(bad)
}

#[cfg(test)]
mod tests;
