//! `/v1/operator/keyring`: the keys that gossip is sealed with, asked of every member.
//!
//! There is one pool, the LAN; Consul's answers hold the WAN beside it.

use std::collections::BTreeMap;

use agent_core::gossip::{Key, KeyOperation, KeyReport};
use hyper::StatusCode;
use serde::Serialize;

use super::authorize::{Access, Resource};
use super::catalog_listing::go_bool;
use super::decode::first_value;
use super::routes::{Route, route};
use super::{Api, ApiError, Request, Response};
use crate::config::error_list;
use crate::gossip::{decode_key, encode_key};

pub(super) const ROUTES: &[Route] = &[
    route!(here GET "/v1/operator/keyring" => list),
    route!(here POST "/v1/operator/keyring" => install),
    route!(here PUT "/v1/operator/keyring" => use_key),
    route!(here DELETE "/v1/operator/keyring" => remove),
];

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyringView<'a> {
    #[serde(rename = "WAN")]
    wan: bool,
    datacenter: &'a str,
    segment: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    messages: BTreeMap<String, String>,
    keys: BTreeMap<String, usize>,
    primary_keys: BTreeMap<String, usize>,
    num_nodes: usize,
}

async fn list(api: &Api, request: &Request) -> Result<Response, ApiError> {
    request.require(Access::Read, Resource::Keyring)?;
    check_parameters(request)?;
    let report = api.gossip.keys(KeyOperation::List).await?;
    refuse_failures(api, &report)?;
    let view = KeyringView {
        wan: false,
        datacenter: &api.identity.datacenter,
        segment: "",
        messages: report.errors.clone(),
        keys: encoded(&report.keys),
        primary_keys: encoded(&report.primary_keys),
        num_nodes: report.members,
    };
    Ok(Response::json(request, api.limits.pretty, &[view]))
}

fn encoded(keys: &BTreeMap<Key, usize>) -> BTreeMap<String, usize> {
    keys.iter().map(|(key, count)| (encode_key(key), *count)).collect()
}

async fn install(api: &Api, request: &Request) -> Result<Response, ApiError> {
    change(api, request, KeyOperation::Install).await
}

async fn use_key(api: &Api, request: &Request) -> Result<Response, ApiError> {
    change(api, request, KeyOperation::Use).await
}

async fn remove(api: &Api, request: &Request) -> Result<Response, ApiError> {
    change(api, request, KeyOperation::Remove).await
}

async fn change(
    api: &Api,
    request: &Request,
    operation: impl FnOnce(Key) -> KeyOperation,
) -> Result<Response, ApiError> {
    request.require(Access::Write, Resource::Keyring)?;
    let body = first_value(&request.body)
        .map_err(|reason| ApiError::bad_request(format!("Bad request: Request decode failed: {reason}")))?;
    if check_parameters(request)? {
        let text = "Bad request: Invalid use of local-only: local-only can only be set for list requests";
        return Err(ApiError::bad_request(text));
    }
    let key = body.as_object().and_then(|body| {
        body.iter().find(|(name, _)| name.eq_ignore_ascii_case("key")).and_then(|(_, key)| key.as_str())
    });
    let key = decode_key(key.unwrap_or_default())
        .map_err(|error| failures(&[format!("{} (LAN) error: {error}", api.identity.datacenter)]))?;
    let report = api.gossip.keys(operation(key)).await?;
    refuse_failures(api, &report)?;
    Ok(Response::empty(StatusCode::OK))
}

/// Checks the parameters of every request; says whether `local-only` is set. Answers need no relays here, and there is
/// no WAN to leave out.
fn check_parameters(request: &Request) -> Result<bool, ApiError> {
    if let Some(text) = request.parameter("relay-factor").filter(|text| !text.is_empty()) {
        let invalid = |reason: String| ApiError::bad_request(format!("Bad request: {reason}"));
        let factor: i64 = text.parse().map_err(|_| {
            invalid(format!("Error parsing relay factor: strconv.Atoi: parsing {text:?}: invalid syntax"))
        })?;
        if !(0..=5).contains(&factor) {
            return Err(invalid("Invalid relay-factor: Relay factor must be in range: [0, 5]".to_owned()));
        }
    }
    match request.parameter("local-only").filter(|text| !text.is_empty()) {
        None => Ok(false),
        Some(text) => go_bool(text).ok_or_else(|| {
            ApiError::bad_request(format!(
                "Bad request: Error parsing local-only: strconv.ParseBool: parsing {text:?}: invalid syntax"
            ))
        }),
    }
}

/// Fails when a member refused or did not answer, with Consul's list of reasons.
fn refuse_failures(api: &Api, report: &KeyReport) -> Result<(), ApiError> {
    let KeyReport { members, answered, errors, silent, keys: _, primary_keys: _ } = report;
    let datacenter = &api.identity.datacenter;
    let mut reasons = Vec::new();
    if !errors.is_empty() {
        reasons.push(format!("{datacenter} (LAN) error: {}/{members} nodes reported failure", errors.len()));
    } else if answered < members {
        reasons.push(format!("{datacenter} (LAN) error: {answered}/{members} nodes reported success"));
    }
    reasons.extend(errors.iter().map(|(name, reason)| format!("{name}: {reason}")));
    reasons.extend(silent.iter().map(|name| format!("{name}: no answer in time")));
    if reasons.is_empty() { Ok(()) } else { Err(failures(&reasons)) }
}

fn failures(reasons: &[String]) -> ApiError {
    ApiError::internal(error_list(reasons))
}
