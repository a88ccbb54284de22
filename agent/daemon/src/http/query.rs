//! What reads have in common: data centre, consistency, blocking.
//!
//! A blocking query subscribes to its topics before it looks, so no change falls
//! between the look and the wait. It ends when its answer has moved past the
//! client's index, when the wait is over, or when the client is gone: then its
//! future is dropped, and the subscription with it.

use std::collections::BTreeMap;
use std::time::Duration;

use agent_core::duration;
use agent_core::state::tables::Index;
use agent_core::state::{Answer, State};
use agent_core::watch::Topic;
use agent_raft::ReadMode;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde::Serialize;

use super::error::ApiError;
use super::request::{Request, parse_uint};
use super::response::{Response, names};
use super::{AgentApi, ServerApi, encoded};
use crate::telemetry::Timer;

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// The leader answers, by its lease.
    Default,
    /// The leader answers, after asking a quorum.
    Consistent,
    /// Whoever is asked answers with what it has.
    Stale,
}

/// The parameters every read takes.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// How fresh the answer must be.
    pub consistency: Consistency,
    /// Wait until the answer's index is past this; zero answers at once.
    pub index: Index,
    /// How long to wait, jitter included.
    pub wait: Duration,
    /// Only nodes with all of this metadata.
    pub node_meta: BTreeMap<String, String>,
    /// A filter expression; empty for none.
    pub filter: String,
}

impl ReadOptions {
    /// Reads them off a request.
    ///
    /// # Errors
    /// 400 for a bad `index` or `wait` and for conflicting consistencies, 500 for an unknown data centre.
    pub fn parse(api: &AgentApi, request: &Request) -> Result<Self, ApiError> {
        let consistency = match (request.has("stale"), request.has("consistent")) {
            (true, true) => {
                return Err(ApiError::bad_request("Cannot specify ?stale with ?consistent, conflicting semantics."));
            }
            (true, false) => Consistency::Stale,
            (false, true) => Consistency::Consistent,
            (false, false) => Consistency::Default,
        };
        let (index, wait) = parse_wait(api, request)?;
        check_scope(api, request)?;
        let pairs = request.parameters("node-meta").map(|pair| pair.split_once(':').unwrap_or((pair, "")));
        let node_meta = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let filter = request.parameter("filter").unwrap_or_default().to_owned();
        Ok(ReadOptions { consistency, index, wait, node_meta, filter })
    }
}

/// Fails for data centres, namespaces and partitions that are not here.
///
/// # Errors
/// 500 `No path to datacenter`; 400 for a namespace or partition other than `default`.
pub fn check_scope(api: &AgentApi, request: &Request) -> Result<(), ApiError> {
    check_namespace(request)?;
    match request.parameter("dc") {
        None | Some("") => Ok(()),
        Some(dc) if dc == api.identity.datacenter => Ok(()),
        Some(_) => Err(ApiError::internal("No path to datacenter")),
    }
}

/// Fails for namespaces and partitions that are not here. Endpoints of the agent itself ignore the data centre.
///
/// # Errors
/// 400 for a namespace or partition other than `default`.
pub fn check_namespace(request: &Request) -> Result<(), ApiError> {
    for (name, what) in [("ns", "Namespaces are"), ("partition", "Partitions are")] {
        if request.parameter(name).is_some_and(|value| !matches!(value, "" | "default")) {
            let text = format!("Bad request: Invalid query parameter: {name:?} - {what} a Consul Enterprise feature");
            return Err(ApiError::bad_request(text));
        }
    }
    Ok(())
}

/// From which index on an answer is news (zero: any), and how long to wait for one, jitter included.
///
/// # Errors
/// 400 for a bad `index` or `wait`.
pub fn parse_wait(api: &AgentApi, request: &Request) -> Result<(Index, Duration), ApiError> {
    let limits = &api.limits;
    let asked_ns = match request.parameter("wait").unwrap_or_default() {
        "" => 0,
        text => duration::parse(text).map_err(|_| ApiError::bad_request("Invalid wait time"))?,
    };
    let index = match request.parameter("index").unwrap_or_default() {
        "" => 0,
        text => parse_uint(text).map_err(|_| ApiError::bad_request("Invalid index"))?,
    };
    let wait_ms = match u64::try_from(asked_ns) {
        Ok(0) | Err(_) => limits.wait_default_ms,
        // Less than a millisecond is not nothing, which would mean the default.
        Ok(ns) => ns.div_ceil(1_000_000).min(limits.wait_max_ms),
    };
    // Waiting clients that started together must not all come back together (Consul's jitter: up to a sixteenth).
    let jitter_ms = if index > 0 { api.env.random.u64() % (wait_ms / 16 + 1) } else { 0 };
    Ok((index, Duration::from_millis(wait_ms + jitter_ms)))
}

/// An answer with what its headers say.
#[derive(Debug)]
pub struct Found<T> {
    /// The answer.
    pub value: T,
    /// The index to wait from next.
    pub index: Index,
    known_leader: bool,
    /// How long the leader has not been heard, in milliseconds.
    last_contact_ms: u64,
    consistency: Consistency,
}

/// Answers a query, after waiting for it to change if the client asked for that.
///
/// `topics` are what the answer depends on.
///
/// # Errors
/// 500 when there is no leader to make the answer as fresh as it must be.
pub async fn read<T>(
    api: &ServerApi,
    options: &ReadOptions,
    topics: impl FnOnce() -> Vec<Topic>,
    ask: impl Fn(&State) -> Answer<T>,
) -> Result<Found<T>, ApiError> {
    api.metrics.count_read();
    let answer = match options.index {
        0 => {
            barrier(api, options.consistency).await?;
            api.store.read(&ask)
        }
        // In a box, so that the many reads that never wait don't carry room for it.
        index => Box::pin(wait_past(api, options, index, topics(), ask)).await?,
    };
    let Answer { index, value } = answer;
    let known_leader = api.consensus.has_leader();
    let last_contact_ms = match options.consistency {
        Consistency::Stale => {
            u64::try_from(api.consensus.last_contact().unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
        }
        // The leader answered for this.
        Consistency::Default | Consistency::Consistent => 0,
    };
    Ok(Found { value, index: index.max(1), known_leader, last_contact_ms, consistency: options.consistency })
}

/// Answers a query with a body that is encoded once per change and shared: see [`super::encoded`].
///
/// `index` finds the index of the answer, at much less cost than `encode` makes the body.
///
/// # Errors
/// As [`read`].
pub async fn read_shared(
    api: &ServerApi,
    request: &Request,
    options: &ReadOptions,
    topics: impl FnOnce() -> Vec<Topic>,
    index: impl Fn(&State) -> Index,
    encode: impl Fn(&State) -> Vec<u8>,
) -> Result<Response, ApiError> {
    let key = encoded::key(request);
    let answer = |state: &State| {
        let index = index(state);
        // Distances change while the index stays.
        let value = match request.has("near") {
            true => Bytes::from(encode(state)),
            false => api.encoded.get_or_encode(&key, index, || encode(state)),
        };
        Answer { index, value }
    };
    let ask = |state: &State| {
        let index = index(state);
        // A query that goes on waiting has no use for a body.
        Answer { index, value: (index > options.index).then(|| answer(state).value) }
    };
    let found = read(api, options, topics, ask).await?;
    let Found { known_leader, last_contact_ms, consistency, .. } = found;
    let Answer { index, value: body } = match found.value {
        Some(value) => Answer { index: found.index, value },
        None => api.store.read(answer),
    };
    let found = Found { value: (), index: index.max(1), known_leader, last_contact_ms, consistency };
    let mut response = found.with_headers(Response::encoded_json(body));
    response.header(&names::CONSISTENCY, found.effective_consistency());
    Ok(response)
}

async fn wait_past<T>(
    api: &ServerApi,
    options: &ReadOptions,
    index: Index,
    topics: Vec<Topic>,
    ask: impl Fn(&State) -> Answer<T>,
) -> Result<Answer<T>, ApiError> {
    let deadline = tokio::time::Instant::now() + options.wait;
    let mut changed = api.store.watch(&topics);
    drop(topics);
    let _waiting = api.metrics.waiting();
    loop {
        barrier(api, options.consistency).await?;
        let answer = api.store.read(&ask);
        if answer.index > index {
            return Ok(answer);
        }
        tokio::select! {
            biased;
            () = &mut changed => {}
            () = tokio::time::sleep_until(deadline) => return Ok(answer),
        }
    }
}

/// Waits until a read of the local state is as fresh as that.
///
/// # Errors
/// 500 `No cluster leader`.
pub async fn barrier(api: &ServerApi, consistency: Consistency) -> Result<(), ApiError> {
    let mode = match consistency {
        Consistency::Stale => return Ok(()),
        Consistency::Default => ReadMode::Lease,
        Consistency::Consistent => ReadMode::Quorum,
    };
    let started = tokio::time::Instant::now();
    api.consensus.barrier(mode).await.map_err(|error| ApiError::internal(error.to_string()))?;
    if consistency == Consistency::Consistent {
        api.metrics.time(Timer::ConsistentRead, started.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(())
}

impl<T> Found<T> {
    /// The same with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Found<U> {
        let Found { value, index, known_leader, last_contact_ms, consistency } = self;
        Found { value: change(value), index, known_leader, last_contact_ms, consistency }
    }

    /// The value as JSON, with the headers of a read.
    pub fn json<V: Serialize + ?Sized>(&self, api: &AgentApi, request: &Request, view: &V) -> Response {
        self.with_headers(Response::json(request, api.limits.pretty, view))
    }

    /// An empty 404 with the headers of a read: clients wait from its index too.
    pub fn not_found(&self) -> Response {
        self.with_headers(Response::empty(StatusCode::NOT_FOUND))
    }

    /// Adds the headers of a read.
    pub fn with_headers(&self, mut response: Response) -> Response {
        let known_leader = if self.known_leader { "true" } else { "false" };
        response.header(&names::INDEX, self.index.into());
        response.header(&names::KNOWN_LEADER, HeaderValue::from_static(known_leader));
        let last_contact = match self.last_contact_ms {
            0 => HeaderValue::from_static("0"),
            ms => ms.into(),
        };
        response.header(&names::LAST_CONTACT, last_contact);
        response
    }

    /// How fresh the answer was asked to be, as the catalog and health families say it.
    pub fn effective_consistency(&self) -> HeaderValue {
        HeaderValue::from_static(match self.consistency {
            Consistency::Default => "leader",
            Consistency::Consistent => "consistent",
            Consistency::Stale => "stale",
        })
    }
}
