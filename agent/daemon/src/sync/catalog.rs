//! The catalog as the loop needs it: read one node, write commands, know when either may work again.

use std::sync::Arc;

use agent_core::local::anti_entropy::Remote;
use agent_core::local::{Input, SyncId, SyncResult};
use agent_core::state::tables::fold;
use agent_core::state::{Command, Reply};
use agent_core::store::Store;
use agent_core::watch::Topic;
use agent_raft::consensus::{Consensus, Leadership, ReadError, ReadMode, WriteError};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::env::BoxFuture;
use crate::propose::propose;
use crate::telemetry::{Counter, Metrics};

/// How many commands of one batch are on the way at once: enough that one sync to disk serves many.
const WRITES_MAX: usize = 32;

/// Where the catalog is read and written: Raft on a server, a forwarder on a client.
pub trait Catalog: Send + Sync {
    /// Writes `command` and waits until it is applied.
    fn write(&self, command: Command) -> BoxFuture<'_, Result<Reply, WriteError>>;

    /// The records of the node `name`, as fresh as the leader's.
    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Remote, ReadError>>;

    /// Resolves when anything of the node `name` changed after this call.
    fn changed(&self, name: &str) -> BoxFuture<'static, ()>;

    /// Resolves when the leadership differs from `seen`.
    fn leadership_changed<'a>(&'a self, seen: &'a Leadership) -> BoxFuture<'a, Leadership>;
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

    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Remote, ReadError>> {
        Box::pin(async move {
            self.metrics.count(Counter::Rpc);
            self.consensus.barrier(ReadMode::Lease).await?;
            Ok(Remote::of(&self.store.snapshot(), name))
        })
    }

    fn changed(&self, name: &str) -> BoxFuture<'static, ()> {
        Box::pin(self.store.watch(&[Topic::Node(fold(name))]))
    }

    fn leadership_changed<'a>(&'a self, seen: &'a Leadership) -> BoxFuture<'a, Leadership> {
        Box::pin(self.consensus.leadership_changed(seen))
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

/// Tells the loop whenever there is a leader it may not have written to yet.
pub(super) async fn report_leaders(catalog: Arc<dyn Catalog>, reports: mpsc::Sender<Input>) {
    let mut seen = Leadership::default();
    loop {
        seen = catalog.leadership_changed(&seen).await;
        if seen.leader.is_some() && reports.send(Input::ServersChanged).await.is_err() {
            return;
        }
    }
}
