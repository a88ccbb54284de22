//! Snapshots: a frozen state, encoded, and kept on the disk in pieces.
//!
//! Owns the bookkeeping of the current snapshot. A state is frozen by cloning
//! it, which copies nothing, so applying goes on while it is encoded. The
//! pieces go through the log's queue between other writes, and only the last
//! op makes them the snapshot: a crash before it leaves the old one.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_core::state::{State, snapshot as encoding};
use openraft::RaftSnapshotBuilder;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

use crate::compaction::Meter;
use crate::disk::{Bytes, Disk, Done, Op, closed};
use crate::record::{SnapshotHead, decode_snapshot_head, encode_snapshot_head};
use crate::types::{Snapshot, SnapshotMeta, TypeConfig};

/// The size of a piece: small enough not to hold up the writes queued behind it.
const CHUNK_BYTES: usize = 256 << 10;

/// The current snapshot on the disk. Clones share it.
#[derive(Clone)]
pub(crate) struct SnapshotStore {
    disk: Arc<dyn Disk>,
    meter: Arc<Meter>,
    head: Arc<Mutex<Option<SnapshotHead>>>,
}

impl SnapshotStore {
    pub(crate) async fn load(disk: Arc<dyn Disk>, meter: Arc<Meter>) -> io::Result<Self> {
        let head = disk.load().await?.snapshot.as_deref().map(decode_snapshot_head).transpose()?;
        meter.found(head.as_ref().map_or(0, |head| head.size_bytes));
        Ok(SnapshotStore { disk, meter, head: Arc::new(Mutex::new(head)) })
    }

    fn head(&self) -> MutexGuard<'_, Option<SnapshotHead>> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the disk already holds a snapshot that reaches as far as `meta`.
    fn reaches(&self, meta: &SnapshotMeta) -> bool {
        self.head().as_ref().is_some_and(|head| head.meta.last_log_id >= meta.last_log_id)
    }

    pub(crate) async fn current(&self) -> io::Result<Option<Snapshot>> {
        let Some(head) = self.head().clone() else { return Ok(None) };
        let Some(data) = self.disk.read_snapshot().await? else { return Ok(None) };
        if data.len() as u64 != head.size_bytes {
            let why = format!("the stored snapshot has {} bytes instead of {}", data.len(), head.size_bytes);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(Some(Snapshot { meta: head.meta, snapshot: data }))
    }

    /// Keeps `data` durably, unless a newer snapshot is there already.
    pub(crate) async fn keep(&self, meta: &SnapshotMeta, data: &[u8]) -> io::Result<()> {
        if self.reaches(meta) {
            return Ok(());
        }
        let id = meta.last_log_id.map_or(0, |id| id.index);
        let mut chunks = 0;
        for piece in data.chunks(CHUNK_BYTES) {
            let op = Op::SnapshotChunk { id, number: chunks, bytes: Bytes::from(piece) };
            self.write(op).await?;
            chunks += 1;
        }
        let head = SnapshotHead { meta: meta.clone(), chunks, size_bytes: data.len() as u64 };
        self.write(Op::Snapshot { id, record: encode_snapshot_head(&head) }).await?;
        *self.head() = Some(head);
        Ok(())
    }

    /// Waits for each piece, so that at most one of them stands before a log write in the queue.
    async fn write(&self, op: Op) -> io::Result<()> {
        let (answer, durable) = oneshot::channel();
        self.disk.submit(op, Done::new(move |result| drop(answer.send(result)))).await;
        durable.await.map_err(|_| closed())?
    }

    pub(crate) fn builder(&self, meta: SnapshotMeta, state: State) -> SnapshotBuilder {
        SnapshotBuilder { store: self.clone(), meta, state, begun: self.meter.begun() }
    }
}

/// One snapshot being made of a frozen state.
pub struct SnapshotBuilder {
    store: SnapshotStore,
    meta: SnapshotMeta,
    state: State,
    begun: u64,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let state = std::mem::take(&mut self.state);
        let data = off_runtime(move || encoding::encode(&state)).await?;
        self.store.keep(&self.meta, &data).await?;
        self.store.meter.finished(self.begun, data.len() as u64);
        Ok(Snapshot { meta: self.meta.clone(), snapshot: data })
    }
}

/// Runs long work beside the runtime. On a single thread, as in simulations, there is no beside.
pub(crate) async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Ok(work()),
        _ => tokio::task::spawn_blocking(work).await.map_err(io::Error::other),
    }
}
