//! openraft's network over a [`Transport`] that only moves bytes.
//!
//! Owns how Raft's messages become bytes. Never opens a connection: the daemon
//! brings the transport, and a server that is alone brings [`Alone`].

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

/// What a message asks of the server it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rpc {
    /// Append entries, or a heartbeat.
    Append,
    /// Vote for the sender.
    Vote,
    /// Say whether you would.
    PreVote,
    /// Install a snapshot.
    Snapshot,
    /// Take over as leader.
    TransferLeader,
}

/// Why a message was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// There is no connection to the server: Raft waits a while before it tries again.
    Unreachable(String),
    /// The connection broke, or the answer made no sense.
    Broken(String),
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransportError::Unreachable(why) => write!(f, "server is unreachable: {why}"),
            TransportError::Broken(why) => write!(f, "message was not answered: {why}"),
        }
    }
}

impl std::error::Error for TransportError {}

/// Carries Raft's messages between servers.
pub trait Transport: Send + Sync + 'static {
    /// Sends `body` to `target` and returns its answer. Raft gives up by itself and drops the future.
    ///
    /// # Errors
    /// [`TransportError`]; the message may have been received all the same.
    fn call<'a>(
        &'a self,
        target: &'a Server,
        rpc: Rpc,
        body: Vec<u8>,
    ) -> BoxFuture<'a, Result<Vec<u8>, TransportError>>;
}

/// The transport of a server that has no peers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Transport for Alone {
    fn call<'a>(&'a self, target: &'a Server, _: Rpc, _: Vec<u8>) -> BoxFuture<'a, Result<Vec<u8>, TransportError>> {
        Box::pin(async move { Err(TransportError::Unreachable(format!("{} is not connected", target.node))) })
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
        Peer { id: self.id, target, server: node.to_server(true), transport: self.transport.clone() }
    }
}

/// Another server, as Raft reaches it.
pub struct Peer {
    id: u64,
    target: u64,
    server: Server,
    transport: Arc<dyn Transport>,
}

impl Peer {
    async fn call<Q, A>(
        &self,
        rpc: Rpc,
        action: RPCTypes,
        limit: Duration,
        request: &Q,
    ) -> Result<A, RPCError<TypeConfig>>
    where
        Q: Serialize,
        A: DeserializeOwned,
    {
        let body = postcard::to_stdvec(request).map_err(|error| NetworkError::new(&error))?;
        let answer = tokio::time::timeout(limit, self.transport.call(&self.server, rpc, body)).await;
        match answer {
            Ok(Ok(body)) => postcard::from_bytes(&body).map_err(|error| NetworkError::new(&error).into()),
            Ok(Err(error @ TransportError::Unreachable(_))) => Err(Unreachable::new(&error).into()),
            Ok(Err(error @ TransportError::Broken(_))) => Err(NetworkError::new(&error).into()),
            Err(_) => Err(Timeout { action, id: self.id, target: self.target, timeout: limit }.into()),
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
        self.call(Rpc::Append, RPCTypes::AppendEntries, option.soft_ttl(), &rpc).await
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
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let request = (vote, snapshot.meta, snapshot.snapshot);
        tokio::select! {
            biased;
            closed = cancel => Err(closed.into()),
            answer = self.call(Rpc::Snapshot, RPCTypes::InstallSnapshot, option.soft_ttl(), &request) => {
                answer.map_err(Into::into)
            }
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
