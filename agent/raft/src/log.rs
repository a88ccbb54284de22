//! openraft's log store: a ring of recent entries in memory over a [`Disk`].
//!
//! Owns the log's bounds, the vote as last saved, and the newest entries, so
//! that appending, applying and replicating never wait for a read. Older
//! entries are read back from the disk. Counts what the log has grown by since
//! the last snapshot and says when another one is due.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_core::state::Proposal;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use crate::compaction::Meter;
use crate::disk::{Disk, Done, Op, closed};
use crate::record::{decode_entry, decode_log_id, decode_vote, encode_entry, encode_log_id, encode_vote};
use crate::types::{Entry, LogId, Membership, Payload, TypeConfig, Vote};

/// Memory of the entries kept there, beyond the newest one.
const RING_BYTES_MAX: usize = 1 << 20;

/// Memory of an entry beside what it carries: small ones take several times what they take encoded.
const ENTRY_BYTES: usize = size_of::<(Entry, usize)>() + size_of::<Proposal>() + 64;

/// Encoded size of the entries one replication message carries, beyond its first one.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The log of one server. Clones share it.
#[derive(Clone)]
pub struct LogStore {
    disk: Arc<dyn Disk>,
    log: Arc<Mutex<Log>>,
    meter: Arc<Meter>,
}

struct Log {
    /// The newest entries with their encoded size, consecutive up to the last.
    ring: VecDeque<(Entry, usize)>,
    ring_bytes: usize,
    /// The index of the ring's first entry; with an empty ring, of the entry that comes next.
    ring_start: u64,
    last: Option<LogId>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
}

impl LogStore {
    /// The log that `disk` holds.
    ///
    /// # Errors
    /// The disk failed or holds what cannot be read.
    pub async fn load(disk: Arc<dyn Disk>, meter: Arc<Meter>) -> io::Result<Self> {
        let loaded = disk.load().await?;
        let purged = loaded.purged.as_deref().map(|record| decode_log_id("purged log id", record)).transpose()?;
        let last = loaded.last.as_deref().map(|entry| decode_entry(entry).map(|entry| entry.log_id)).transpose()?;
        let last = last.or(purged);
        let log = Log {
            ring: VecDeque::new(),
            ring_bytes: 0,
            ring_start: next_index(last),
            last,
            purged,
            vote: loaded.vote.as_deref().map(decode_vote).transpose()?,
            committed: loaded.committed.as_deref().map(|id| decode_log_id("committed log id", id)).transpose()?,
        };
        meter.found_log(loaded.log_bytes);
        Ok(LogStore { disk, log: Arc::new(Mutex::new(log)), meter })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this server has ever voted.
    pub(crate) fn has_vote(&self) -> bool {
        self.log().vote.is_some()
    }

    /// The newest membership among the entries after `applied`.
    ///
    /// # Errors
    /// The disk failed or holds what cannot be read.
    pub(crate) async fn newest_membership(&self, applied: Option<LogId>) -> io::Result<Option<Membership>> {
        let mut from = next_index(applied);
        let mut newest = None;
        loop {
            // A piece at a time: the whole log may be larger than the state.
            let entries = self.entries(from, u64::MAX, MESSAGE_BYTES_MAX).await?;
            let Some(last) = entries.last() else { return Ok(newest) };
            from = last.log_id.index + 1;
            for entry in entries {
                if let Payload::Membership(membership) = entry.payload {
                    newest = Some(membership);
                }
            }
        }
    }

    /// The entries from `from` to before `to`, as far as there are any and `bytes_max` allows.
    async fn entries(&self, mut from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut room = bytes_max;
        loop {
            let older_end = {
                let log = self.log();
                from = from.max(next_index(log.purged));
                if from >= to.min(next_index(log.last)) {
                    return Ok(entries);
                }
                if from >= log.ring_start {
                    log.copy(from, to, room, &mut entries);
                    return Ok(entries);
                }
                to.min(log.ring_start)
            };
            let older = self.disk.read(from, older_end, room).await?;
            from = older_end;
            for bytes in &older {
                room = room.saturating_sub(bytes.len());
                let entry = decode_entry(bytes)?;
                from = entry.log_id.index + 1;
                entries.push(entry);
            }
            if from < older_end && bytes_max < usize::MAX {
                return Ok(entries);
            }
        }
    }
}

impl Log {
    fn copy(&self, from: u64, to: u64, mut room: usize, entries: &mut Vec<Entry>) {
        let skip = usize::try_from(from - self.ring_start).unwrap_or(usize::MAX);
        for (entry, size) in self.ring.iter().skip(skip) {
            if entry.log_id.index >= to || (!entries.is_empty() && *size > room) {
                break;
            }
            room = room.saturating_sub(*size);
            entries.push(entry.clone());
        }
    }

    fn push(&mut self, entry: Entry, size: usize) {
        if self.ring.is_empty() {
            self.ring_start = entry.log_id.index;
        }
        self.last = Some(entry.log_id);
        self.ring.push_back((entry, size));
        self.ring_bytes += size + ENTRY_BYTES;
        while self.ring_bytes > RING_BYTES_MAX && self.ring.len() > 1 {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, size)) = self.ring.pop_front() {
            self.ring_bytes -= size + ENTRY_BYTES;
            self.ring_start += 1;
        }
    }

    /// Ends the log at `last`; returns the first index that goes, if any does.
    fn truncate(&mut self, last: Option<LogId>) -> Option<u64> {
        let from = next_index(last);
        if from >= next_index(self.last) {
            return None;
        }
        while self.ring.back().is_some_and(|(entry, _)| entry.log_id.index >= from) {
            self.ring_bytes -= self.ring.pop_back().map_or(0, |(_, size)| size + ENTRY_BYTES);
        }
        self.ring_start = self.ring_start.min(from);
        self.last = last.or(self.purged);
        Some(from)
    }

    fn purge(&mut self, up_to: LogId) {
        while self.ring.front().is_some_and(|(entry, _)| entry.log_id.index <= up_to.index) {
            self.forget_first();
        }
        self.purged = Some(up_to);
        if next_index(self.last) <= up_to.index {
            self.last = Some(up_to);
        }
        self.ring_start = self.ring_start.max(up_to.index + 1);
    }
}

fn next_index(id: Option<LogId>) -> u64 {
    id.map_or(0, |id| id.index + 1)
}

/// A range as `from..to`.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        self.entries(from, to, usize::MAX).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.log().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.entries(start, end, MESSAGE_BYTES_MAX).await
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let log = self.log();
        Ok(LogState { last_purged_log_id: log.purged, last_log_id: log.last })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (answer, durable) = oneshot::channel();
        // Raft may have been dropped meanwhile: then nobody waits.
        let done = Done::new(move |result| drop(answer.send(result)));
        self.disk.submit(Op::Vote(encode_vote(vote)), done).await;
        durable.await.map_err(|_| closed())??;
        self.log().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else { return Ok(()) };
        self.log().committed = Some(committed);
        self.disk.submit(Op::Committed(encode_log_id(committed)), Done::nobody()).await;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let log = self.log();
        // A crash may keep the newer committed id of a log whose tail was never acknowledged: it says no more than the log.
        Ok(log.committed.min(log.last))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        let mut grown = 0;
        {
            let mut log = self.log();
            for entry in entries {
                let bytes = encode_entry(&entry);
                grown += bytes.len() as u64;
                records.push((entry.log_id.index, bytes.clone()));
                log.push(entry, bytes.len());
            }
        }
        self.meter.grown(grown);
        self.disk.submit(Op::Append(records), Done::new(|result| callback.io_completed(result))).await;
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let from = self.log().truncate(last_log_id);
        if let Some(from) = from {
            self.disk.submit(Op::Truncate { from }, Done::nobody()).await;
        }
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.log().purge(log_id);
        let op = Op::Purge { up_to: log_id.index, record: encode_log_id(log_id) };
        self.disk.submit(op, Done::nobody()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
