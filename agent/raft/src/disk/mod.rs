//! Where the log, the vote and the snapshots are kept: the one trait between Raft and a disk.
//!
//! A [`Disk`] takes writes in order and says when each is durable. [`file`]
//! keeps them in a redb file, [`memory`] nowhere (`-dev`), and the simulator brings
//! one that crashes. A disk knows records only as bytes.

pub mod file;
pub mod memory;
pub mod open;
mod snapshot_file;

use std::future::Future;
use std::io;
use std::pin::Pin;

pub use crate::record::Bytes;

/// A boxed future, because disks are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A change of what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Adds entries, consecutive and after all that is kept.
    Append(Vec<(u64, Bytes)>),
    /// Forgets every entry at or after this index.
    Truncate {
        /// The first index to forget.
        from: u64,
    },
    /// Forgets every entry up to and including this index.
    Purge {
        /// The last index to forget.
        up_to: u64,
        /// Its log id, to be kept instead.
        record: Bytes,
    },
    /// Replaces the vote.
    Vote(Bytes),
    /// Replaces the committed log id. May wait for the next other write: it must never cost a flush of its own.
    Committed(Bytes),
    /// Keeps a piece of the snapshot `id` that is being written.
    SnapshotChunk {
        /// Which snapshot.
        id: u64,
        /// Which piece, from zero.
        number: u32,
        /// The piece.
        bytes: Bytes,
    },
    /// Makes the snapshot `id`, all of whose chunks were written before, the only one.
    Snapshot {
        /// Which snapshot.
        id: u64,
        /// What it is.
        record: Bytes,
    },
}

impl Op {
    /// About how many bytes this adds to a write.
    pub fn size_bytes(&self) -> usize {
        match self {
            Op::Append(entries) => entries.iter().map(|(_, bytes)| bytes.len() + 8).sum(),
            Op::Truncate { .. } => 8,
            Op::Purge { record, .. } | Op::Snapshot { record, .. } => record.len(),
            Op::Vote(bytes) | Op::Committed(bytes) | Op::SnapshotChunk { bytes, .. } => bytes.len(),
        }
    }
}

/// Who waits for an [`Op`] to be durable. Answered exactly once: dropping it says that it never will be.
#[must_use]
pub struct Done(Option<Box<dyn FnOnce(io::Result<()>) + Send>>);

impl Done {
    /// Calls `answer` from whatever thread the disk works on.
    pub fn new(answer: impl FnOnce(io::Result<()>) + Send + 'static) -> Self {
        Done(Some(Box::new(answer)))
    }

    /// Nobody waits.
    pub fn nobody() -> Self {
        Done(None)
    }

    /// Says that the op is durable, or why it is not.
    pub fn complete(mut self, result: io::Result<()>) {
        if let Some(answer) = self.0.take() {
            answer(result);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(answer) = self.0.take() {
            answer(Err(closed()));
        }
    }
}

/// The error of a disk that was closed.
pub fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the disk was closed before the write was durable")
}

/// What a disk holds beside the entries themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The vote.
    pub vote: Option<Bytes>,
    /// The committed log id, at most as new as the truth.
    pub committed: Option<Bytes>,
    /// The log id of the last purged entry.
    pub purged: Option<Bytes>,
    /// The newest entry.
    pub last: Option<Bytes>,
    /// The size of all entries together.
    pub log_bytes: u64,
    /// What the snapshot is.
    pub snapshot: Option<Bytes>,
}

/// The current snapshot, as one read found it: a newer one may take its place right after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// What it is, as [`Op::Snapshot`] said.
    pub record: Bytes,
    /// Its chunks, joined.
    pub data: Vec<u8>,
}

/// Keeps what Raft must not forget.
///
/// Ops take effect in the order of their submission; a read sees every op
/// submitted before it, durable or not. After the first failure all that
/// follows fails too, so nothing is acknowledged on top of a hole.
pub trait Disk: Send + Sync + 'static {
    /// What is kept.
    ///
    /// # Errors
    /// The disk failed.
    fn load(&self) -> BoxFuture<'_, io::Result<Loaded>>;

    /// Queues `op`; waits only while the queue is full. `done` is told when it is durable.
    fn submit(&self, op: Op, done: Done) -> BoxFuture<'_, ()>;

    /// The entries from `from` to before `to`, in order: at least one if there is one, then as many as fit `bytes_max`.
    ///
    /// # Errors
    /// The disk failed.
    fn read(&self, from: u64, to: u64, bytes_max: usize) -> BoxFuture<'_, io::Result<Vec<Bytes>>>;

    /// The current snapshot.
    ///
    /// # Errors
    /// The disk failed.
    fn read_snapshot(&self) -> BoxFuture<'_, io::Result<Option<StoredSnapshot>>>;

    /// Makes durable what was submitted, then releases the storage. Later ops fail.
    fn close(&self) -> BoxFuture<'_, ()>;
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_dropped_done_says_that_it_failed() {
        let (sender, answers) = mpsc::channel();

        drop(Done::new(move |result| sender.send(result).unwrap()));

        assert_eq!(answers.recv().unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
