//! The disk of a real server: one redb file, written by one thread.
//!
//! Owns the file `raft/raft.redb` and the thread that alone touches it. The
//! thread drains its queue, writes everything in one transaction, syncs once
//! and answers in order (group commit): whatever waits shares one sync, and a
//! lone write waits for nothing. Once a write has failed, every later one fails.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use super::open::{self, OpenError};
use super::{BoxFuture, Bytes, Disk, Done, Loaded, Op, closed};

pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const CHUNKS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("snapshot");

const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const PURGED: &str = "purged";
const SNAPSHOT: &str = "snapshot";
const SNAPSHOT_ID: &str = "snapshot_id";

/// Ops that may wait in the queue before submitters wait.
const QUEUE_MAX: usize = 256;
/// Ops that share a transaction.
const BATCH_OPS_MAX: usize = 256;
/// Bytes that share a transaction; a single larger op still gets one.
const BATCH_BYTES_MAX: usize = 1 << 20;

enum Request {
    Write(Op, Done),
    Load(oneshot::Sender<io::Result<Loaded>>),
    Read { from: u64, to: u64, bytes_max: usize, answer: oneshot::Sender<io::Result<Vec<Bytes>>> },
    ReadSnapshot(oneshot::Sender<io::Result<Option<Vec<u8>>>>),
    Close(oneshot::Sender<()>),
}

/// A redb file behind a thread of its own.
#[derive(Debug)]
pub struct FileDisk {
    requests: mpsc::Sender<Request>,
}

impl FileDisk {
    /// Opens `raft/raft.redb` under `data_dir`, creating both when absent.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed, except that an empty file may have been created.
    pub async fn open(data_dir: &Path) -> Result<Arc<Self>, OpenError> {
        let dir = data_dir.join("raft");
        Self::start(move || open::open_file(&dir)).await
    }

    /// Opens the database that `backend` holds, creating it when empty. For fault injection.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_backend(backend: impl StorageBackend) -> Result<Arc<Self>, OpenError> {
        Self::start(move || open::open_backend(backend)).await
    }

    async fn start(
        open: impl FnOnce() -> Result<Database, OpenError> + Send + 'static,
    ) -> Result<Arc<Self>, OpenError> {
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        let (opened, is_open) = oneshot::channel();
        let thread = thread::Builder::new().name("raft-log".into());
        let spawned = thread.spawn(move || match open() {
            Ok(database) => {
                if opened.send(Ok(())).is_ok() {
                    Writer { database, queue, batch: Vec::new(), batch_bytes: 0, committed: None, failed: None }.run();
                }
            }
            // Whoever opened has gone: nobody is left to be told.
            Err(error) => drop(opened.send(Err(error))),
        });
        spawned.map_err(OpenError::Thread)?;
        is_open.await.map_err(|_| OpenError::Thread(closed()))??;
        Ok(Arc::new(FileDisk { requests }))
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<io::Result<T>>) -> Request) -> io::Result<T> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

impl Disk for FileDisk {
    fn load(&self) -> BoxFuture<'_, io::Result<Loaded>> {
        Box::pin(self.ask(Request::Load))
    }

    fn submit(&self, op: Op, done: Done) -> BoxFuture<'_, ()> {
        // A closed disk drops the request, which answers it.
        Box::pin(async move { drop(self.requests.send(Request::Write(op, done)).await) })
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> BoxFuture<'_, io::Result<Vec<Bytes>>> {
        Box::pin(self.ask(move |answer| Request::Read { from, to, bytes_max, answer }))
    }

    fn read_snapshot(&self) -> BoxFuture<'_, io::Result<Option<Vec<u8>>>> {
        Box::pin(self.ask(Request::ReadSnapshot))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let (answer, answered) = oneshot::channel();
            if self.requests.send(Request::Close(answer)).await.is_ok() {
                // An error means that the thread is gone, and the file with it.
                drop(answered.await);
            }
        })
    }
}

/// The thread: everything that touches the file.
struct Writer {
    database: Database,
    queue: mpsc::Receiver<Request>,
    batch: Vec<(Op, Done)>,
    batch_bytes: usize,
    /// The committed log id waits here for a write that costs a sync anyway.
    committed: Option<Bytes>,
    failed: Option<(io::ErrorKind, String)>,
}

impl Writer {
    fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut next = Some(first);
            while let Some(request) = next {
                if let Request::Close(answer) = request {
                    return self.close(answer);
                }
                self.take(request);
                let full = self.batch.len() >= BATCH_OPS_MAX || self.batch_bytes >= BATCH_BYTES_MAX;
                next = if full { None } else { self.queue.try_recv().ok() };
            }
            self.flush();
        }
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Write(Op::Committed(record), done) => {
                self.committed = Some(record);
                done.complete(Ok(()));
            }
            Request::Write(op, done) => {
                self.batch_bytes += op.size_bytes();
                self.batch.push((op, done));
            }
            // A reader that has gone needs no answer, hence the dropped results below.
            Request::Load(answer) => drop(answer.send(self.read(load))),
            Request::Read { from, to, bytes_max, answer } => {
                drop(answer.send(self.read(|database| read_entries(database, from, to, bytes_max))));
            }
            Request::ReadSnapshot(answer) => drop(answer.send(self.read(read_snapshot))),
            Request::Close(_) => unreachable!("closing is handled by the loop"),
        }
    }

    fn read<T>(&mut self, what: impl FnOnce(&Database) -> Result<T, redb::Error>) -> io::Result<T> {
        self.flush();
        self.check()?;
        what(&self.database).map_err(to_io)
    }

    fn check(&self) -> io::Result<()> {
        match &self.failed {
            Some((kind, why)) => Err(io::Error::new(*kind, why.clone())),
            None => Ok(()),
        }
    }

    /// Writes the batch in one transaction, then answers in order.
    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if self.failed.is_none()
            && let Err(error) = commit(&self.database, self.committed.take(), self.batch.iter().map(|(op, _)| op))
        {
            let error = to_io(error);
            tracing::error!(%error, "could not write to the raft log");
            self.failed = Some((error.kind(), format!("could not write to the raft log: {error}")));
        }
        self.batch_bytes = 0;
        for (_, done) in std::mem::take(&mut self.batch) {
            done.complete(self.check());
        }
    }

    fn close(mut self, answer: oneshot::Sender<()>) {
        self.flush();
        if self.failed.is_none() && self.committed.is_some() {
            // Only makes the next start quicker: the log alone says what was committed.
            drop(commit(&self.database, self.committed.take(), std::iter::empty()));
        }
        drop(self);
        // Whoever closed may have stopped waiting; the file is released all the same.
        answer.send(()).ok();
    }
}

fn commit<'a>(
    database: &Database,
    committed: Option<Bytes>,
    ops: impl Iterator<Item = &'a Op>,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        let mut log = transaction.open_table(LOG)?;
        if let Some(record) = committed {
            meta.insert(COMMITTED, &*record)?;
        }
        for op in ops {
            match op {
                Op::Append(entries) => {
                    for (index, bytes) in entries {
                        log.insert(index, &**bytes)?;
                    }
                }
                Op::Truncate { from } => log.retain_in::<u64, _>(from.., |_, _| false)?,
                Op::Purge { up_to, record } => {
                    log.retain_in::<u64, _>(..=up_to, |_, _| false)?;
                    meta.insert(PURGED, &**record)?;
                }
                Op::Vote(record) => drop(meta.insert(VOTE, &**record)?),
                Op::Committed(record) => drop(meta.insert(COMMITTED, &**record)?),
                Op::SnapshotChunk { id, number, bytes } => {
                    transaction.open_table(CHUNKS)?.insert((*id, *number), &**bytes)?;
                }
                Op::Snapshot { id, record } => {
                    let keep = *id;
                    transaction.open_table(CHUNKS)?.retain(|(of, _), _| of == keep)?;
                    meta.insert(SNAPSHOT, &**record)?;
                    meta.insert(SNAPSHOT_ID, id.to_le_bytes().as_slice())?;
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn load(database: &Database) -> Result<Loaded, redb::Error> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let get = |key| Ok::<_, redb::Error>(meta.get(key)?.map(|record| Bytes::from(record.value())));
    let log = transaction.open_table(LOG)?;
    let mut log_bytes = 0;
    for entry in log.iter()? {
        log_bytes += entry?.1.value().len() as u64;
    }
    Ok(Loaded {
        vote: get(VOTE)?,
        committed: get(COMMITTED)?,
        purged: get(PURGED)?,
        last: log.last()?.map(|(_, bytes)| Bytes::from(bytes.value())),
        log_bytes,
        snapshot: get(SNAPSHOT)?,
    })
}

fn read_entries(database: &Database, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Bytes>, redb::Error> {
    let log = database.begin_read()?.open_table(LOG)?;
    let mut entries = Vec::new();
    let mut room = bytes_max;
    for entry in log.range(from..to.max(from))? {
        let (_, bytes) = entry?;
        let bytes = bytes.value();
        if !entries.is_empty() && bytes.len() > room {
            break;
        }
        room = room.saturating_sub(bytes.len());
        entries.push(Bytes::from(bytes));
    }
    Ok(entries)
}

fn read_snapshot(database: &Database) -> Result<Option<Vec<u8>>, redb::Error> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let Some(id) = meta.get(SNAPSHOT_ID)? else { return Ok(None) };
    let id = u64::from_le_bytes(
        id.value().try_into().map_err(|_| redb::Error::Corrupted("the snapshot's id is not eight bytes".into()))?,
    );
    let chunks = transaction.open_table(CHUNKS)?;
    let mut whole = Vec::new();
    for chunk in chunks.range((id, 0)..=(id, u32::MAX))? {
        whole.extend_from_slice(chunk?.1.value());
    }
    Ok(Some(whole))
}

/// Creates the tables that reading expects.
pub(super) fn create_tables(database: &Database, format: u8) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(open::FORMAT, [format].as_slice())?;
        transaction.open_table(LOG)?;
        transaction.open_table(CHUNKS)?;
    }
    transaction.commit()?;
    Ok(())
}

fn to_io(error: redb::Error) -> io::Error {
    match error {
        redb::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests;
