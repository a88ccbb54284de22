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
use tokio::time::{Instant, timeout};

use super::Identity;
use super::calls::{Answer, Calling};
use super::frame::{Head, Hello, PAYLOAD_BYTES_MAX, ReplyHead};
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
    lines: [Line; 4],
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
    fn choose(&self, lane: Lane) -> (&Line, Option<Waiting<'_>>) {
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
    open: Mutex<Option<Arc<Calling>>>,
    opening: tokio::sync::Mutex<Opening>,
}

/// What came of opening a connection before.
#[derive(Default)]
struct Opening {
    failures: u32,
    not_before: Option<Instant>,
    why: String,
}

impl Line {
    fn is_open(&self) -> Option<Arc<Calling>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().filter(|open| !open.is_closed()).cloned()
    }

    fn set(&self, new: Option<Arc<Calling>>) {
        let old = std::mem::replace(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner), new);
        drop(old);
    }
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

    /// Sends a request and waits for its answer. Dropping the future tells the peer that nobody waits any more.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call(&self, to: SocketAddr, lane: Lane, head: &Head<'_>, payload: Bytes) -> Result<Answer, CallError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(CallError::NotSent(format!("a request has at most {PAYLOAD_BYTES_MAX} bytes")));
        }
        let peer = self.peer(to);
        let (line, _waiting) = peer.choose(lane);
        let open = self.line(&peer, to, line).await.map_err(CallError::NotSent)?;
        let answer = open.call(head, payload).await;
        match &answer {
            Ok(_) if peer.is_told.load(Ordering::Relaxed) => peer.is_told.store(false, Ordering::Relaxed),
            Ok(_) => {}
            Err(error) => self.failed(&peer, to, error),
        }
        answer
    }

    /// As [`Pool::call`], for answers that are not streamed.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn ask(&self, to: SocketAddr, lane: Lane, head: &Head<'_>, payload: Bytes) -> Result<Bytes, CallError> {
        let answer = self.call(to, lane, head, payload).await?;
        match answer.open()? {
            (ReplyHead::Done, payload) => Ok(payload),
            (ReplyHead::Refused(why), _) => Err(CallError::Refused(why.into_owned())),
            (ReplyHead::Http { .. } | ReplyHead::Dns(_), _) => {
                Err(CallError::Lost("it answers something else".to_owned()))
            }
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
    async fn line(&self, peer: &Peer, to: SocketAddr, line: &Line) -> Result<Arc<Calling>, String> {
        if let Some(open) = line.is_open() {
            return Ok(open);
        }
        let mut opening = line.opening.lock().await;
        if let Some(open) = line.is_open() {
            return Ok(open);
        }
        line.set(None);
        if opening.not_before.is_some_and(|at| Instant::now() < at) {
            return Err(opening.why.clone());
        }
        match timeout(CONNECT_TIMEOUT, self.open(to)).await.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(open) => {
                *opening = Opening::default();
                line.set(Some(open.clone()));
                Ok(open)
            }
            Err(why) => {
                let pause = (PAUSE * 2_u32.pow(opening.failures.min(8))).min(PAUSE_MAX);
                opening.failures += 1;
                opening.not_before = Some(Instant::now() + pause);
                opening.why.clone_from(&why);
                self.failed(peer, to, &why);
                Err(why)
            }
        }
    }

    /// Opens a connection and says who we are.
    async fn open(&self, to: SocketAddr) -> Result<Arc<Calling>, String> {
        let stream = self.env.network.connect(to).await.map_err(|error| error.to_string())?;
        let open = Calling::start(stream);
        let Identity { datacenter, node, cluster } = &self.identity;
        let hello = Hello { datacenter: datacenter.clone(), node: node.clone(), cluster: cluster() };
        let answer = open.call(&Head::Hello(hello), Bytes::new()).await.map_err(|error| error.to_string())?;
        match answer.open().map_err(|error| error.to_string())? {
            (ReplyHead::Done, _) => Ok(open),
            (ReplyHead::Refused(why), _) => Err(why.into_owned()),
            (ReplyHead::Http { .. } | ReplyHead::Dns(_), _) => Err("it does not speak our language".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_requests_share_two_connections_and_a_few_share_one() {
        let peer = Peer::default();
        let is_second = |choice: &(&Line, Option<Waiting<'_>>)| std::ptr::eq(choice.0, &peer.lines[3]);
        let few: Vec<_> = (0..=FIRST_TAKES).map(|_| peer.choose(Lane::Requests)).collect();
        assert!(!few.iter().any(is_second));
        let many: Vec<_> = (0..100).map(|_| peer.choose(Lane::Requests)).collect();
        assert!(many.iter().filter(|choice| is_second(choice)).count() > 40);
        drop((few, many));
        assert!(!is_second(&peer.choose(Lane::Requests)));
        assert!(peer.choose(Lane::Urgent).1.is_none());
    }
}
