//! The loop around local state: runs checks, and syncs what changed to the catalog.
//!
//! Owns the [`Local`] machine. Holds no rules: an event comes in, the machine
//! steps, its outputs are performed. Others talk to it through [`LocalHandle`].

use std::fmt;
use std::sync::Arc;

use agent_core::local::{Definitions, Input, LocalView, Refusal, Settings};
use agent_core::state::{Command, Reply};
use agent_core::store::Store;
use agent_raft::consensus::{Consensus, WriteError};
use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::checks::Prober;
use crate::env::{BoxFuture, Env};
use crate::persist::Persist;

/// Where the catalog is written: Raft on a server, a forwarder on a client.
pub trait Catalog: Send + Sync {
    /// Writes `command` and waits until it is applied.
    fn write(&self, command: Command) -> BoxFuture<'_, Result<Reply, WriteError>>;
}

impl Catalog for Consensus {
    fn write(&self, command: Command) -> BoxFuture<'_, Result<Reply, WriteError>> {
        Box::pin(async move { Ok(Consensus::write(self, command).await?.reply) })
    }
}

/// What the loop works with.
pub struct Deps {
    /// The outside world.
    pub env: Env,
    /// The replicated state, to compare with.
    pub store: Arc<Store>,
    /// Where the catalog is written.
    pub catalog: Arc<dyn Catalog>,
    /// What runs checks.
    pub prober: Arc<dyn Prober>,
    /// The data directory; `None` keeps nothing (`-dev`).
    pub persist: Option<Persist>,
    /// What the machine is told.
    pub settings: Settings,
    /// Services and checks from configuration files.
    pub config: Definitions,
}

/// Why an input was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalError {
    /// The machine refused it; nothing was changed. The text is Consul's.
    Refused(Refusal),
    /// It was carried out, but could not be kept on disk: a restart forgets it.
    NotPersisted(String),
    /// The loop has ended: the agent is shutting down.
    Stopped,
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalError::Refused(refusal) => refusal.fmt(f),
            LocalError::NotPersisted(why) => write!(f, "could not persist the definition: {why}"),
            LocalError::Stopped => f.write_str("the agent is shutting down"),
        }
    }
}

impl std::error::Error for LocalError {}

type Request = (Input, oneshot::Sender<Result<(), LocalError>>);

/// The door to local state. Cheap to clone. The loop ends when the last handle is gone.
#[derive(Clone)]
pub struct LocalHandle {
    requests: mpsc::Sender<Request>,
    view: Arc<ArcSwap<LocalView>>,
    version: watch::Receiver<u64>,
}

impl LocalHandle {
    /// Steps the machine with `input` and waits until it is carried out and, for definitions, on disk.
    ///
    /// # Errors
    /// [`LocalError`]. Inputs that do not reply answer `Ok` when they were stepped.
    pub async fn send(&self, input: Input) -> Result<(), LocalError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send((input, reply)).await.map_err(|_| LocalError::Stopped)?;
        answer.await.unwrap_or(Err(LocalError::Stopped))
    }

    /// The latest snapshot. Never waits.
    pub fn view(&self) -> Arc<LocalView> {
        self.view.load_full()
    }

    /// Returns when the snapshot's version differs from `seen`, with the new snapshot; never when the loop has ended.
    pub async fn changed(&self, seen: u64) -> Arc<LocalView> {
        let mut version = self.version.clone();
        if version.wait_for(|v| *v != seen).await.is_err() {
            std::future::pending::<()>().await;
        }
        self.view()
    }
}

/// Loads what was persisted and starts the loop.
pub fn start(deps: Deps) -> (LocalHandle, JoinHandle<()>) {
    let _ = deps;
    unimplemented!()
}
