//! The side that asks: connections to peers, opened when needed and kept.
//!
//! Owns one connection per peer and lane, a second one for many requests, the pause after one that failed, and
//! the certainty that callers need: whether a request that was not answered can
//! have been received. Bounded by its callers: it queues nothing of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_raft::Rpc;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{Instant, timeout};

use super::Identity;
use super::frame::{Framed, Head, Hello, PAYLOAD_BYTES_MAX, Reader, ReplyHead};
use super::server::{KEEP_ALIVE, KEEP_ALIVE_TIMEOUT};
use crate::env::Env;
use crate::telemetry::{Counter, Metrics};

/// How long a connection may take to open and to be greeted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The first pause after a connection that failed; doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(50);

/// The longest pause. Short, since a server that restarts must be found again before its voters miss it.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Peers that are remembered. More than a data centre has servers.
const PEERS_MAX: usize = 64;

/// Which of a peer's connections a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Small messages for which late means lost.
    Urgent,
    /// Entries and snapshots.
    Bulk,
    /// What clients asked for.
    Requests,
}

impl Lane {
    /// The lane of a message of Raft.
    pub fn of(rpc: Rpc) -> Lane {
        match rpc {
            Rpc::Append | Rpc::Snapshot => Lane::Bulk,
            Rpc::Forward | Rpc::Change => Lane::Requests,
            Rpc::Heartbeat | Rpc::Vote | Rpc::PreVote | Rpc::TransferLeader | Rpc::ReadIndex => Lane::Urgent,
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// There is no connection, and nothing was sent.
    NotSent(String),
    /// The peer did not act upon it, and says why.
    Refused(String),
    /// The peer may have acted upon it.
    Lost(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NotSent(why) => write!(f, "could not reach the server: {why}"),
            CallError::Refused(why) => write!(f, "the server refused: {why}"),
            CallError::Lost(why) => write!(f, "the server did not answer: {why}"),
        }
    }
}

impl std::error::Error for CallError {}

/// An answer: its head, and a reader that stands at its payload.
pub type Answer = (ReplyHead, Reader<Incoming>);

/// Connections to peers. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    env: Env,
    identity: Identity,
    peers: Arc<Mutex<BTreeMap<SocketAddr, Arc<Peer>>>>,
    metrics: Option<Arc<Metrics>>,
}

#[derive(Default)]
struct Peer {
    /// Urgent, bulk, and two for requests: a connection is the work of one task, and so of one core at a time.
    lines: [tokio::sync::Mutex<Line>; 4],
    /// Requests that wait for their answers on either of theirs.
    waiting: [AtomicUsize; 2],
    /// It was said that it does not answer; nothing more is until it does.
    is_told: AtomicBool,
}

/// How many more requests than the second connection the first one takes: a few are no reason to open another.
const FIRST_TAKES: usize = 16;

/// A request's place on one of the two connections for requests, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Peer {
    /// The connection for the next message, and the place on it if it is a request.
    fn choose(&self, lane: Lane) -> (&tokio::sync::Mutex<Line>, Option<Waiting<'_>>) {
        match lane {
            Lane::Urgent => (&self.lines[0], None),
            Lane::Bulk => (&self.lines[1], None),
            Lane::Requests => {
                let [first, second] = self.waiting.each_ref().map(|waiting| waiting.load(Ordering::Relaxed));
                let place = usize::from(first > second + FIRST_TAKES);
                self.waiting[place].fetch_add(1, Ordering::Relaxed);
                (&self.lines[2 + place], Some(Waiting(&self.waiting[place])))
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection, or the lack of it.
#[derive(Default)]
struct Line {
    open: Option<SendRequest<Framed>>,
    failures: u32,
    not_before: Option<Instant>,
    why: String,
}

impl Pool {
    /// A pool without connections.
    pub fn new(env: Env, identity: Identity) -> Self {
        Pool { env, identity, peers: Arc::default(), metrics: None }
    }

    /// The same pool, which counts what fails.
    pub fn counting(self, metrics: Arc<Metrics>) -> Self {
        Pool { metrics: Some(metrics), ..self }
    }

    /// Sends a request and reads the head of its answer. Dropping the future tells the peer that nobody waits any more.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call(&self, to: SocketAddr, lane: Lane, head: &Head, payload: Bytes) -> Result<Answer, CallError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(CallError::NotSent(format!("a request has at most {PAYLOAD_BYTES_MAX} bytes")));
        }
        let peer = self.peer(to);
        let (line, _waiting) = peer.choose(lane);
        let mut open = self.line(&peer, to, line).await.map_err(CallError::NotSent)?;
        let answer = exchange(&mut open, Framed::whole(head, payload)).await;
        match &answer {
            Ok(_) => peer.is_told.store(false, Ordering::Relaxed),
            Err(error) => self.failed(&peer, to, error),
        }
        answer
    }

    /// As [`Pool::call`], for answers that are not streamed.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn ask(&self, to: SocketAddr, lane: Lane, head: &Head, payload: Bytes) -> Result<Bytes, CallError> {
        let (head, mut reader) = self.call(to, lane, head, payload).await?;
        match head {
            ReplyHead::Done => reader.rest(PAYLOAD_BYTES_MAX).await.map_err(|error| CallError::Lost(error.to_string())),
            ReplyHead::Refused(why) => Err(CallError::Refused(why)),
            ReplyHead::Http { .. } | ReplyHead::Dns(_) => Err(CallError::Lost("it answers something else".to_owned())),
        }
    }

    /// Forgets the connections to a peer: it has left, or its address belongs to another one now.
    pub fn forget(&self, peer: SocketAddr) {
        let forgotten = self.peers.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
        drop(forgotten);
    }

    fn peer(&self, address: SocketAddr) -> Arc<Peer> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= PEERS_MAX && !peers.contains_key(&address) {
            // Whom nobody is asking right now can be connected to again.
            peers.retain(|_, peer| Arc::strong_count(peer) > 1);
        }
        peers.entry(address).or_default().clone()
    }

    /// Counts that a peer did not answer, and says so the first time.
    fn failed(&self, peer: &Peer, to: SocketAddr, why: &dyn fmt::Display) {
        if let Some(metrics) = &self.metrics {
            metrics.count(Counter::RpcUnanswered);
        }
        if !peer.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(server = %to, "a server does not answer: {why}");
        }
    }

    /// The connection, opened if it is not and its pause is over.
    async fn line(
        &self,
        peer: &Peer,
        to: SocketAddr,
        line: &tokio::sync::Mutex<Line>,
    ) -> Result<SendRequest<Framed>, String> {
        let mut line = line.lock().await;
        if let Some(open) = line.open.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        line.open = None;
        if line.not_before.is_some_and(|at| Instant::now() < at) {
            return Err(line.why.clone());
        }
        match timeout(CONNECT_TIMEOUT, self.open(to)).await.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(open) => {
                *line = Line { open: Some(open.clone()), ..Line::default() };
                Ok(open)
            }
            Err(why) => {
                let pause = (PAUSE * 2_u32.pow(line.failures.min(8))).min(PAUSE_MAX);
                line.failures += 1;
                line.not_before = Some(Instant::now() + pause);
                line.why.clone_from(&why);
                self.failed(peer, to, &why);
                Err(why)
            }
        }
    }

    /// Opens a connection and says who we are.
    async fn open(&self, to: SocketAddr) -> Result<SendRequest<Framed>, String> {
        let stream = self.env.network.connect(to).await.map_err(|error| error.to_string())?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        builder.initial_stream_window_size(1 << 20).initial_connection_window_size(4 << 20);
        builder.max_header_list_size(4 << 10).max_send_buf_size(256 << 10);
        builder.keep_alive_interval(Some(KEEP_ALIVE)).keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        let (mut open, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // It ends with its last sender; why it broke reaches those who wait for answers.
        tokio::spawn(async move { drop(connection.await) });
        let Identity { datacenter, node, cluster } = &self.identity;
        let hello = Hello { datacenter: datacenter.clone(), node: node.clone(), cluster: cluster() };
        match exchange(&mut open, Framed::whole(&Head::Hello(hello), Bytes::new())).await {
            Ok((ReplyHead::Done, _)) => Ok(open),
            Ok((ReplyHead::Refused(why), _)) => Err(why),
            Ok((ReplyHead::Http { .. } | ReplyHead::Dns(_), _)) => Err("it does not speak our language".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

async fn exchange(open: &mut SendRequest<Framed>, body: Framed) -> Result<Answer, CallError> {
    // Until here nothing has left: a connection that broke meanwhile is no answer.
    open.ready().await.map_err(|error| CallError::NotSent(error.to_string()))?;
    let lost = |error: &dyn fmt::Display| CallError::Lost(error.to_string());
    let request = hyper::Request::post("http://lictor/").body(body).expect("a constant request is valid");
    let response = match open.try_send_request(request).await {
        Ok(response) => response,
        // The request comes back when it was not sent.
        Err(error) if error.message().is_some() => return Err(CallError::NotSent(error.error().to_string())),
        Err(error) => return Err(lost(error.error())),
    };
    if response.status() != hyper::StatusCode::OK {
        return Err(CallError::Lost(format!("status {}", response.status())));
    }
    let mut reader = Reader::new(response.into_body());
    let head = reader.head().await.map_err(|error| lost(&error))?;
    Ok((head, reader))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_requests_share_two_connections_and_a_few_share_one() {
        let peer = Peer::default();
        let is_second =
            |choice: &(&tokio::sync::Mutex<Line>, Option<Waiting<'_>>)| std::ptr::eq(choice.0, &peer.lines[3]);
        let few: Vec<_> = (0..=FIRST_TAKES).map(|_| peer.choose(Lane::Requests)).collect();
        assert!(!few.iter().any(is_second));
        let many: Vec<_> = (0..100).map(|_| peer.choose(Lane::Requests)).collect();
        assert!(many.iter().filter(|choice| is_second(choice)).count() > 40);
        drop((few, many));
        assert!(!is_second(&peer.choose(Lane::Requests)));
        assert!(peer.choose(Lane::Urgent).1.is_none());
    }
}
