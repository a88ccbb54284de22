//! Raft's messages over the pool.

use agent_raft::{Answering, Rpc, Server, Transport, TransportError};

use super::frame::Head;
use super::pool::{CallError, Lane, Pool};

/// Carries Raft's messages to other servers.
pub struct RpcTransport {
    pool: Pool,
}

impl RpcTransport {
    /// A transport over `pool`.
    pub fn new(pool: Pool) -> Self {
        RpcTransport { pool }
    }
}

impl Transport for RpcTransport {
    fn call<'a>(&'a self, target: &'a Server, rpc: Rpc, body: Vec<u8>) -> Answering<'a> {
        Box::pin(async move {
            match self.pool.ask(target.address, Lane::of(rpc), &Head::Raft(rpc), body.into()).await {
                Ok(answer) => Ok(answer.into()),
                Err(CallError::NotSent(why)) => Err(TransportError::Unreachable(why)),
                Err(CallError::Refused(why)) => Err(TransportError::Refused(why)),
                Err(CallError::Lost(why)) => Err(TransportError::Broken(why)),
            }
        })
    }
}
