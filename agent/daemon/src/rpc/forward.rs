//! HTTP requests and DNS questions of a client, answered by a server as if they had come in there.
//!
//! A client keeps no state: what it is asked goes over whole, and what comes
//! back is passed on as it comes. Owns both ends of that, and no rule of HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use agent_core::state::Command;
use agent_raft::{Consensus, Refused, Rpc};
use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use tokio::sync::mpsc;

use super::calls::Pieces;
use super::frame::{CatalogHead, DnsHead, Head, HttpHead, ReplyHead};
use super::pool::{CallError, Lane, Pool};
use super::server::Serve;
use crate::dns::packet::MESSAGE_BYTES_MAX;
use crate::dns::{DnsDesk, Question, Reply};
use crate::env::BoxFuture;
use crate::http::authorize::Authorizer;
use crate::http::error::ApiError;
use crate::http::request::encode_path;
use crate::http::response::{Content, names};
use crate::http::{Request, Response, ServerApi, respond_to_agent};
use crate::sync::Catalog;
use crate::telemetry::Counter;

/// Pieces of a response that wait for the client to take them.
const TAKEN_MAX: usize = 8;

impl<'a> HttpHead<'a> {
    /// The head of a request that came in at `agent`, or was passed on to it.
    pub fn of(request: &'a Request, agent: &'a str) -> Self {
        let mut uri = encode_path(&request.path);
        if let Some(query) = &request.raw_query {
            uri.push('?');
            uri.push_str(query);
        }
        HttpHead {
            method: request.method.as_str(),
            uri: uri.into(),
            token: request.authorizer.token(),
            agent: request.agent.as_deref().unwrap_or(agent),
            peer: request.peer,
        }
    }

    /// The request it stands for.
    ///
    /// # Errors
    /// 400 when it makes no sense.
    pub fn request(self, body: Bytes) -> Result<Request, ApiError> {
        let HttpHead { method, uri, token, agent, peer } = self;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| ApiError::bad_request("400 Bad Request"))?;
        let uri: Uri = uri.parse().map_err(|_| ApiError::bad_request("400 Bad Request"))?;
        let request = Request::new(method, &uri, &HeaderMap::new(), body, peer)?;
        Ok(Request { authorizer: Authorizer::new(token.to_owned()), agent: Some(agent.into()), ..request })
    }
}

/// Headers that HTTP does not allow are left out. Their values stay where they arrived, in `message`.
fn header_map(headers: &[(&str, &[u8])], message: &Bytes) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let value = HeaderValue::from_maybe_shared(message.slice_ref(value));
        if let (Some(name), Ok(value)) = (header_name(name), value) {
            map.append(name, value);
        }
    }
    map
}

/// Most are known, and cost no memory.
fn header_name(name: &str) -> Option<HeaderName> {
    let known = [&names::INDEX, &names::KNOWN_LEADER, &names::LAST_CONTACT, &names::CONSISTENCY];
    let found = known.into_iter().find(|known| known.as_str() == name).cloned();
    found.or_else(|| HeaderName::from_bytes(name.as_bytes()).ok())
}

impl Pool {
    /// Has a server answer an HTTP request. The response's body may still be coming.
    ///
    /// # Errors
    /// [`CallError`]; after `NotSent` and `Refused` another server may be asked, whatever the method.
    pub async fn forward_http(&self, to: SocketAddr, head: &Head<'_>, body: Bytes) -> Result<Response, CallError> {
        let mut answer = self.call(to, Lane::Requests, head, body).await?;
        let pieces = answer.pieces.take();
        let (status, headers, body) = match answer.open()? {
            (ReplyHead::Http { status, headers }, body) => (status, header_map(&headers, answer.message()), body),
            (ReplyHead::Refused(why), _) => return Err(CallError::Refused(why.into_owned())),
            (ReplyHead::Done | ReplyHead::Dns(_), _) => {
                return Err(CallError::Lost("the answer is no http response".to_owned()));
            }
        };
        let status = StatusCode::from_u16(status).map_err(|error| CallError::Lost(error.to_string()))?;
        let body = match pieces {
            None => Content::Whole(body),
            Some(pieces) => {
                let (sender, receiver) = mpsc::channel(TAKEN_MAX);
                tokio::spawn(pass_on(pieces, sender));
                Content::Stream(receiver)
            }
        };
        Ok(Response { status, headers, body })
    }

    /// Has a server answer a DNS question.
    ///
    /// # Errors
    /// [`CallError`]; after any of them another server may be asked.
    pub async fn forward_dns(&self, to: SocketAddr, question: Question) -> Result<Reply, CallError> {
        let Question { head, packet } = question;
        let answer = self.call(to, Lane::Requests, &Head::Dns(head), packet).await?;
        match answer.open()? {
            (ReplyHead::Dns(_), packet) if packet.len() > MESSAGE_BYTES_MAX => {
                Err(CallError::Lost("the answer is longer than dns allows".to_owned()))
            }
            (ReplyHead::Dns(head), packet) => Ok(Reply { head, packet }),
            (ReplyHead::Refused(why), _) => Err(CallError::Refused(why.into_owned())),
            (ReplyHead::Done | ReplyHead::Http { .. }, _) => {
                Err(CallError::Lost("the answer is no dns answer".to_owned()))
            }
        }
    }
}

/// Passes a body on until it ends or nobody takes it any more.
async fn pass_on(mut pieces: Pieces, sender: mpsc::Sender<Bytes>) {
    loop {
        let piece = tokio::select! {
            biased;
            () = sender.closed() => return,
            piece = pieces.next() => piece,
        };
        let Some(piece) = piece else { return };
        if sender.send(piece).await.is_err() {
            return;
        }
    }
}

/// What a server answers others with.
pub struct ServerDesk {
    /// The consensus handle.
    pub consensus: Consensus,
    /// The HTTP API.
    pub api: Arc<ServerApi>,
    /// The catalog, for the records of client agents.
    pub catalog: Arc<dyn Catalog>,
    /// Answers DNS questions.
    pub dns: DnsDesk,
}

impl Serve for ServerDesk {
    fn counted(&self, counter: Counter) {
        self.api.agent.metrics.count(counter);
    }

    fn raft(&self, rpc: Rpc, message: Bytes) -> BoxFuture<'static, Result<Vec<u8>, Refused>> {
        let consensus = self.consensus.clone();
        Box::pin(async move { consensus.handle(rpc, &message).await })
    }

    fn http(&self, head: HttpHead<'_>, body: Bytes) -> BoxFuture<'static, Response> {
        let api = self.api.clone();
        match head.request(body) {
            Ok(request) => Box::pin(async move { respond_to_agent(&api, request).await }),
            Err(error) => Box::pin(std::future::ready(error.response())),
        }
    }

    fn catalog(&self, head: CatalogHead, payload: Bytes) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        let catalog = Arc::clone(&self.catalog);
        Box::pin(async move { answer_agent(&*catalog, head, &payload).await })
    }

    fn dns(&self, head: &DnsHead, packet: &[u8]) -> Result<Reply, String> {
        self.dns.answer(head, packet)
    }
}

/// Reads or writes the catalog for another agent.
///
/// # Errors
/// Nothing was done, because it asked for what agents must not do here.
async fn answer_agent(catalog: &dyn Catalog, head: CatalogHead, payload: &[u8]) -> Result<Vec<u8>, String> {
    let answer = match head {
        CatalogHead::Write => {
            let command = postcard::from_bytes(payload).map_err(|error| format!("the command is damaged: {error}"))?;
            match command {
                Command::Register(_) | Command::Deregister { .. } => {
                    postcard::to_allocvec(&catalog.write(command).await)
                }
                _ => return Err("an agent registers and deregisters; other commands come by http".to_owned()),
            }
        }
        CatalogHead::Read { node, past } => postcard::to_allocvec(&catalog.read(&node, past).await),
    };
    answer.map_err(|error| error.to_string())
}
