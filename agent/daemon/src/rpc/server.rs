//! The side that is asked: reads requests off port 8300 and hands them to [`Serve`].
//!
//! Owns the checks of a connection's first request and all bounds: connections,
//! streams, sizes, and the bytes of all requests together. Knows nothing of
//! what the requests mean.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use agent_raft::{Refused, Rpc};
use bytes::Bytes;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::Identity;
use super::frame::{CatalogHead, DnsHead, FrameError, Head, Hello, HttpHead, ReplyHead};
use super::link::Link;
use super::serving::{READ_TIMEOUT, Serving, Works};
use crate::env::{BoxFuture, Listener, Stream};
use crate::http::Response;
use crate::telemetry::Counter;
use crate::{accept, dns};

/// Connections at the same time. A client has up to three, a server of five too.
const CONNECTIONS_MAX: usize = 8_192;

/// The bytes of all requests that are being read or worked on, in KiB.
const BUDGET_KIB: usize = 256 << 10;

/// Why a request of somebody unknown is refused.
pub(super) const ANONYMOUS: &str = "the first request must say who it comes from";

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
    fn http(&self, head: HttpHead<'_>, body: Bytes) -> BoxFuture<'static, Response>;

    /// Reads or writes an agent's own records in the catalog; refuses what is not that. Dropped when whoever asked is
    /// gone, which leaves the outcome of a write open.
    fn catalog(&self, head: CatalogHead, payload: Bytes) -> BoxFuture<'static, Result<Vec<u8>, String>>;

    /// Answers a DNS question, at once.
    ///
    /// # Errors
    /// Why it is refused.
    fn dns(&self, head: &DnsHead, packet: &[u8]) -> Result<dns::Reply, String>;
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
pub(super) struct Desk {
    identity: Identity,
    serve: Arc<dyn Serve>,
    counts: Arc<Counts>,
    pub(super) budget: Arc<Semaphore>,
    /// Whom what was refused, of those that were logged.
    logged: Mutex<BTreeSet<(Option<IpAddr>, String)>>,
}

/// One connection's other end.
pub(super) struct Caller {
    pub(super) peer: Option<SocketAddr>,
    /// It said who it is, and may stay.
    is_known: AtomicBool,
}

impl Caller {
    pub(super) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Acquire)
    }
}

/// What is answered.
pub(super) enum Reply {
    /// Nothing was done, and why.
    Refused(String),
    /// A head and its payload.
    Whole(ReplyHead<'static>, Bytes),
    /// An HTTP response, whose body may come in pieces.
    Http(Response),
}

/// A request that is being worked on.
pub(super) enum Work {
    /// It is done.
    Ready(Option<Reply>),
    /// By Raft.
    Raft(BoxFuture<'static, Result<Vec<u8>, Refused>>),
    /// By a handler of HTTP.
    Http(BoxFuture<'static, Response>),
    /// By the catalog.
    Catalog(BoxFuture<'static, Result<Vec<u8>, String>>),
}

impl Work {
    /// Whether it ends when nobody waits for it any more. What Raft has begun is not undone.
    pub(super) fn may_end(&self) -> bool {
        !matches!(self, Work::Raft(_))
    }
}

impl Future for Work {
    type Output = Reply;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reply> {
        let done = |answer: Result<Vec<u8>, String>| match answer {
            Ok(answer) => Reply::Whole(ReplyHead::Done, answer.into()),
            Err(why) => Reply::Refused(why),
        };
        match self.get_mut() {
            Work::Ready(reply) => Poll::Ready(reply.take().expect("it is asked for once")),
            Work::Raft(work) => {
                work.as_mut().poll(context).map(|answer| done(answer.map_err(|refused| refused.to_string())))
            }
            Work::Http(work) => work.as_mut().poll(context).map(Reply::Http),
            Work::Catalog(work) => work.as_mut().poll(context).map(done),
        }
    }
}

/// Serves connections of `listener` until `stop` resolves, then lets running requests finish for a moment.
pub async fn serve(
    listener: Box<dyn Listener>,
    identity: Identity,
    serve: Arc<dyn Serve>,
    counts: Arc<Counts>,
    stop: impl Future<Output = ()>,
) {
    let budget = Arc::new(Semaphore::new(BUDGET_KIB));
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
    let caller = Arc::new(Caller { peer, is_known: AtomicBool::new(false) });
    let link = Arc::new(Link::new(Works::default()));
    let mut serving = Serving::new(desk.clone(), caller.clone(), link.clone());
    let mut served = std::pin::pin!(link.run(stream, &mut serving));
    let mut is_closing = false;
    let is_anonymous = async {
        tokio::time::sleep(READ_TIMEOUT).await;
        if caller.is_known() {
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
                    Err(FrameError::Silent) if !caller.is_known() => desk.refuse(peer, "it does not say who it is"),
                    Err(error @ (FrameError::Broken(_) | FrameError::Silent)) => {
                        tracing::debug!(%error, "rpc connection ended");
                    }
                    Err(nonsense) => desk.refuse(peer, &nonsense.to_string()),
                };
            }
            () = &mut is_anonymous => return desk.refuse(peer, "it does not say who it is"),
            // An error means that the server is gone, and this with it.
            Ok(_) = closing.wait_for(|closing| *closing), if !is_closing => {
                is_closing = true;
                link.with(|state| state.close());
            }
        }
    }
}

impl Desk {
    /// Counts a refusal, and logs it the first time that this host is refused for this reason: who is refused comes again.
    pub(super) fn refuse(&self, peer: Option<SocketAddr>, why: &str) {
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

    /// Begins to answer a request.
    pub(super) fn work(&self, caller: &Caller, head: Head<'_>, payload: Bytes) -> Work {
        let refused = |why| Work::Ready(Some(Reply::Refused(why)));
        match (&head, caller.is_known()) {
            (Head::Hello(_), true) => return refused("it said already who it is".to_owned()),
            (Head::Hello(_), false) => {}
            (_, false) => return refused(ANONYMOUS.to_owned()),
            (_, true) => {
                self.counts.served.fetch_add(1, Ordering::Relaxed);
                self.serve.counted(Counter::RpcRequest);
            }
        }
        match head {
            Head::Hello(hello) => match self.check(&hello) {
                Ok(()) => {
                    caller.is_known.store(true, Ordering::Release);
                    Work::Ready(Some(Reply::Whole(ReplyHead::Done, Bytes::new())))
                }
                Err(why) => refused(why),
            },
            Head::Raft(rpc) => Work::Raft(self.serve.raft(rpc, payload)),
            Head::Http(head) => Work::Http(self.serve.http(head, payload)),
            Head::Catalog(head) => Work::Catalog(self.serve.catalog(head, payload)),
            Head::Dns(head) => match self.serve.dns(&head, &payload) {
                Ok(dns::Reply { head, packet }) => Work::Ready(Some(Reply::Whole(ReplyHead::Dns(head), packet))),
                Err(why) => refused(why),
            },
        }
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
