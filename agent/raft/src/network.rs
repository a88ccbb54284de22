//! openraft's network over a [`Transport`] that only moves bytes.
//!
//! Owns what Raft makes of an answer that does not come, and how a snapshot is
//! cut into pieces. Never opens a connection: the daemon brings the transport,
//! and a server that is alone brings [`Alone`].

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Server;
use crate::disk::BoxFuture;
use crate::types::{ServerNode, Snapshot, TypeConfig, Vote};
use crate::wire::{self, CHUNK_BYTES, Chunk, Envelope, Received, Refused, Rpc};

/// The time one piece of a snapshot may take.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);

/// The time the last piece may take: the other side stores the snapshot before it answers.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a message was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// There is no connection to the server, and nothing was sent. Raft waits a while before it tries again.
    Unreachable(String),
    /// The server received the message and did not act upon it: what [`crate::Consensus::handle`] refused.
    Refused(String),
    /// The connection broke, or the answer made no sense. The server may have acted upon the message.
    Broken(String),
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransportError::Unreachable(why) => write!(f, "server is unreachable: {why}"),
            TransportError::Refused(why) => write!(f, "server refused the message: {why}"),
            TransportError::Broken(why) => write!(f, "message was not answered: {why}"),
        }
    }
}

impl std::error::Error for TransportError {}

impl From<Refused> for TransportError {
    fn from(refused: Refused) -> Self {
        TransportError::Refused(refused.to_string())
    }
}

/// An answer on its way.
pub type Answering<'a> = BoxFuture<'a, Result<Vec<u8>, TransportError>>;

/// Carries Raft's messages between servers.
pub trait Transport: Send + Sync + 'static {
    /// Sends `body` to `target` and returns its answer: what [`crate::Consensus::handle`] made of it there.
    ///
    /// Raft gives up by itself and drops the future. Bodies have at most [`crate::wire::MESSAGE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`TransportError`]. `Unreachable` and `Refused` promise that nothing happened: a write is tried again after them.
    fn call<'a>(&'a self, target: &'a Server, rpc: Rpc, body: Vec<u8>) -> Answering<'a>;
}

/// The transport of a server that has no peers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Transport for Alone {
    fn call<'a>(&'a self, target: &'a Server, _: Rpc, _: Vec<u8>) -> Answering<'a> {
        Box::pin(async move { Err(TransportError::Unreachable(format!("{} is not connected", target.node))) })
    }
}

/// Why a server was not heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// It has not received the message.
    NotSent(TransportError),
    /// It has not acted upon the message.
    Refused(TransportError),
    /// It may have acted upon the message.
    Lost(TransportError),
    /// As `Lost`, after the time that was given.
    Timeout,
}

/// Sends a message and reads its answer.
pub(crate) async fn call<A: DeserializeOwned>(
    transport: &dyn Transport,
    envelope: Envelope,
    target: &Server,
    rpc: Rpc,
    message: &impl Serialize,
) -> Result<A, CallError> {
    let body = wire::seal(envelope, message);
    match transport.call(target, rpc, body).await {
        Ok(answer) => wire::read(&answer).map_err(|why| CallError::Lost(TransportError::Broken(why.to_string()))),
        Err(error @ TransportError::Unreachable(_)) => Err(CallError::NotSent(error)),
        Err(error @ TransportError::Refused(_)) => Err(CallError::Refused(error)),
        Err(error @ TransportError::Broken(_)) => Err(CallError::Lost(error)),
    }
}

/// Makes a [`Peer`] for every other server.
pub struct Network {
    pub(crate) id: u64,
    pub(crate) transport: Arc<dyn Transport>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &ServerNode) -> Peer {
        let envelope = Envelope { cluster: node.cluster, from: self.id, to: target };
        Peer { envelope, server: node.to_server(true), transport: self.transport.clone() }
    }
}

/// Another server, as Raft reaches it.
pub struct Peer {
    envelope: Envelope,
    server: Server,
    transport: Arc<dyn Transport>,
}

impl Peer {
    async fn call<A: DeserializeOwned>(
        &self,
        rpc: Rpc,
        action: RPCTypes,
        limit: Duration,
        message: &impl Serialize,
    ) -> Result<A, RPCError<TypeConfig>> {
        let answer = call(&*self.transport, self.envelope, &self.server, rpc, message);
        match tokio::time::timeout(limit, answer).await.unwrap_or(Err(CallError::Timeout)) {
            Ok(answer) => Ok(answer),
            // A server that refuses goes on doing so for a while: it is not asked again at once.
            Err(CallError::NotSent(error) | CallError::Refused(error)) => Err(Unreachable::new(&error).into()),
            Err(CallError::Lost(error)) => Err(NetworkError::new(&error).into()),
            Err(CallError::Timeout) => {
                let Envelope { from: id, to: target, .. } = self.envelope;
                Err(Timeout { action, id, target, timeout: limit }.into())
            }
        }
    }

    /// Sends a snapshot piece by piece, from wherever the other side says.
    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<TypeConfig>, RPCError<TypeConfig>> {
        let Snapshot { meta, snapshot } = snapshot;
        let mut chunk =
            Chunk { vote, meta, size_bytes: snapshot.len() as u64, offset: 0, bytes: Vec::with_capacity(CHUNK_BYTES) };
        loop {
            let from = usize::try_from(chunk.offset).unwrap_or(usize::MAX).min(snapshot.len());
            let to = (from + CHUNK_BYTES).min(snapshot.len());
            chunk.bytes.clear();
            chunk.bytes.extend_from_slice(&snapshot[from..to]);
            let limit = if to == snapshot.len() { INSTALL_TIMEOUT } else { CHUNK_TIMEOUT };
            match self.call(Rpc::Snapshot, RPCTypes::InstallSnapshot, limit, &chunk).await? {
                Received::Whole(response) => return Ok(response),
                Received::From(offset) if offset != chunk.offset && offset < chunk.size_bytes => chunk.offset = offset,
                Received::From(offset) => {
                    let why = format!("asked for {offset} of {} bytes of a snapshot", chunk.size_bytes);
                    return Err(NetworkError::new(&TransportError::Broken(why)).into());
                }
            }
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let kind = if rpc.entries.is_empty() { Rpc::Heartbeat } else { Rpc::Append };
        self.call(kind, RPCTypes::AppendEntries, option.soft_ttl(), &rpc).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(Rpc::Vote, RPCTypes::Vote, option.soft_ttl(), &rpc).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(Rpc::PreVote, RPCTypes::Vote, option.soft_ttl(), &rpc).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            biased;
            closed = cancel => Err(closed.into()),
            answer = self.send_snapshot(vote, snapshot) => answer.map_err(Into::into),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(Rpc::TransferLeader, RPCTypes::TransferLeader, option.soft_ttl(), &request).await
    }
}
