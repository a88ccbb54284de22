//! Snapshots: a frozen state, encoded, and kept on the disk in pieces.
//!
//! Owns the bookkeeping of the current snapshot. A state is frozen by cloning
//! it, which copies nothing, so applying goes on while it is encoded. The
//! pieces go through the log's queue between other writes, and only the last
//! op makes them the snapshot: a crash before it leaves the old one.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_core::state::{State, snapshot as encoding};
use openraft::RaftSnapshotBuilder;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot};

use crate::compaction::Meter;
use crate::disk::{Bytes, Disk, Done, Op, StoredSnapshot, closed};
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
    /// Held from the look at what is there to the last op: a snapshot that arrives while one is made would otherwise take
    /// its pieces away, or be replaced by it although it is newer.
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl SnapshotStore {
    pub(crate) async fn load(disk: Arc<dyn Disk>, meter: Arc<Meter>) -> io::Result<Self> {
        let head = disk.load().await?.snapshot.as_deref().map(decode_snapshot_head).transpose()?;
        meter.found(head.as_ref().map_or(0, |head| head.size_bytes));
        Ok(SnapshotStore { disk, meter, head: Arc::new(Mutex::new(head)), writing: Arc::default() })
    }

    fn head(&self) -> MutexGuard<'_, Option<SnapshotHead>> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the disk already holds a snapshot that reaches as far as `meta`.
    fn reaches(&self, meta: &SnapshotMeta) -> bool {
        self.head().as_ref().is_some_and(|head| head.meta.last_log_id >= meta.last_log_id)
    }

    pub(crate) async fn current(&self) -> io::Result<Option<Snapshot>> {
        // The head comes from the disk as well: ours is older than the bytes where a newer snapshot is kept meanwhile.
        let Some(StoredSnapshot { record, data }) = self.disk.read_snapshot().await? else { return Ok(None) };
        let head = decode_snapshot_head(&record)?;
        if data.len() as u64 != head.size_bytes {
            let why = format!("the stored snapshot has {} bytes instead of {}", data.len(), head.size_bytes);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(Some(Snapshot { meta: head.meta, snapshot: data }))
    }

    /// Keeps `data` durably, unless a newer snapshot is there already.
    pub(crate) async fn keep(&self, meta: &SnapshotMeta, data: &[u8]) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock().await;
        if self.reaches(meta) {
            return Ok(());
        }
        let mut draft = Draft::new(self, meta);
        for piece in data.chunks(CHUNK_BYTES) {
            draft.append(Bytes::from(piece)).await?;
        }
        draft.finish().await
    }

    /// Encodes `state` and keeps it a piece at a time: all of it at once would take as much memory again as the state.
    pub(crate) async fn keep_state(&self, meta: &SnapshotMeta, state: State) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock().await;
        if self.reaches(meta) {
            return Ok(());
        }
        let (sender, mut pieces) = mpsc::channel(1);
        let encoded = tokio::task::spawn_blocking(move || {
            let mut out = Pieces { piece: Vec::new(), sender };
            encoding::write(&state, &mut out)?;
            out.flush()
        });
        let mut draft = Draft::new(self, meta);
        while let Some(piece) = pieces.recv().await {
            draft.append(piece).await?;
        }
        encoded.await.map_err(io::Error::other)??;
        draft.finish().await
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

/// One snapshot on its way to the disk.
struct Draft<'a> {
    store: &'a SnapshotStore,
    id: u64,
    head: SnapshotHead,
}

impl<'a> Draft<'a> {
    fn new(store: &'a SnapshotStore, meta: &SnapshotMeta) -> Self {
        let id = meta.last_log_id.map_or(0, |id| id.index);
        Draft { store, id, head: SnapshotHead { meta: meta.clone(), chunks: 0, size_bytes: 0 } }
    }

    async fn append(&mut self, bytes: Bytes) -> io::Result<()> {
        let (number, size) = (self.head.chunks, bytes.len() as u64);
        self.store.write(Op::SnapshotChunk { id: self.id, number, bytes }).await?;
        self.head.chunks += 1;
        self.head.size_bytes += size;
        Ok(())
    }

    async fn finish(self) -> io::Result<()> {
        self.store.write(Op::Snapshot { id: self.id, record: encode_snapshot_head(&self.head) }).await?;
        *self.store.head() = Some(self.head);
        Ok(())
    }
}

/// Cuts what is written into pieces and hands them over, from a thread that may wait.
struct Pieces {
    piece: Vec<u8>,
    sender: mpsc::Sender<Bytes>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() == CHUNK_BYTES {
            self.flush()?;
        }
        let taken = bytes.len().min(CHUNK_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        let sent = self.sender.blocking_send(Bytes::from(self.piece.as_slice()));
        self.piece.clear();
        // Whoever wrote the pieces has failed, and says why.
        sent.map_err(|_| closed())
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
        // Raft looks at what the snapshot is of and drops its bytes. Who sends one asks for the current one.
        let mut snapshot = Vec::new();
        if has_threads() {
            self.store.keep_state(&self.meta, state).await?;
        } else {
            snapshot = encoding::encode(&state);
            self.store.keep(&self.meta, &snapshot).await?;
        }
        let size = self.store.head().as_ref().map_or(0, |head| head.size_bytes);
        self.store.meter.finished(self.begun, size);
        Ok(Snapshot { meta: self.meta.clone(), snapshot })
    }
}

/// Whether work can go on beside the runtime. In simulations there is a single thread.
fn has_threads() -> bool {
    Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread
}

/// Runs long work beside the runtime, where there is a beside.
pub(crate) async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    match has_threads() {
        true => tokio::task::spawn_blocking(work).await.map_err(io::Error::other),
        false => Ok(work()),
    }
}

#[cfg(test)]
mod tests;
