//! HTTP requests and DNS questions of a client, answered by a server as if they had come in there.
//!
//! A client keeps no state: what it is asked goes over whole, and what comes
//! back is passed on as it comes. Owns both ends of that, and no rule of HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use agent_raft::{Consensus, Refused, Rpc};
use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use tokio::sync::mpsc;

use super::frame::{DnsHead, Head, HttpHead, PAYLOAD_BYTES_MAX, ReplyHead};
use super::pool::{CallError, Lane, Pool};
use super::server::Serve;
use crate::dns::packet::MESSAGE_BYTES_MAX;
use crate::dns::{DnsDesk, Question, Reply};
use crate::env::BoxFuture;
use crate::http::error::ApiError;
use crate::http::response::Content;
use crate::http::{Api, Request, Response, handle};

/// Pieces of a response that wait for the client to take them.
const PIECES_MAX: usize = 8;

impl HttpHead {
    /// The head of a request as it came in over a socket.
    pub fn new(method: &Method, uri: &Uri, headers: &HeaderMap, peer: Option<SocketAddr>) -> Self {
        let headers =
            headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
        HttpHead { method: method.as_str().to_owned(), uri: uri.to_string(), headers, peer }
    }

    /// The request it stands for.
    ///
    /// # Errors
    /// 400 when it makes no sense.
    pub fn request(self, body: Bytes) -> Result<Request, ApiError> {
        let HttpHead { method, uri, headers, peer } = self;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| ApiError::bad_request("400 Bad Request"))?;
        let uri: Uri = uri.parse().map_err(|_| ApiError::bad_request("400 Bad Request"))?;
        Request::new(method, &uri, &header_map(headers), body, peer)
    }
}

/// Headers that HTTP does not allow are left out.
fn header_map(headers: Vec<(String, Vec<u8>)>) -> HeaderMap {
    let allowed = headers.into_iter().filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(&value).ok()?))
    });
    let mut map = HeaderMap::new();
    for (name, value) in allowed {
        map.append(name, value);
    }
    map
}

impl Pool {
    /// Has a server answer an HTTP request. The response's body may still be coming.
    ///
    /// # Errors
    /// [`CallError`]; after `NotSent` and `Refused` another server may be asked, whatever the method.
    pub async fn forward_http(&self, to: SocketAddr, head: HttpHead, body: Bytes) -> Result<Response, CallError> {
        let (head, mut reader) = self.call(to, Lane::Requests, &Head::Http(head), body).await?;
        let (status, headers, size_bytes) = match head {
            ReplyHead::Http { status, headers, size_bytes } => (status, headers, size_bytes),
            ReplyHead::Refused(why) => return Err(CallError::Refused(why)),
            ReplyHead::Done | ReplyHead::Dns(_) => {
                return Err(CallError::Lost("the answer is no http response".to_owned()));
            }
        };
        let status = StatusCode::from_u16(status).map_err(|error| CallError::Lost(error.to_string()))?;
        let body = match size_bytes {
            Some(_) => {
                let rest = reader.rest(PAYLOAD_BYTES_MAX).await;
                Content::Whole(rest.map_err(|error| CallError::Lost(error.to_string()))?)
            }
            None => {
                let (sender, pieces) = mpsc::channel(PIECES_MAX);
                tokio::spawn(pass_on(reader, sender));
                Content::Stream(pieces)
            }
        };
        Ok(Response { status, headers: header_map(headers), body })
    }

    /// Has a server answer a DNS question.
    ///
    /// # Errors
    /// [`CallError`]; after any of them another server may be asked.
    pub async fn forward_dns(&self, to: SocketAddr, question: Question) -> Result<Reply, CallError> {
        let Question { head, packet } = question;
        let (head, mut reader) = self.call(to, Lane::Requests, &Head::Dns(head), packet).await?;
        let head = match head {
            ReplyHead::Dns(head) => head,
            ReplyHead::Refused(why) => return Err(CallError::Refused(why)),
            ReplyHead::Done | ReplyHead::Http { .. } => {
                return Err(CallError::Lost("the answer is no dns answer".to_owned()));
            }
        };
        let packet = reader.rest(MESSAGE_BYTES_MAX).await.map_err(|error| CallError::Lost(error.to_string()))?;
        Ok(Reply { head, packet })
    }
}

/// Passes a body on until it ends or nobody takes it any more.
async fn pass_on(mut reader: super::frame::Reader<hyper::body::Incoming>, sender: mpsc::Sender<Bytes>) {
    loop {
        let piece = tokio::select! {
            biased;
            () = sender.closed() => return,
            piece = reader.next() => piece,
        };
        let Ok(Some(piece)) = piece else { return };
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
    pub api: Arc<Api>,
    /// Answers DNS questions.
    pub dns: DnsDesk,
}

impl Serve for ServerDesk {
    fn raft(&self, rpc: Rpc, message: Bytes) -> BoxFuture<'static, Result<Vec<u8>, Refused>> {
        let consensus = self.consensus.clone();
        Box::pin(async move { consensus.handle(rpc, &message).await })
    }

    fn http(&self, head: HttpHead, body: Bytes) -> BoxFuture<'static, Response> {
        let api = self.api.clone();
        Box::pin(async move {
            match head.request(body) {
                Ok(request) => handle(&api, request).await,
                Err(error) => error.response(),
            }
        })
    }

    fn dns(&self, head: &DnsHead, packet: &[u8]) -> Result<Reply, String> {
        self.dns.answer(head, packet)
    }
}
