//! Reads requests off sockets and writes responses, within bounds.
//!
//! One task a connection. A client that goes away drops the task, and with it
//! whatever the handler was waiting for. Knows nothing of endpoints.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::sync::SemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::error::ApiError;
use super::request::{self, Request};
use super::request_line::RequestLines;
use super::response::{Content, Response};
use super::routes::{BodyLimit, OTHER_BYTES_MAX, body_limit};
use super::{Api, respond};
use crate::accept;
use crate::env::{Listener, Stream};
use crate::shedding::BODY_TIMEOUT;

/// How long a connection may take to send a request's head, idle time between requests included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(600);

/// What Consul says to an address with too many connections.
const TOO_MANY: &str = "Your IP is issuing too many concurrent connections, please rate limit your calls\n";

/// Serves connections of `listener` until `stop` resolves, then lets running requests finish for a moment.
pub async fn serve(listener: Box<dyn Listener>, api: Arc<Api>, stop: impl Future<Output = ()>) {
    let peers = Peers::default();
    let admit = |open: &mut JoinSet<()>, stream, peer| {
        let max = api.adjustable.load().connections_per_client_max;
        match peers.admit(peer, max) {
            Some(place) => drop(open.spawn(connection(stream, peer, Arc::clone(&api), place))),
            None => drop(open.spawn(turn_away(stream))),
        }
    };
    accept::connections(listener, "a connection", admit, stop).await;
}

async fn connection(stream: Box<dyn Stream>, peer: Option<SocketAddr>, api: Arc<Api>, place: Option<Place>) {
    let bodiless = AtomicBool::new(false);
    let service = service_fn(|message: hyper::Request<Incoming>| {
        let api = &api;
        let (head, body) = message.into_parts();
        bodiless.store(body.is_end_stream(), Ordering::Relaxed);
        let request = Request::new(head.method, &head.uri, &head.headers, Bytes::new(), peer);
        async move { Ok::<_, Infallible>(answer(api, request, body).await) }
    });
    // Nothing of this is kept while the connection lasts: there may be thousands.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(api.limits.buffer_bytes_max)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(RequestLines::new(stream, &bodiless)), service);
    if let Err(error) = connection.await {
        tracing::debug!(error = %error, "connection ended");
    }
    drop(place);
}

async fn turn_away(mut stream: Box<dyn Stream>) {
    let head = format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        TOO_MANY.len()
    );
    // Whoever opens too many connections may also be gone already.
    let _ = timeout(Duration::from_secs(1), stream.write_all(format!("{head}{TOO_MANY}").as_bytes())).await;
}

async fn answer(api: &Api, request: Result<Request, ApiError>, body: Incoming) -> hyper::Response<Content> {
    let response = match request {
        Ok(mut request) => match api.shedding.admit(&request) {
            Ok(()) => match read_body(api, &mut request, body).await {
                // In a box, so that the many requests that never wait don't carry room for it.
                Ok(_room) if api.shedding.may_let_go(&request) => {
                    Box::pin(api.shedding.or_let_go(respond(api, &mut request))).await
                }
                Ok(_room) => respond(api, &mut request).await,
                Err(error) => error.last_response(),
            },
            Err(error) => error.last_response(),
        },
        Err(error) => error.response(),
    };
    let Response { status, headers, body } = response;
    let mut message = hyper::Response::new(body);
    *message.status_mut() = status;
    *message.headers_mut() = headers;
    message
}

/// Takes the body in. Returns its room among those of other requests, where memory is limited.
async fn read_body<'a>(
    api: &'a Api,
    request: &mut Request,
    body: Incoming,
) -> Result<Option<SemaphorePermit<'a>>, ApiError> {
    if body.is_end_stream() {
        return Ok(None);
    }
    let (max, setting) = match body_limit(&request.method, &request.path) {
        BodyLimit::KvValue => (api.limits.kv_value_bytes_max, "kv_max_value_size"),
        BodyLimit::Txn => (api.limits.txn_bytes_max, "txn_max_req_len"),
        BodyLimit::Other => (OTHER_BYTES_MAX, "http_config"),
    };
    let announced = body.size_hint().lower();
    if announced > max as u64 {
        return Err(ApiError::too_large(announced, max, setting));
    }
    let room = api.shedding.room_for(body.size_hint().exact().unwrap_or(max as u64))?;
    // In a box, so that the many requests without a body don't carry room for reading one.
    let read = Box::pin(async {
        let body = Limited::new(body, max).collect();
        match room {
            Some(_) => timeout(BODY_TIMEOUT, body).await.unwrap_or_else(|_| Err("it took too long".into())),
            None => body.await,
        }
    });
    match read.await {
        Ok(body) => {
            request.body = body.to_bytes();
            Ok(room)
        }
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(ApiError::too_large(max as u64 + 1, max, setting))
        }
        Err(error) => Err(ApiError::bad_request(format!("could not read the request body: {error}"))),
    }
}

/// Open connections by client address.
#[derive(Clone, Default)]
struct Peers {
    open: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// A connection's place among those of its client; given back when dropped.
struct Place {
    peers: Peers,
    address: IpAddr,
}

impl Peers {
    /// A place for a connection, or `None` when its address has `max` already. Unix sockets need none.
    #[expect(clippy::option_option, reason = "outer: admitted, inner: counted")]
    fn admit(&self, peer: Option<SocketAddr>, max: usize) -> Option<Option<Place>> {
        let Some(peer) = peer else { return Some(None) };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(peer.ip()).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Some(Place { peers: self.clone(), address: peer.ip() }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.peers.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// Decodes the key out of a KV path, as the router would: for the fuzzer.
pub fn kv_key(raw_path: &str) -> Option<String> {
    request::decode(raw_path, false)?.strip_prefix("/v1/kv/").map(str::to_owned)
}
