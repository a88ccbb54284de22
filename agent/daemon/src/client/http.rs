//! HTTP requests that come in at a client and are answered by a server.
//!
//! Owns what of the API's rules a client has to know for that: what may be
//! asked again, how long a blocking query may take, and which of the answers
//! kept from better times may stand in when no server can be reached (those to
//! `?stale` queries, with their age in the headers).

use bytes::Bytes;
use hyper::header::{AGE, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use tokio::time::Instant;

use super::{Patience, Servers, Unanswered};
use crate::http::error::ApiError;
use crate::http::query::{Consistency, ReadOptions};
use crate::http::response::{Content, names};
use crate::http::{ClientApi, Request, Response, question_of};
use crate::rpc::{CallError, Head, HttpHead};

/// What a server says that has no leader. Nothing was read or written.
const NO_LEADER: &[u8] = b"No cluster leader";

/// What a server says whose Raft has ended, before the rest of it has.
const STOPPED: &[u8] = b"raft has stopped";

/// An answer that was given by a server.
#[derive(Clone, Debug)]
pub struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl ClientApi {
    /// Has a server answer.
    ///
    /// # Errors
    /// None could; 500 in Consul's words.
    pub async fn by_server(&self, request: &Request) -> Result<Response, ApiError> {
        let servers = &self.servers;
        let options = match request.method {
            Method::GET => ReadOptions::parse(self, request).ok(),
            _ => None,
        };
        let question = options.as_ref().map(|_| question_of(request));
        let patience = patience(servers, request, options.as_ref(), question.as_deref());
        let head = Head::Http(HttpHead::of(request, &self.identity.node_name));
        let answered = servers.ask(patience, |to| {
            let (head, body) = (&head, request.body.clone());
            async move {
                let response = servers.pool.forward_http(to, head, body).await?;
                match complaint(&response) {
                    Some(STOPPED) if patience.repeatable => Err(CallError::Lost("raft has stopped".to_owned())),
                    Some(_) => {
                        servers.fail(to);
                        Ok(response)
                    }
                    None => Ok(response),
                }
            }
        });
        match (answered.await, question) {
            (Ok(response), question) => {
                if let Some(question) = question {
                    servers.remember(&question, &response);
                }
                Ok(response)
            }
            (Err(failure), Some(question)) if may_be_old(options.as_ref()) => {
                servers.recall(&question).map(|(seen, age_ms)| seen.response(age_ms)).ok_or_else(|| refused(&failure))
            }
            (Err(failure), _) => Err(refused(&failure)),
        }
    }
}

fn refused(failure: &Unanswered) -> ApiError {
    ApiError::internal(failure.to_string())
}

fn may_be_old(options: Option<&ReadOptions>) -> bool {
    options.is_some_and(|options| options.consistency == Consistency::Stale)
}

/// What a server that can't answer complains of.
fn complaint(response: &Response) -> Option<&'static [u8]> {
    let is_failure = response.status == StatusCode::INTERNAL_SERVER_ERROR;
    [NO_LEADER, STOPPED].into_iter().find(|complaint| is_failure && response.whole().starts_with(complaint))
}

/// How long servers may take and are tried. A query that may be answered with what is kept does not wait for servers to
/// come back, unless it waits for something newer anyway.
pub(super) fn patience(
    servers: &Servers,
    request: &Request,
    options: Option<&ReadOptions>,
    question: Option<&str>,
) -> Patience {
    let (now, hold_time) = (Instant::now(), servers.hold_time);
    let kept = question.filter(|_| may_be_old(options)).and_then(|question| servers.recall(question));
    let waits = options.filter(|options| options.index > 0);
    let until = match (kept, waits) {
        (Some((seen, _)), Some(options)) if seen.index() == Some(options.index) => now + options.wait,
        (Some(_), _) => now,
        (None, _) => now + hold_time,
    };
    let repeatable = matches!(request.method, Method::GET | Method::HEAD);
    // A server holds a question itself while it has no leader.
    let limit = (repeatable && waits.is_none()).then(|| hold_time + hold_time / 2);
    Patience { until, repeatable, limit }
}

impl Servers {
    pub(super) fn remember(&self, question: &str, response: &Response) {
        let Content::Whole(body) = &response.body else { return };
        if response.status.is_server_error() || !response.headers.contains_key(&names::INDEX) {
            return;
        }
        let seen = Seen { status: response.status, headers: response.headers.clone(), body: body.clone() };
        let size = body.len() + response.headers.len() * 64;
        self.seen().keep(self.env.now(), question.as_bytes(), seen, size);
    }

    /// The newest answer to a question and its age in milliseconds.
    pub(super) fn recall(&self, question: &str) -> Option<(Seen, u64)> {
        let (seen, since) = self.seen().find(question.as_bytes())?;
        let age = self.env.now().saturating_since(since);
        Some((seen, u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Seen {
    fn index(&self) -> Option<u64> {
        self.headers.get(&names::INDEX)?.to_str().ok()?.parse().ok()
    }

    /// The response, which says how old it is.
    pub(super) fn response(self, age_ms: u64) -> Response {
        let Seen { status, headers, body } = self;
        let mut response = Response { status, headers, body: Content::Whole(body) };
        response.header(&names::LAST_CONTACT, age_ms.max(1).into());
        response.header(&names::KNOWN_LEADER, HeaderValue::from_static("false"));
        response.header(&AGE, (age_ms / 1000).into());
        if response.headers.contains_key(&names::CONSISTENCY) {
            response.header(&names::CONSISTENCY, HeaderValue::from_static("stale"));
        }
        response
    }
}
