//! The catalog as the loop needs it: read one node, write commands, know when either may work again.

use std::sync::Arc;

use agent_core::local::anti_entropy::Remote;
use agent_core::local::{Input, SyncId, SyncResult};
use agent_core::state::tables::{Index, fold};
use agent_core::state::{Command, Reply};
use agent_core::store::Store;
use agent_core::watch::Topic;
use agent_raft::consensus::{Consensus, ReadError, ReadMode, WriteError};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::env::BoxFuture;
use crate::propose::propose;
use crate::telemetry::{Counter, Metrics};

/// How many commands of one batch are on the way at once: enough that one sync to disk serves many.
const WRITES_MAX: usize = 32;

/// Where the catalog is read and written: Raft on a server, whichever server answers on a client.
pub trait Catalog: Send + Sync {
    /// Writes `command` and waits until it is applied.
    fn write(&self, command: Command) -> BoxFuture<'_, Result<Reply, WriteError>>;

    /// The records of the node `name`, as fresh as the leader's, and their index; waits until that is past `past`.
    fn read<'a>(&'a self, name: &'a str, past: Index) -> BoxFuture<'a, Result<(Index, Remote), ReadError>>;

    /// Resolves when there is somebody to write to to whom nothing may have been written yet; at once when there is
    /// already. `seen` is this call's own memory, zero at first.
    fn servers_changed<'a>(&'a self, seen: &'a mut u64) -> BoxFuture<'a, ()>;
}

/// The catalog of a server.
pub struct RaftCatalog {
    /// Writes go here.
    pub consensus: Consensus,
    /// Reads come from here.
    pub store: Arc<Store>,
    /// Both are counted here.
    pub metrics: Arc<Metrics>,
}

impl Catalog for RaftCatalog {
    fn write(&self, command: Command) -> BoxFuture<'_, Result<Reply, WriteError>> {
        Box::pin(async move { Ok(propose(&self.consensus, &self.metrics, command).await?.reply) })
    }

    fn read<'a>(&'a self, name: &'a str, past: Index) -> BoxFuture<'a, Result<(Index, Remote), ReadError>> {
        Box::pin(async move {
            self.metrics.count(Counter::Rpc);
            loop {
                let changed = self.store.watch(&[Topic::Node(fold(name))]);
                self.consensus.barrier(ReadMode::Lease).await?;
                let state = self.store.snapshot();
                let index = state.node(name).index.max(1);
                if index > past {
                    return Ok((index, Remote::of(&state, name)));
                }
                drop(state);
                changed.await;
            }
        })
    }

    fn servers_changed<'a>(&'a self, seen: &'a mut u64) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut leadership = self.consensus.leadership();
            // A term has one leader, and the terms of leaders are never zero.
            while leadership.leader.is_none() || leadership.term == *seen {
                leadership = self.consensus.leadership_changed(&leadership).await;
            }
            *seen = leadership.term;
        })
    }
}

/// Writes a batch, the first command alone and the others side by side, and reports what came of each.
pub(super) async fn write_all(
    catalog: Arc<dyn Catalog>,
    id: SyncId,
    commands: Vec<Command>,
    reports: mpsc::Sender<Input>,
) {
    let mut results = vec![SyncResult::Failed("not written".to_owned()); commands.len()];
    let permits = Arc::new(Semaphore::new(WRITES_MAX));
    let mut writes = JoinSet::new();
    for (place, command) in commands.into_iter().enumerate() {
        if place == 0 {
            results[0] = write_one(&*catalog, command).await;
            continue;
        }
        let (catalog, permits) = (catalog.clone(), permits.clone());
        writes.spawn(async move {
            let _permit = permits.acquire_owned().await;
            (place, write_one(&*catalog, command).await)
        });
    }
    while let Some(written) = writes.join_next().await {
        if let Ok((place, result)) = written {
            results[place] = result;
        }
    }
    // The loop that asked may have ended.
    let _ = reports.send(Input::SyncDone { id, results }).await;
}

async fn write_one(catalog: &dyn Catalog, command: Command) -> SyncResult {
    match catalog.write(command).await {
        Ok(Reply::Refused(refusal)) => SyncResult::Failed(refusal.to_string()),
        Ok(Reply::Done | Reply::Bool(_) | Reply::Txn(_) | Reply::TxnRefused(_)) => SyncResult::Done,
        Err(error) => SyncResult::Failed(error.to_string()),
    }
}

/// Tells the loop whenever there is a server it may not have written to yet.
pub(super) async fn report_servers(catalog: Arc<dyn Catalog>, reports: mpsc::Sender<Input>) {
    let mut seen = 0;
    loop {
        catalog.servers_changed(&mut seen).await;
        if reports.send(Input::ServersChanged).await.is_err() {
            return;
        }
    }
}
