//! Agents talk to servers, and servers to each other: frames over TCP on port 8300.
//!
//! ```text
//! transport.rs  Raft's messages ─┐                                        ┌─ Consensus::handle
//! forward.rs    HTTP and DNS    ─┴─ pool.rs   calls.rs ── link.rs ── serving.rs   server.rs ── Serve ┴─ http, DNS
//!                                        wire.rs: frames   frame.rs: what messages say
//! ```
//!
//! Requests and answers carry numbers, so thousands of blocking queries share a
//! connection, and whatever is ready leaves with one write. A peer has three connections or four, so that a heartbeat never waits
//! behind a snapshot or a flood of queries. Who speaks another version or
//! belongs to another data centre or cluster is turned away with the first
//! request, before anything is acted upon.

mod calls;
#[cfg(test)]
mod cluster_tests;
pub mod forward;
pub mod frame;
mod link;
pub mod pool;
pub mod server;
mod serving;
#[cfg(test)]
mod tests;
pub mod transport;
pub mod wire;

use std::fmt;
use std::sync::Arc;

pub use frame::{CatalogHead, DnsHead, DnsReply, Head, HttpHead};
pub use pool::{CallError, Lane, Pool};
pub use server::{Counts, Serve, serve};
pub use transport::RpcTransport;

/// Who we are, as we tell others.
#[derive(Clone)]
pub struct Identity {
    /// The data centre.
    pub datacenter: String,
    /// The node name.
    pub node: String,
    /// The cluster we are a member of, as [`agent_raft::Consensus::cluster`] says; `None` for clients and new servers.
    pub cluster: Arc<dyn Fn() -> Option<u128> + Send + Sync>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { datacenter, node, cluster } = self;
        f.debug_struct("Identity")
            .field("datacenter", datacenter)
            .field("node", node)
            .field("cluster", &cluster())
            .finish()
    }
}
