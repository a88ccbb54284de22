//! The DNS server: sockets, packets and recursion. What is answered is decided in `agent_core::dns`.
//!
//! ```text
//! udp.rs  one loop per socket: receive, respond, send; nothing is spawned for a question about the catalog
//! tcp.rs  one task per connection, several questions each
//!    |-> cache.rs: answers about services, encoded in pieces, while the services stay as they are
//!    \-> respond.rs: packet -> question -> answer from the latest snapshot -> packet
//!           \-> recursor.rs: names outside the domain, asked elsewhere with a deadline
//! ```
//!
//! Every buffer, connection and recursion is bounded.

mod cache;
pub mod packet;
mod piece;
mod recursor;
pub mod respond;
mod tcp;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use agent_core::dns::DnsConfig;
use agent_core::store::Store;
use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::env::Env;
use crate::telemetry::Metrics;
use recursor::{Recursors, finish};
use respond::{Next, Responder, Transport};

/// The most UDP sockets that share one address: one per core up to this.
const SOCKETS_MAX: usize = 4;

/// What the DNS server is made of.
pub struct DnsOptions {
    /// Where to listen, over UDP and TCP. Port zero lets the system choose the same port for both.
    pub addresses: Vec<SocketAddr>,
    /// The policy at first.
    pub config: DnsConfig,
    /// The data centre of the catalog.
    pub datacenter: String,
    /// The catalog.
    pub store: Arc<Store>,
    /// Wall time and randomness.
    pub env: Env,
    /// Where questions are timed.
    pub metrics: Arc<Metrics>,
}

/// A running DNS server. Dropping it stops it.
pub struct DnsServer {
    addresses: Vec<SocketAddr>,
    config: Arc<ArcSwap<DnsConfig>>,
    desk: DnsDesk,
    loops: JoinSet<()>,
}

/// Answers packets that came another way: a client agent's, over RPC. Cheap to clone.
#[derive(Clone)]
pub struct DnsDesk {
    responder: Arc<Responder>,
    recursors: Arc<Recursors>,
}

impl DnsDesk {
    /// The answer to a packet; empty when it deserves none.
    pub async fn answer(&self, packet: &[u8], transport: Transport) -> Vec<u8> {
        let mut reply = Vec::new();
        match self.responder.first(packet, transport, None, &mut reply) {
            Next::Drop => reply.clear(),
            Next::Send => {}
            next @ (Next::Forward | Next::Resolve { .. }) => {
                if let Some(_permit) = self.recursors.permit() {
                    finish(&self.recursors, &self.responder, packet, transport, next, &mut reply).await;
                }
            }
        }
        reply
    }
}

impl DnsServer {
    /// Answers what did not come to a socket of its own.
    pub fn desk(&self) -> DnsDesk {
        self.desk.clone()
    }

    /// Where it really listens, in the order of [`DnsOptions::addresses`].
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Changes the policy; questions from now on see it.
    pub fn reconfigure(&self, config: DnsConfig) {
        self.config.store(Arc::new(config));
    }

    /// Stops listening and answering, and returns when the sockets are closed.
    pub async fn shutdown(mut self) {
        self.loops.shutdown().await;
    }
}

/// Binds every address, if there is any, and starts to answer.
///
/// # Errors
/// An address can't be bound; the text names it. Nothing is left running.
pub async fn start(options: DnsOptions) -> io::Result<DnsServer> {
    let DnsOptions { addresses, config, datacenter, store, env, metrics } = options;
    let config = Arc::new(ArcSwap::from_pointee(config));
    let responder = Arc::new(Responder::new(store, Arc::clone(&config), datacenter, env.clone(), metrics));
    let recursors = Arc::new(Recursors::new(env));
    let desk = DnsDesk { responder: Arc::clone(&responder), recursors: Arc::clone(&recursors) };
    let mut server = DnsServer { addresses: Vec::new(), config, desk, loops: JoinSet::new() };
    for address in addresses {
        let context =
            |error: io::Error| io::Error::new(error.kind(), format!("could not listen for DNS on {address}: {error}"));
        // TCP first: it is bound exclusively, so a second agent on the same port fails here although UDP is shared.
        let listener = TcpListener::bind(address).await.map_err(context)?;
        let bound = listener.local_addr().map_err(context)?;
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(SOCKETS_MAX);
        let sockets = (0..count).map(|_| udp::bind(bound)).collect::<io::Result<Vec<_>>>().map_err(context)?;
        server.addresses.push(bound);
        for socket in sockets {
            server.loops.spawn(udp::serve(socket, Arc::clone(&responder), Arc::clone(&recursors)));
        }
        server.loops.spawn(tcp::serve(listener, Arc::clone(&responder), Arc::clone(&recursors)));
    }
    Ok(server)
}

#[cfg(test)]
mod tests;
