//! `/v1/txn`: several operations, all or none.
//!
//! A transaction that only reads is run against a snapshot and never enters the
//! log; its answer has the headers of a read. What an operation means and why
//! it fails is the state machine's to say.

use agent_core::state::command::{CatalogVerb, KvOp, KvWrite, Proposal, TxnFailure, TxnOp, TxnResult};
use agent_core::state::{Command, Reply, apply};
use hyper::StatusCode;
use serde::Serialize;

use super::ServerApi;
use super::authorize::{Access, Resource};
use super::decode;
use super::error::ApiError;
use super::kv::KvView;
use super::query::{Consistency, ReadOptions, barrier, check_scope};
use super::request::Request;
use super::response::Response;
use super::routes::{Route, route};
use super::txn_body::{Body, decode_ops};
use super::view::{NodeView, ServiceView, TxnCheckView};

pub(super) const ROUTES: &[Route] = &[route!(PUT "/v1/txn" => txn, Txn)];

/// How many operations a transaction may have.
const OPS_MAX: usize = 128;

/// What a transaction came to.
struct Outcome {
    results: Vec<TxnResult>,
    failures: Vec<TxnFailure>,
}

async fn txn(api: &ServerApi, request: &Request) -> Result<Response, ApiError> {
    let parse_failed = |reason: String| ApiError::bad_request(format!("Failed to parse body: {reason}"));
    let value = decode::first_value(&request.body).map_err(parse_failed)?;
    let Body { ops, failures, writes } = decode_ops(&value).map_err(|error| parse_failed(error.to_string()))?;
    check_size(api, &value, &ops)?;
    // What is meant for reads is nothing to one that writes.
    let consistency = match writes {
        true => check_scope(api, request).map(|()| Consistency::Default)?,
        false => ReadOptions::parse(api, request)?.consistency,
    };
    for op in &ops {
        authorize(request, op)?;
    }
    let outcome = if !failures.is_empty() {
        Outcome { results: Vec::new(), failures }
    } else if writes {
        outcome(api.write(Command::Txn(ops)).await?.reply)?
    } else {
        barrier(api, consistency).await?;
        look(api, ops)?
    };
    Ok(answer(api, request, &outcome, !writes))
}

fn check_size(api: &ServerApi, value: &serde_json::Value, ops: &[TxnOp]) -> Result<(), ApiError> {
    let count = value.as_array().map_or(0, Vec::len);
    let too_large = |text: String| Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text));
    if count > OPS_MAX {
        return too_large(format!("Transaction contains too many operations ({count} > {OPS_MAX})"));
    }
    let max = api.limits.kv_value_bytes_max;
    match ops.iter().filter_map(write_of).find(|write| write.value.len() > max) {
        None => Ok(()),
        Some(write) => {
            too_large(format!("Value for key {:?} is too large ({} > {max} bytes)", write.key, write.value.len()))
        }
    }
}

fn write_of(op: &TxnOp) -> Option<&KvWrite> {
    match op {
        TxnOp::Kv(
            KvOp::Set(write) | KvOp::Cas { write, .. } | KvOp::Lock { write, .. } | KvOp::Unlock { write, .. },
        ) => Some(write),
        _ => None,
    }
}

fn authorize(request: &Request, op: &TxnOp) -> Result<(), ApiError> {
    let access = |verb: CatalogVerb| if verb == CatalogVerb::Get { Access::Read } else { Access::Write };
    match op {
        TxnOp::Kv(KvOp::DeleteTree { prefix }) => request.require(Access::Write, Resource::KeyPrefix(prefix)),
        TxnOp::Kv(KvOp::Delete { key } | KvOp::DeleteCas { key, .. }) => {
            request.require(Access::Write, Resource::Key(key))
        }
        TxnOp::Kv(
            KvOp::Set(write) | KvOp::Cas { write, .. } | KvOp::Lock { write, .. } | KvOp::Unlock { write, .. },
        ) => request.require(Access::Write, Resource::Key(&write.key)),
        TxnOp::KvGetTree { prefix } => request.require(Access::List, Resource::KeyPrefix(prefix)),
        TxnOp::KvGet { key }
        | TxnOp::KvGetOrEmpty { key }
        | TxnOp::KvCheckIndex { key, .. }
        | TxnOp::KvCheckSession { key, .. }
        | TxnOp::KvCheckNotExists { key } => request.require(Access::Read, Resource::Key(key)),
        TxnOp::Node { verb, node } => request.require(access(*verb), Resource::Node(&node.name)),
        TxnOp::Service { verb, service } => request.require(access(*verb), Resource::Service(&service.name)),
        TxnOp::Check { verb, check } => request.require(access(*verb), Resource::Node(&check.node)),
        TxnOp::SessionDelete { id } => request.require(Access::Write, Resource::Session(id)),
    }
}

/// Runs a transaction that only reads, on a snapshot.
fn look(api: &ServerApi, ops: Vec<TxnOp>) -> Result<Outcome, ApiError> {
    let mut state = (*api.store.snapshot()).clone();
    let index = state.index;
    let proposal = Proposal { id: 0, now_ms: api.env.clock.wall_ms(), command: Command::Txn(ops) };
    outcome(apply(&mut state, index, &proposal).reply)
}

fn outcome(reply: Reply) -> Result<Outcome, ApiError> {
    match reply {
        Reply::Txn(results) => Ok(Outcome { results, failures: Vec::new() }),
        Reply::TxnRefused(failures) => Ok(Outcome { results: Vec::new(), failures }),
        Reply::Refused(refusal) => Err(ApiError::internal(refusal.to_string())),
        Reply::Done | Reply::Bool(_) => Ok(Outcome { results: Vec::new(), failures: Vec::new() }),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AnswerView<'a> {
    results: Option<Vec<ResultView<'a>>>,
    errors: Option<Vec<FailureView<'a>>>,
    #[serde(flatten)]
    read: Option<ReadView>,
}

/// What Consul adds to the answer of a transaction that only read. The values never differ.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReadView {
    index: u64,
    last_contact: u64,
    known_leader: bool,
    consistency_level: &'static str,
}

#[derive(Serialize)]
enum ResultView<'a> {
    #[serde(rename = "KV")]
    Kv(KvView<'a>),
    Node(NodeView<'a>),
    Service(ServiceView<'a>),
    Check(TxnCheckView<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FailureView<'a> {
    op_index: u32,
    what: &'a str,
}

fn view_of<'a>(api: &'a ServerApi, result: &'a TxnResult) -> ResultView<'a> {
    match result {
        TxnResult::Kv(entry) => ResultView::Kv(KvView::new(entry)),
        TxnResult::Node(node) => ResultView::Node(NodeView::new(node, &api.identity.datacenter)),
        TxnResult::Service(service) => ResultView::Service(ServiceView::in_txn(service)),
        TxnResult::Check(check) => ResultView::Check(TxnCheckView::new(check)),
    }
}

fn answer(api: &ServerApi, request: &Request, outcome: &Outcome, read_only: bool) -> Response {
    let known_leader = api.consensus.has_leader();
    let failed = !outcome.failures.is_empty();
    let view = AnswerView {
        results: (!failed).then(|| outcome.results.iter().map(|result| view_of(api, result)).collect()),
        errors: failed.then(|| {
            let failures = outcome.failures.iter();
            failures.map(|failure| FailureView { op_index: failure.op_index, what: &failure.what }).collect()
        }),
        read: read_only.then_some(ReadView { index: 0, last_contact: 0, known_leader, consistency_level: "" }),
    };
    let mut response = Response::json(request, api.limits.pretty, &view);
    if failed {
        response.status = StatusCode::CONFLICT;
    }
    if read_only {
        response.set_header("x-consul-knownleader", if known_leader { "true" } else { "false" });
        response.set_header("x-consul-lastcontact", "0");
    }
    response
}
