//! The side that is asked: reads requests off port 8300 and hands them to [`Serve`].
//!
//! Owns the checks of a connection's first request and all bounds: connections,
//! streams, sizes, and the bytes of all requests together. Knows nothing of
//! what the requests mean.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_raft::{Refused, Rpc};
use bytes::Bytes;
use http_body_util::Limited;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::Identity;
use super::frame::{
    CatalogHead, DnsHead, FrameError, Framed, HEAD_BYTES_MAX, Head, Hello, HttpHead, PAYLOAD_BYTES_MAX, Reader,
    ReplyHead,
};
use crate::accept;
use crate::dns::Reply;
use crate::env::{BoxFuture, Listener, Stream};
use crate::http::Response;
use crate::http::response::Content;
use crate::telemetry::Counter;

/// Connections at the same time. A client has up to three, a server of five too.
const CONNECTIONS_MAX: usize = 8_192;

/// Requests at the same time on one connection; most of them are blocking queries.
pub(super) const STREAMS_MAX: u32 = 16_384;

/// The bytes of all requests that are being read or worked on, in KiB.
const BUDGET_KIB: u32 = 256 << 10;

/// How long a request may take to arrive, and how long a connection may take to say who it is.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a silent connection is asked whether it still lives.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long it may take to say so.
pub(super) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest request of somebody who has not said who it is, in bytes: names, and nothing else.
const HELLO_BYTES_MAX: u64 = 4 << 10;

/// Why a request of somebody unknown is refused.
const ANONYMOUS: &str = "the first request must say who it comes from";

/// Refusals remembered as logged; after that they are only counted.
const LOGGED_MAX: usize = 1024;

/// The longest reason that is logged, and remembered, in bytes: names in it are as long as whoever sends them likes.
const LOGGED_BYTES_MAX: usize = 256;

/// What answers requests.
pub trait Serve: Send + Sync + 'static {
    /// Told of every request that was handed on, and of everything refused, for metrics.
    fn counted(&self, _: Counter) {}

    /// Answers a message of Raft.
    fn raft(&self, rpc: Rpc, message: Bytes) -> BoxFuture<'static, Result<Vec<u8>, Refused>>;

    /// Answers an HTTP request as if it had come in here. Dropped when whoever asked is gone.
    fn http(&self, head: HttpHead, body: Bytes) -> BoxFuture<'static, Response>;

    /// Reads or writes an agent's own records in the catalog; refuses what is not that. Dropped when whoever asked is
    /// gone, which leaves the outcome of a write open.
    fn catalog(&self, head: CatalogHead, payload: Bytes) -> BoxFuture<'static, Result<Vec<u8>, String>>;

    /// Answers a DNS question, at once.
    ///
    /// # Errors
    /// Why it is refused.
    fn dns(&self, head: &DnsHead, packet: &[u8]) -> Result<Reply, String>;
}

/// What happened so far, for metrics.
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests that were handed on.
    pub served: AtomicU64,
    /// Requests and connections that were refused.
    pub refused: AtomicU64,
}

/// The server, as connections see it.
struct Desk {
    identity: Identity,
    serve: Arc<dyn Serve>,
    counts: Arc<Counts>,
    budget: Arc<Semaphore>,
    /// Whom what was refused, of those that were logged.
    logged: Mutex<BTreeSet<(Option<IpAddr>, String)>>,
}

/// One connection.
struct Caller {
    peer: Option<SocketAddr>,
    /// It began to say who it is, for which it has one chance.
    is_greeting: AtomicBool,
    /// It said who it is, and may stay.
    is_known: AtomicBool,
}

/// Serves connections of `listener` until `stop` resolves, then lets running requests finish for a moment.
pub async fn serve(
    listener: Box<dyn Listener>,
    identity: Identity,
    serve: Arc<dyn Serve>,
    counts: Arc<Counts>,
    stop: impl Future<Output = ()>,
) {
    let budget = Arc::new(Semaphore::new(BUDGET_KIB as usize));
    let desk = Arc::new(Desk { identity, serve, counts, budget, logged: Mutex::default() });
    let (closing, told) = watch::channel(false);
    let admit = |open: &mut JoinSet<()>, stream, peer| {
        if open.len() >= CONNECTIONS_MAX {
            return desk.refuse(peer, "there are too many connections");
        }
        open.spawn(connection(desk.clone(), stream, peer, told.clone()));
    };
    let stop = async {
        stop.await;
        // Whoever asks something new from now on learns that it was not received, and asks another server.
        closing.send_replace(true);
    };
    accept::connections(listener, "an rpc connection", admit, stop).await;
}

async fn connection(
    desk: Arc<Desk>,
    stream: Box<dyn Stream>,
    peer: Option<SocketAddr>,
    mut closing: watch::Receiver<bool>,
) {
    let caller = Arc::new(Caller { peer, is_greeting: AtomicBool::new(false), is_known: AtomicBool::new(false) });
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (desk, caller) = (desk.clone(), caller.clone());
        async move { Ok::<_, Infallible>(hyper::Response::new(desk.answer(&caller, request.into_body()).await)) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).auto_date_header(false);
    builder.max_concurrent_streams(STREAMS_MAX).max_header_list_size(4 << 10).max_send_buf_size(256 << 10);
    // All of them may have been given up while this agent stood still; as few as the library allows would end the
    // connection, and with it whatever others wait for.
    builder.max_pending_accept_reset_streams(STREAMS_MAX as usize);
    builder.initial_stream_window_size(1 << 20).initial_connection_window_size(4 << 20);
    builder.keep_alive_interval(Some(KEEP_ALIVE)).keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut is_closing = false;
    let is_anonymous = async {
        tokio::time::sleep(READ_TIMEOUT).await;
        if caller.is_known.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
    };
    let mut is_anonymous = std::pin::pin!(is_anonymous);
    loop {
        tokio::select! {
            biased;
            ended = &mut served => {
                return match ended {
                    Ok(()) => {}
                    Err(error) if !caller.is_known.load(Ordering::Acquire) && is_nonsense(&error) => {
                        desk.refuse(peer, "it does not speak our language");
                    }
                    Err(error) => tracing::debug!(error = %error, "rpc connection ended"),
                };
            }
            () = &mut is_anonymous => return desk.refuse(peer, "it does not say who it is"),
            // An error means that the server is gone, and this with it.
            Ok(_) = closing.wait_for(|closing| *closing), if !is_closing => {
                is_closing = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

impl Desk {
    /// Counts a refusal, and logs it the first time that this host is refused for this reason: who is refused comes again.
    fn refuse(&self, peer: Option<SocketAddr>, why: &str) {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        self.serve.counted(Counter::RpcRefused);
        let why = &why[..why.floor_char_boundary(LOGGED_BYTES_MAX)];
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = logged.len() < LOGGED_MAX && logged.insert((peer.map(|peer| peer.ip()), why.to_owned()));
        drop(logged);
        if is_news {
            let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
            tracing::warn!(peer, "refused an rpc: {why}");
        }
    }

    async fn answer(&self, caller: &Caller, body: Incoming) -> Framed {
        match self.try_answer(caller, body).await {
            Ok(framed) => framed,
            Err(why) => {
                self.refuse(caller.peer, &why);
                Framed::whole(&ReplyHead::Refused(why), Bytes::new())
            }
        }
    }

    async fn try_answer(&self, caller: &Caller, body: Incoming) -> Result<Framed, String> {
        let is_known = caller.is_known.load(Ordering::Acquire);
        if !is_known && caller.is_greeting.swap(true, Ordering::AcqRel) {
            return Err(ANONYMOUS.to_owned());
        }
        let (head, payload, budget) = match tokio::time::timeout(READ_TIMEOUT, self.read(body, is_known)).await {
            Ok(read) => read?,
            Err(_) => return Err("it came too slowly".to_owned()),
        };
        match head {
            Head::Hello(hello) => {
                self.check(&hello)?;
                caller.is_known.store(true, Ordering::Release);
                return Ok(Framed::whole(&ReplyHead::Done, Bytes::new()));
            }
            Head::Raft(_) | Head::Http(_) | Head::Dns(_) | Head::Catalog(_) if !is_known => {
                return Err(ANONYMOUS.to_owned());
            }
            _ => self.counts.served.fetch_add(1, Ordering::Relaxed),
        };
        self.serve.counted(Counter::RpcRequest);
        match head {
            Head::Hello(_) => Err("it said already who it is".to_owned()),
            Head::Raft(rpc) => {
                // In a task of its own: who gives up waiting does not undo what was begun.
                let answer = self.serve.raft(rpc, payload);
                let answer = tokio::spawn(async move {
                    let answer = answer.await;
                    drop(budget);
                    answer
                });
                let answer = answer.await.map_err(|_| "raft broke".to_owned())?;
                let answer = answer.map_err(|refused| refused.to_string())?;
                Ok(Framed::whole(&ReplyHead::Done, answer.into()))
            }
            Head::Http(head) => {
                // A blocking query has no body worth counting, and stays for minutes.
                drop(budget);
                Ok(http_reply(self.serve.http(head, payload).await))
            }
            Head::Catalog(head) => {
                let answer = self.serve.catalog(head, payload).await?;
                Ok(Framed::whole(&ReplyHead::Done, answer.into()))
            }
            Head::Dns(head) => {
                let Reply { head, packet } = self.serve.dns(&head, &payload)?;
                Ok(Framed::whole(&ReplyHead::Dns(head), packet))
            }
        }
    }

    /// Reads a request once there is room for it. Who has not said who it is gets no room to speak of.
    async fn read(&self, body: Incoming, is_known: bool) -> Result<(Head, Bytes, OwnedSemaphorePermit), String> {
        let max = if is_known { PAYLOAD_BYTES_MAX as u64 + HEAD_BYTES_MAX as u64 } else { HELLO_BYTES_MAX };
        // Without an announced length, as much as there may be.
        let size = body.size_hint().exact().unwrap_or(max);
        if size > max {
            let too_large = || FrameError::TooLarge(PAYLOAD_BYTES_MAX).to_string();
            return Err(if is_known { too_large() } else { ANONYMOUS.to_owned() });
        }
        let kib = u32::try_from(size.div_ceil(1024)).unwrap_or(BUDGET_KIB);
        let permit = self.budget.clone().acquire_many_owned(kib).await.expect("it is never closed");
        let mut reader = Reader::new(Limited::new(body, usize::try_from(max).unwrap_or(usize::MAX)));
        let read = async {
            let head = reader.head().await?;
            Ok::<_, FrameError>((head, reader.rest(PAYLOAD_BYTES_MAX).await?))
        };
        let (head, payload) = read.await.map_err(|error| error.to_string())?;
        Ok((head, payload, permit))
    }

    fn check(&self, hello: &Hello) -> Result<(), String> {
        let Hello { datacenter, node, cluster } = hello;
        let ours = &self.identity.datacenter;
        if !datacenter.eq_ignore_ascii_case(ours) {
            return Err(format!("agent {node} is of data centre {datacenter}, this is {ours}"));
        }
        match (cluster, (self.identity.cluster)()) {
            (Some(theirs), Some(ours)) if *theirs != ours => {
                Err(format!("server {node} belongs to another cluster: start it with an empty -data-dir"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a connection ended for what was sent on it, and not because it broke or nothing was sent.
fn is_nonsense(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| !cause.is_io())
}

fn http_reply(Response { status, headers, body }: Response) -> Framed {
    let headers = headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    let size_bytes = match &body {
        Content::Whole(bytes) => Some(bytes.len() as u64),
        Content::Stream(_) => None,
    };
    Framed::streamed(&ReplyHead::Http { status: status.as_u16(), headers, size_bytes }, body)
}
