//! The loop around the gossip machine: sockets, files, and a handle for the rest of the agent.
//!
//! ```text
//!  UDP 8301 ──────────────┐            ┌─> roster: who is in the pool, published when it changes
//!  TCP 8301 ─ streams.rs ─┤  task.rs   ├─> heard: user events that concern this agent
//!  GossipHandle ──────────┤ (Gossip)   ├─> files.rs: keys, and peers for the next start
//!  time ──────────────────┘            └─> the log (notes.rs)
//! ```
//!
//! Every rule is in [`agent_core::gossip`]; this room decides nothing about
//! members. What comes from outside is bounded in number, size and time.

mod addresses;
mod files;
mod handle;
mod heard;
mod notes;
mod published;
mod rejoin;
mod settings;
mod streams;
mod task;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use agent_core::gossip::{Gossip, KeyRing};
use agent_core::local::LocalView;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::published::Published;
use crate::env::{Datagrams, Env, ListenAddress, Listener};

pub(crate) use files::{decode_key, encode_key};
pub use handle::{GossipError, GossipHandle, JoinError, Roster};
pub use heard::{Heard, Interest, index_of};
pub use rejoin::keep_joining;
pub use settings::{Identity, RetryJoin, Settings};

/// Requests of the rest of the agent that wait for the loop; more wait at the sender.
const REQUESTS: usize = 64;

/// How often a port that is free for streams may turn out to be taken for datagrams, when the system chooses it.
const PORT_TRIES: usize = 16;

/// Sockets of a pool that does not run yet, so that what can't work fails before anything is started.
pub struct Bound {
    listener: Box<dyn Listener>,
    socket: Box<dyn Datagrams>,
    /// Where both really are.
    pub address: SocketAddr,
}

/// Why a pool was not joined at all.
#[derive(Debug)]
pub enum StartError {
    /// An address can't be listened on.
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// A file can't be used. The text names it and the cure.
    File(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Bind { address, error } if error.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "could not listen for gossip on {address}: bind: address already in use: stop what listens there or set ports.serf_lan"
            ),
            StartError::Bind { address, error } => write!(f, "could not listen for gossip on {address}: {error}"),
            StartError::File(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for StartError {}

/// Listens for streams and datagrams on one address. Port zero lets the system choose one that is free for both.
///
/// # Errors
/// [`StartError::Bind`].
pub async fn bind(env: &Env, address: SocketAddr) -> Result<Bound, StartError> {
    let refused = |error| StartError::Bind { address, error };
    let mut tries = 0;
    loop {
        let listener = env.network.listen(&ListenAddress::Tcp(address)).await.map_err(refused)?;
        let ListenAddress::Tcp(found) = listener.local_address() else {
            return Err(refused(io::ErrorKind::Unsupported.into()));
        };
        tries += 1;
        match env.network.datagrams(found).await {
            Ok(socket) => return Ok(Bound { listener, socket, address: found }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() == 0 && tries < PORT_TRIES => {}
            Err(error) => return Err(refused(error)),
        }
    }
}

/// What the loop works with.
pub struct Deps {
    /// The outside world.
    pub env: Env,
    /// Who we are and how the pool runs.
    pub settings: Settings,
    /// Its sockets.
    pub bound: Bound,
    /// What this agent registered: it decides which user events concern it.
    pub local: Box<dyn Fn() -> Arc<LocalView> + Send + Sync>,
}

/// Reads the files and starts the loop, in `tasks`. It ends with them, or when `stop` turns true.
///
/// # Errors
/// [`StartError::File`] when there are keys that can't be used.
pub async fn start(
    deps: Deps,
    tasks: &mut JoinSet<()>,
    stop: &watch::Receiver<bool>,
) -> Result<GossipHandle, StartError> {
    let Deps { env, settings, bound, local } = deps;
    let files = settings.files();
    let keys = load_keys(&settings, files.clone()).await?;
    let peers_before = load_peers(files.clone()).await;
    let config = settings.machine(bound.address, keys, env.clock.wall_ms());
    let interest = Interest::new(&settings.identity.name, local);
    let machine = Gossip::new(env.now(), config, rng(&env));

    let (requests, queue) = mpsc::channel(REQUESTS);
    let (roster, heard) = (Published::new(Roster::of(&machine, 1)), Published::new(Heard::default()));
    let (rosters, events) = (roster.clone(), heard.clone());
    let (peers, changed) = watch::channel(Arc::default());
    let port = bound.address.port();
    let limits = Arc::new(streams::Limits::default());
    let (arriving, arrivals) = streams::channel();
    tasks.spawn(streams::accept(bound.listener, arriving, Arc::clone(&limits), stop.clone()));
    if let Some(files) = files.clone() {
        tasks.spawn(files::keep_peers(files, changed, settings.rejoin_after_leave));
    }
    let keys = files.filter(|_| settings.keyring_file);
    let parts = task::Parts {
        env,
        machine,
        socket: bound.socket,
        arrivals,
        requests: queue,
        limits: Arc::clone(&limits),
        keys,
    };
    tasks.spawn(task::run(parts, task::Published { roster, heard, peers, interest }, stop.clone()));
    let handle = GossipHandle::new(requests, rosters, events, limits, port);
    tasks.spawn(rejoin::rejoin(handle.clone(), peers_before));
    Ok(handle)
}

/// Peers of the last run, to be looked for.
async fn load_peers(files: Option<files::Files>) -> Vec<SocketAddr> {
    match files {
        Some(files) => tokio::task::spawn_blocking(move || files.load_peers()).await.unwrap_or_default(),
        None => Vec::new(),
    }
}

/// The keys of the last run, or the configured one, which is kept for the next.
async fn load_keys(settings: &Settings, files: Option<files::Files>) -> Result<KeyRing, StartError> {
    let configured = settings.key.clone();
    let Some(files) = files.filter(|_| settings.keyring_file) else {
        return Ok(KeyRing::new(configured));
    };
    let read = tokio::task::spawn_blocking(move || files.load_keys(configured)).await;
    read.map_err(|error| StartError::File(error.to_string()))?.map_err(StartError::File)
}

/// Random numbers of the machine, seeded with as many bits as its generator has.
fn rng(env: &Env) -> StdRng {
    let mut seed = [0; 32];
    for chunk in seed.chunks_exact_mut(8) {
        chunk.copy_from_slice(&env.random.u64().to_le_bytes());
    }
    StdRng::from_seed(seed)
}
