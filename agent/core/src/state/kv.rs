//! Keys: their rules and queries.
//!
//! Owns `kv`, `tombstones`, `session_keys` and `lock_delays`. An absent key
//! answers the index of its tombstone; when tombstones are reaped, the newest
//! reaped index becomes the floor of every answer about absent keys and
//! prefixes, so that no query's index ever goes back.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use super::Answer;
use super::command::{KvOp, KvWrite, Refusal};
use super::tables::{Index, KvEntry, SessionId, State};
use super::write::Write;
use crate::watch::Topic;

/// The largest value accepted by default, in bytes (Consul's `kv_max_value_size`).
pub const VALUE_BYTES_MAX: usize = 512 * 1024;

/// How many tombstones one [`super::Command::TombstoneReap`] forgets at most; the next takes the rest.
const REAPED_MAX: usize = 100_000;

/// The longest lock-delay, in milliseconds (Consul's documentation of sessions); longer ones are cut.
const LOCK_DELAY_MS_MAX: u64 = 60_000;

impl State {
    /// One key. The index is that of its last change or deletion. Topic: `KvKey`.
    pub fn kv_get(&self, key: &str) -> Answer<Option<Arc<KvEntry>>> {
        let Answer { index, value } = self.kv_look(key);
        Answer { index, value: value.cloned() }
    }

    /// The same for who only looks: a reference counted up and down by every processor costs more than the lookup.
    pub fn kv_look(&self, key: &str) -> Answer<Option<&Arc<KvEntry>>> {
        let value = self.kv.get(key);
        let index = match value {
            Some(entry) => entry.modify_index,
            None => self.tombstones.get(key).copied().unwrap_or(0).max(self.indexes.tombstones_reaped).max(1),
        };
        Answer { index, value }
    }

    /// Every key that starts with `prefix`, in order. Topic: `KvPrefix`.
    pub fn kv_list(&self, prefix: &str) -> Answer<Vec<Arc<KvEntry>>> {
        let value: Vec<_> = self.kv.under(prefix).cloned().collect();
        let newest = value.iter().map(|entry| entry.modify_index).max();
        Answer { index: self.prefix_index(prefix, newest), value }
    }

    /// The names under `prefix`, cut after the first `separator` that follows it
    /// (an empty separator cuts nothing), without repeats, in order. Topic: `KvPrefix`.
    ///
    /// As in Consul the index moves with every change below the prefix, not only when names do.
    pub fn kv_keys(&self, prefix: &str, separator: &str) -> Answer<Vec<String>> {
        let mut value: Vec<String> = Vec::new();
        let mut newest = None;
        for entry in self.kv.under(prefix) {
            newest = newest.max(Some(entry.modify_index));
            let name = cut_after(&entry.key, prefix.len(), separator);
            if value.last().is_none_or(|last| last != name) {
                value.push(name.to_string());
            }
        }
        Answer { index: self.prefix_index(prefix, newest), value }
    }

    fn prefix_index(&self, prefix: &str, newest_entry: Option<Index>) -> Index {
        if prefix.is_empty() {
            return self.indexes.kv.max(1);
        }
        let newest_tombstone = under(&self.tombstones, prefix).map(|(_, index)| *index).max();
        newest_entry.max(newest_tombstone).unwrap_or(0).max(self.indexes.tombstones_reaped).max(1)
    }
}

/// The entries of `table` whose key starts with `prefix`, in order.
fn under<'a, V: Clone>(table: &'a OrdMap<String, V>, prefix: &'a str) -> impl Iterator<Item = (&'a String, &'a V)> {
    let range: (Bound<&str>, Bound<&str>) = (Bound::Included(prefix), Bound::Unbounded);
    table.range::<_, str>(range).take_while(move |(key, _)| key.starts_with(prefix))
}

/// `key` up to and including the first `separator` at or after byte `from`.
fn cut_after<'a>(key: &'a str, from: usize, separator: &str) -> &'a str {
    if separator.is_empty() {
        return key;
    }
    match key[from..].find(separator) {
        Some(at) => &key[..from + at + separator.len()],
        None => key,
    }
}

/// What a key/value operation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KvOutcome {
    /// The key is as the operation wants it, whether or not that was a change.
    Done,
    /// The modify index is not the one given.
    StaleIndex,
    /// Another session has the lock.
    LockHeld,
    /// The session that had the lock was invalidated too recently.
    LockDelay,
    /// The session does not have the lock.
    NotHolder,
}

/// Who holds a key after a write.
struct Holder {
    session: SessionId,
    lock_index: u64,
}

impl Write<'_> {
    /// Runs one operation.
    pub fn kv(&mut self, op: &KvOp) -> Result<KvOutcome, Refusal> {
        match op {
            KvOp::Set(write) => self.kv_set(write),
            KvOp::Cas { write, index } => {
                if self.modify_index(&write.key) != *index {
                    return Ok(KvOutcome::StaleIndex);
                }
                self.kv_set(write);
            }
            KvOp::Lock { write, session } => return self.kv_lock(write, session),
            KvOp::Unlock { write, session } => return self.kv_unlock(write, session),
            KvOp::Delete { key } => self.kv_delete(key),
            KvOp::DeleteCas { key, index } => {
                if self.state.kv.contains_key(key) && self.modify_index(key) != *index {
                    return Ok(KvOutcome::StaleIndex);
                }
                self.kv_delete(key);
            }
            KvOp::DeleteTree { prefix } => self.kv_delete_tree(prefix),
        }
        Ok(KvOutcome::Done)
    }

    /// The modify index of a key, zero when absent.
    fn modify_index(&self, key: &str) -> Index {
        self.state.kv.get(key).map_or(0, |entry| entry.modify_index)
    }

    /// A write without a lock leaves the holder but restarts the lock's count, as Consul does.
    fn kv_set(&mut self, write: &KvWrite) {
        let session = self.state.kv.get(&write.key).map(|entry| entry.session.clone()).unwrap_or_default();
        self.kv_put(write, Holder { session, lock_index: 0 });
    }

    fn kv_lock(&mut self, write: &KvWrite, session: &SessionId) -> Result<KvOutcome, Refusal> {
        if session.is_empty() {
            return Err(Refusal::MissingSession);
        }
        if !self.state.sessions.contains_key(session) {
            return Err(Refusal::InvalidSession(session.clone()));
        }
        if self.state.lock_delays.get(&write.key).is_some_and(|until_ms| delays(*until_ms, self.now_ms)) {
            return Ok(KvOutcome::LockDelay);
        }
        let lock_index = match self.state.kv.get(&write.key) {
            Some(entry) if entry.session == *session => entry.lock_index,
            Some(entry) if !entry.session.is_empty() => return Ok(KvOutcome::LockHeld),
            Some(entry) => entry.lock_index + 1,
            None => 1,
        };
        self.state.lock_delays.remove(&write.key);
        self.kv_put(write, Holder { session: session.clone(), lock_index });
        Ok(KvOutcome::Done)
    }

    fn kv_unlock(&mut self, write: &KvWrite, session: &SessionId) -> Result<KvOutcome, Refusal> {
        if session.is_empty() {
            return Err(Refusal::MissingSession);
        }
        match self.state.kv.get(&write.key) {
            Some(entry) if entry.session == *session => {
                let lock_index = entry.lock_index;
                self.kv_put(write, Holder { session: SessionId::new(), lock_index });
                Ok(KvOutcome::Done)
            }
            Some(_) | None => Ok(KvOutcome::NotHolder),
        }
    }

    /// Stores a key unless it already is exactly so.
    fn kv_put(&mut self, write: &KvWrite, holder: Holder) {
        let existing = self.state.kv.get(&write.key).cloned();
        let mut entry = KvEntry {
            key: write.key.clone(),
            value: write.value.clone(),
            flags: write.flags,
            session: holder.session,
            lock_index: holder.lock_index,
            create_index: self.index,
            modify_index: self.index,
        };
        if let Some(existing) = &existing {
            entry.create_index = existing.create_index;
            entry.modify_index = existing.modify_index;
            if **existing == entry {
                return;
            }
            entry.modify_index = self.index;
            self.forget_holder(existing);
        }
        if !entry.session.is_empty() {
            self.state.session_keys.insert((entry.session.clone(), entry.key.clone()), ());
        }
        self.state.tombstones.remove(&write.key);
        self.mark_key(&write.key);
        self.state.kv.insert(Arc::new(entry));
    }

    /// Removes a key and leaves a tombstone.
    fn kv_delete(&mut self, key: &str) {
        if self.kv_remove(key) {
            self.mark_key(key);
        }
    }

    fn kv_delete_tree(&mut self, prefix: &str) {
        let keys: Vec<String> = self.state.kv.under(prefix).map(|entry| entry.key.clone()).collect();
        if keys.is_empty() {
            return;
        }
        for key in &keys {
            self.kv_remove(key);
        }
        self.state.indexes.kv = self.index;
        self.touched.insert(Topic::KvPrefix(prefix.to_string()));
    }

    fn kv_remove(&mut self, key: &str) -> bool {
        let Some(entry) = self.state.kv.remove(key) else { return false };
        self.forget_holder(&entry);
        self.state.tombstones.insert(key.to_string(), self.index);
        true
    }

    fn forget_holder(&mut self, entry: &KvEntry) {
        if !entry.session.is_empty() {
            self.state.session_keys.remove(&(entry.session.clone(), entry.key.clone()));
        }
    }

    fn mark_key(&mut self, key: &str) {
        self.state.indexes.kv = self.index;
        self.touched.insert(Topic::KvKey(key.to_string()));
    }

    /// Takes the lock from a session that ends: the key is released or deleted and may not be acquired for a while.
    pub fn kv_invalidate(&mut self, key: &str, delete: bool, lock_delay_ms: u64) {
        if delete {
            self.kv_delete(key);
        } else if let Some(entry) = self.state.kv.get(key).cloned() {
            self.forget_holder(&entry);
            let released = KvEntry { session: SessionId::new(), modify_index: self.index, ..(*entry).clone() };
            self.state.kv.insert(Arc::new(released));
            self.mark_key(key);
        }
        if lock_delay_ms > 0 {
            let until_ms = self.now_ms.saturating_add(lock_delay_ms.min(LOCK_DELAY_MS_MAX));
            self.state.lock_delays.insert(key.to_string(), until_ms);
        }
    }

    /// Forgets tombstones up to an index, and lock-delays that are over.
    pub fn reap(&mut self, up_to: Index) {
        let old = self.state.tombstones.iter().filter(|(_, at)| **at <= up_to);
        let dead: Vec<(String, Index)> = old.take(REAPED_MAX).map(|(key, at)| (key.clone(), *at)).collect();
        for (key, at) in dead {
            self.state.tombstones.remove(&key);
            self.state.indexes.tombstones_reaped = self.state.indexes.tombstones_reaped.max(at);
        }
        let now_ms = self.now_ms;
        let over = self.state.lock_delays.iter().filter(|(_, until_ms)| !delays(**until_ms, now_ms));
        let over: Vec<String> = over.take(REAPED_MAX).map(|(key, _)| key.clone()).collect();
        for key in over {
            self.state.lock_delays.remove(&key);
        }
    }
}

/// Whether a lock-delay holds a lock back. One that seems longer than any may be was set by a clock that has been set
/// back since: it would hold the lock for as long as the clock jumped.
fn delays(until_ms: u64, now_ms: u64) -> bool {
    until_ms > now_ms && until_ms - now_ms <= LOCK_DELAY_MS_MAX
}

#[cfg(test)]
mod tests;
