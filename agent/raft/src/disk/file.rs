//! The disk of a real server: one redb file, written by one thread.
//!
//! Owns the file `raft/raft.redb`, the snapshots beside it, and the thread that
//! alone touches them. The thread drains its queue, writes everything in one transaction, syncs once
//! and answers in order (group commit): whatever waits shares one sync, and a
//! lone write waits for nothing. Once a write has failed, every later one fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use super::open::{self, OpenError};
use super::snapshot_file::SnapshotFiles;
use super::{BoxFuture, Bytes, Disk, Done, Loaded, Op, StoredSnapshot, closed};

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
/// The size of a file whose free pages are given back once the log was purged. Smaller ones are about to be filled
/// again by the same load.
const SHRINK_BYTES_MIN: u64 = 64 << 20;

enum Request {
    Write(Op, Done),
    Load(oneshot::Sender<io::Result<Loaded>>),
    Read { from: u64, to: u64, bytes_max: usize, answer: oneshot::Sender<io::Result<Vec<Bytes>>> },
    ReadSnapshot(oneshot::Sender<io::Result<Option<StoredSnapshot>>>),
    Close(oneshot::Sender<()>),
}

/// A redb file behind a thread of its own.
#[derive(Debug)]
pub struct FileDisk {
    requests: mpsc::Sender<Request>,
}

/// What a log on a disk takes of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// How long after it began a batch is synced, so that the writes of that time share one sync: flash wears less, and a lone
    /// write waits as long for nothing.
    pub commit_pause: Duration,
    /// Pages of the file that are kept in memory, in bytes.
    pub cache_bytes: usize,
}

impl Default for Tuning {
    /// Syncs at once. The log is written in order and read from a ring: a cache of more than 2 MiB gains nothing.
    fn default() -> Self {
        Tuning { commit_pause: Duration::ZERO, cache_bytes: 2 << 20 }
    }
}

impl FileDisk {
    /// Opens `raft/raft.redb` under `data_dir`, creating both when absent.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed, except that an empty file may have been created.
    pub async fn open(data_dir: &Path) -> Result<Arc<Self>, OpenError> {
        Self::open_tuned(data_dir, Tuning::default()).await
    }

    /// The same with other figures than the usual.
    ///
    /// # Errors
    /// As [`FileDisk::open`].
    pub async fn open_tuned(data_dir: &Path, tuning: Tuning) -> Result<Arc<Self>, OpenError> {
        let dir = data_dir.join("raft");
        Self::start(Some(dir.clone()), tuning.commit_pause, move || open::open_file(&dir, tuning.cache_bytes)).await
    }

    /// Opens the database that `backend` holds, creating it when empty; `commit_pause` as in [`Tuning`]. For fault injection.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_backend(backend: impl StorageBackend, commit_pause: Duration) -> Result<Arc<Self>, OpenError> {
        Self::start(None, commit_pause, move || open::open_backend(backend)).await
    }

    /// Without a directory for them, snapshots are kept in the database.
    async fn start(
        dir: Option<PathBuf>,
        commit_pause: Duration,
        open: impl FnOnce() -> Result<Database, OpenError> + Send + 'static,
    ) -> Result<Arc<Self>, OpenError> {
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        let (opened, is_open) = oneshot::channel();
        let thread = thread::Builder::new().name("raft-log".into());
        let spawned = thread.spawn(move || match open() {
            Ok(database) => {
                if opened.send(Ok(())).is_ok() {
                    Writer::new(database, dir, commit_pause, queue).run();
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

    fn read_snapshot(&self) -> BoxFuture<'_, io::Result<Option<StoredSnapshot>>> {
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
    /// The file of the database, and the snapshots beside it; a database without a file keeps them itself.
    files: Option<(PathBuf, SnapshotFiles)>,
    commit_pause: Duration,
    /// Whether the log has not been purged since the database was opened.
    is_fresh: bool,
    queue: mpsc::Receiver<Request>,
    batch: Vec<(Op, Done)>,
    batch_bytes: usize,
    /// The committed log id waits here for a write that costs a sync anyway.
    committed: Option<Bytes>,
    failed: Option<(io::ErrorKind, String)>,
}

impl Writer {
    fn new(database: Database, dir: Option<PathBuf>, commit_pause: Duration, queue: mpsc::Receiver<Request>) -> Self {
        let files = dir.map(|dir| {
            // A database that cannot say fails as soon as it is asked for the rest: nothing is removed.
            let current = current_snapshot(&database).map(|found| found.map(|(id, _)| id));
            let files = current
                .map_or_else(|_| SnapshotFiles::untouched(dir.clone()), |id| SnapshotFiles::open(dir.clone(), id));
            (dir.join(open::FILE_NAME), files)
        });
        Writer {
            database,
            files,
            commit_pause,
            is_fresh: true,
            queue,
            batch: Vec::new(),
            batch_bytes: 0,
            committed: None,
            failed: None,
        }
    }

    fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut next = Some(first);
            while let Some(request) = next {
                if let Request::Close(answer) = request {
                    return self.close(answer);
                }
                let began = self.batch.is_empty();
                self.take(request);
                if began && !self.batch.is_empty() {
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "no runtime here; what comes meanwhile waits in the queue"
                    )]
                    thread::sleep(self.commit_pause);
                }
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
            Request::ReadSnapshot(answer) => {
                self.flush();
                drop(answer.send(self.check().and_then(|()| self.read_snapshot())));
            }
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
            && let Err(error) = self.write()
        {
            tracing::error!(%error, "could not write to the raft log");
            self.failed = Some((error.kind(), format!("could not write to the raft log: {error}")));
        }
        self.batch_bytes = 0;
        let purged = self.batch.iter().any(|(op, _)| matches!(op, Op::Purge { .. }));
        for (_, done) in std::mem::take(&mut self.batch) {
            done.complete(self.check());
        }
        if purged && self.failed.is_none() {
            self.shrink();
        }
    }

    /// Writes the batch: pieces of snapshots to their file, the rest in one transaction.
    fn write(&mut self) -> io::Result<()> {
        let mut finished = None;
        if let Some((_, files)) = &mut self.files {
            for (op, _) in &self.batch {
                match op {
                    Op::SnapshotChunk { id, number, bytes } => files.append(*id, *number, bytes)?,
                    // The file is durable before the database names it.
                    Op::Snapshot { id, .. } => {
                        files.finish(*id)?;
                        finished = Some(*id);
                    }
                    _ => {}
                }
            }
        }
        let in_files = self.files.is_some();
        let mut ops =
            self.batch.iter().map(|(op, _)| op).filter(|op| !in_files || !matches!(op, Op::SnapshotChunk { .. }));
        if let Some(first) = ops.next() {
            let ops = std::iter::once(first).chain(ops);
            commit(&self.database, self.committed.take(), ops, in_files).map_err(to_io)?;
        }
        if let (Some(id), Some((_, files))) = (finished, &self.files) {
            files.sweep(Some(id));
        }
        Ok(())
    }

    /// The snapshot that counts. One of an older format is in the database until the next is made.
    fn read_snapshot(&self) -> io::Result<Option<StoredSnapshot>> {
        let Some((id, record)) = current_snapshot(&self.database).map_err(to_io)? else { return Ok(None) };
        let from_file = self.files.as_ref().map_or(Ok(None), |(_, files)| files.read(id))?;
        let data = match from_file {
            Some(whole) => whole,
            None => read_chunks(&self.database, id).map_err(to_io)?,
        };
        Ok(Some(StoredSnapshot { record, data }))
    }

    /// Gives the free pages of the file back after a purge, when it has just been opened or is large. The log is
    /// short then: it takes milliseconds.
    fn shrink(&mut self) {
        let Some((file, _)) = &self.files else { return };
        let is_large = std::fs::metadata(file).is_ok_and(|about| about.len() > SHRINK_BYTES_MIN);
        if std::mem::take(&mut self.is_fresh) || is_large {
            // What stays only takes room. A disk that fails here fails at the next write, too.
            if let Err(error) = self.database.compact() {
                tracing::warn!(%error, "could not give back free pages of the raft log");
            }
        }
    }

    fn close(mut self, answer: oneshot::Sender<()>) {
        self.flush();
        if self.failed.is_none() && self.committed.is_some() {
            // Only makes the next start quicker: the log alone says what was committed.
            drop(commit(&self.database, self.committed.take(), std::iter::empty(), self.files.is_some()));
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
    snapshots_in_files: bool,
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
                    let keep = (!snapshots_in_files).then_some(*id);
                    transaction.open_table(CHUNKS)?.retain(|(of, _), _| Some(of) == keep)?;
                    // From now on an older build finds no snapshot where it looks.
                    meta.insert(open::FORMAT, [open::FORMAT_VERSION].as_slice())?;
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

/// Which snapshot counts, and what it is.
fn current_snapshot(database: &Database) -> Result<Option<(u64, Bytes)>, redb::Error> {
    let meta = database.begin_read()?.open_table(META)?;
    let (Some(id), Some(record)) = (meta.get(SNAPSHOT_ID)?, meta.get(SNAPSHOT)?) else { return Ok(None) };
    let id =
        id.value().try_into().map_err(|_| redb::Error::Corrupted("the snapshot's id is not eight bytes".into()))?;
    Ok(Some((u64::from_le_bytes(id), Bytes::from(record.value()))))
}

/// A snapshot that is kept in the database.
fn read_chunks(database: &Database, id: u64) -> Result<Vec<u8>, redb::Error> {
    let chunks = database.begin_read()?.open_table(CHUNKS)?;
    let mut whole = Vec::new();
    for chunk in chunks.range((id, 0)..=(id, u32::MAX))? {
        whole.extend_from_slice(chunk?.1.value());
    }
    Ok(whole)
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
