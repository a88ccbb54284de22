//! Records in memory: the disk of `-dev`, and the image a simulated disk works on.
//!
//! Owns ordered maps of bytes; forgets everything with the process.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{BoxFuture, Bytes, Disk, Done, Loaded, Op, StoredSnapshot};

/// What a disk holds, as plain maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    log: BTreeMap<u64, Bytes>,
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    purged: Option<Bytes>,
    chunks: BTreeMap<(u64, u32), Bytes>,
    snapshot: Option<(u64, Bytes)>,
}

impl Records {
    /// Does what `op` says.
    pub fn apply(&mut self, op: Op) {
        match op {
            Op::Append(entries) => self.log.extend(entries),
            Op::Truncate { from } => drop(self.log.split_off(&from)),
            Op::Purge { up_to, record } => {
                self.log = self.log.split_off(&(up_to + 1));
                self.purged = Some(record);
            }
            Op::Vote(record) => self.vote = Some(record),
            Op::Committed(record) => self.committed = Some(record),
            Op::SnapshotChunk { id, number, bytes } => drop(self.chunks.insert((id, number), bytes)),
            Op::Snapshot { id, record } => {
                self.chunks.retain(|(of, _), _| *of == id);
                self.snapshot = Some((id, record));
            }
        }
    }

    /// What is held beside the entries.
    pub fn load(&self) -> Loaded {
        Loaded {
            vote: self.vote.clone(),
            committed: self.committed.clone(),
            purged: self.purged.clone(),
            last: self.log.last_key_value().map(|(_, bytes)| bytes.clone()),
            log_bytes: self.log.values().map(|bytes| bytes.len() as u64).sum(),
            snapshot: self.snapshot.as_ref().map(|(_, record)| record.clone()),
        }
    }

    /// As [`Disk::read`].
    pub fn read(&self, from: u64, to: u64, bytes_max: usize) -> Vec<Bytes> {
        let mut room = bytes_max;
        let entries = self.log.range(from..to.max(from)).map(|(_, bytes)| bytes.clone()).enumerate();
        entries
            .take_while(|(place, bytes)| {
                let fits = *place == 0 || bytes.len() <= room;
                room = room.saturating_sub(bytes.len());
                fits
            })
            .map(|(_, bytes)| bytes)
            .collect()
    }

    /// As [`Disk::read_snapshot`].
    pub fn read_snapshot(&self) -> Option<StoredSnapshot> {
        let (id, record) = self.snapshot.as_ref()?;
        let mut data = Vec::new();
        self.chunks.range((*id, 0)..=(*id, u32::MAX)).for_each(|(_, chunk)| data.extend_from_slice(chunk));
        Some(StoredSnapshot { record: record.clone(), data })
    }
}

/// A disk without a disk.
#[derive(Debug, Default)]
pub struct MemoryDisk(Mutex<Records>);

impl MemoryDisk {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for MemoryDisk {
    fn load(&self) -> BoxFuture<'_, io::Result<Loaded>> {
        let loaded = self.records().load();
        Box::pin(async move { Ok(loaded) })
    }

    fn submit(&self, op: Op, done: Done) -> BoxFuture<'_, ()> {
        self.records().apply(op);
        done.complete(Ok(()));
        Box::pin(async {})
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> BoxFuture<'_, io::Result<Vec<Bytes>>> {
        let entries = self.records().read(from, to, bytes_max);
        Box::pin(async move { Ok(entries) })
    }

    fn read_snapshot(&self) -> BoxFuture<'_, io::Result<Option<StoredSnapshot>>> {
        let snapshot = self.records().read_snapshot();
        Box::pin(async move { Ok(snapshot) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64) -> (u64, Bytes) {
        (index, Bytes::from([index as u8; 10]))
    }

    #[test]
    fn a_read_is_bounded_by_bytes_but_never_empty() {
        let mut records = Records::default();
        records.apply(Op::Append((1..=5).map(entry).collect()));

        assert_eq!(records.read(1, 6, 25).len(), 2);
        assert_eq!(records.read(3, 6, 1).len(), 1);
        assert_eq!(records.read(6, 9, 100).len(), 0);
    }

    #[test]
    fn a_snapshot_replaces_the_one_before() {
        let mut records = Records::default();
        let chunk = |id, number, text: &[u8]| Op::SnapshotChunk { id, number, bytes: text.into() };
        records.apply(chunk(3, 0, b"old"));
        records.apply(Op::Snapshot { id: 3, record: b"3".as_slice().into() });
        records.apply(chunk(9, 0, b"ne"));
        assert_eq!(records.read_snapshot().unwrap().data, b"old");
        records.apply(chunk(9, 1, b"w"));

        records.apply(Op::Snapshot { id: 9, record: b"9".as_slice().into() });

        assert_eq!(records.read_snapshot().unwrap().data, b"new");
        assert_eq!(records.chunks.len(), 2);
    }
}
