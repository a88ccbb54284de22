//! The DNS server: sockets, packets and recursion. What is answered is decided in `agent_core::dns`.
//!
//! ```text
//! udp.rs  one loop per socket: receive, respond, send; nothing is spawned for a question about the catalog
//! tcp.rs  one task per connection, several questions each
//!    |-> cache.rs: answers about services, encoded in pieces, while the services stay as they are
//!    \-> respond.rs: packet -> question -> answer from the latest snapshot -> packet
//!           |-> recursor.rs: names outside the domain, asked elsewhere with a deadline
//!           \-> ask.rs: the catalog, where servers have it -> rpc -> desk.rs: answers by the client's policy.rs
//! ```
//!
//! Every buffer, connection and recursion is bounded.

mod ask;
mod cache;
#[cfg(test)]
mod client_tests;
mod desk;
pub mod packet;
mod piece;
pub mod policy;
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
use recursor::Recursors;
use respond::Responder;

pub use ask::{AskServers, Question, Reply};
pub use desk::DnsDesk;

/// How often a port that is free for TCP may turn out to be taken for UDP, when the system chooses it.
const PORT_TRIES: usize = 16;

/// Who knows the catalog.
#[derive(Clone)]
pub enum Source {
    /// We do.
    Here(Arc<Store>),
    /// Others do, and answer by our policy.
    Servers(Arc<dyn AskServers>),
}

/// What the DNS server is made of.
pub struct DnsOptions {
    /// Where to listen, over UDP and TCP. Port zero lets the system choose the same port for both.
    pub addresses: Vec<SocketAddr>,
    /// The policy at first.
    pub config: DnsConfig,
    /// The data centre of the catalog.
    pub datacenter: String,
    /// Who knows the catalog.
    pub source: Source,
    /// Wall time and randomness.
    pub env: Env,
    /// Where questions are timed.
    pub metrics: Arc<Metrics>,
    /// UDP sockets that share one address: one per core up to this.
    pub sockets_max: usize,
}

/// A running DNS server. Dropping it stops it.
pub struct DnsServer {
    addresses: Vec<SocketAddr>,
    config: Arc<ArcSwap<DnsConfig>>,
    loops: JoinSet<()>,
}

impl DnsServer {
    /// Where it really listens, in the order of [`DnsOptions::addresses`].
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Changes the policy; questions from now on see it.
    pub fn reconfigure(&self, config: DnsConfig) {
        self.config.store(Arc::new(config));
    }

    /// Has every socket forget the answers it keeps, when called.
    pub fn forgetting(&self) -> impl Fn() + Send + Sync + use<> {
        let config = Arc::clone(&self.config);
        // They forget with every change of the policy: the same, anew, is one.
        move || drop(config.rcu(|config| DnsConfig::clone(config)))
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
    let DnsOptions { addresses, config, datacenter, source, env, metrics, sockets_max } = options;
    let config = Arc::new(ArcSwap::from_pointee(config));
    let responder = Arc::new(Responder::new(source, Arc::clone(&config), datacenter, env.clone(), metrics));
    let recursors = Arc::new(Recursors::new(env));
    let mut server = DnsServer { addresses: Vec::new(), config, loops: JoinSet::new() };
    for address in addresses {
        let context =
            |error: io::Error| io::Error::new(error.kind(), format!("could not listen for DNS on {address}: {error}"));
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(sockets_max);
        let mut tries = 0;
        let (listener, bound, sockets) = loop {
            // TCP first: it is bound exclusively, so a second agent on the same port fails here although UDP is shared.
            let listener = TcpListener::bind(address).await.map_err(context)?;
            let bound = listener.local_addr().map_err(context)?;
            tries += 1;
            match (0..count).map(|_| udp::bind(bound)).collect::<io::Result<Vec<_>>>() {
                Ok(sockets) => break (listener, bound, sockets),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && bound != address && tries < PORT_TRIES => {}
                Err(error) => return Err(context(error)),
            }
        };
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
