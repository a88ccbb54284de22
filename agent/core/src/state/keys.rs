//! The table of keys: one pointer a key.
//!
//! An entry knows its own key, so the table keeps no second copy of it: half a
//! million keys cost tens of megabytes less, and a write that copies a node of
//! the persistent tree counts up references instead of copying strings.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use super::tables::KvEntry;

/// Entries by key. `clone` is a snapshot and copies nothing.
#[derive(Clone, Default)]
pub struct Keys(OrdMap<ByKey, ()>);

/// An entry, ordered by its key alone.
#[derive(Clone)]
struct ByKey(Arc<KvEntry>);

impl Borrow<str> for ByKey {
    fn borrow(&self) -> &str {
        &self.0.key
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

impl Keys {
    /// The entry of a key.
    pub fn get(&self, key: &str) -> Option<&Arc<KvEntry>> {
        self.0.get_key_value(key).map(|(ByKey(entry), ())| entry)
    }

    /// Whether there is such a key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every entry with its key, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Arc<KvEntry>)> {
        self.values().map(|entry| (&entry.key, entry))
    }

    /// Every entry, in the order of the keys.
    pub fn values(&self) -> impl Iterator<Item = &Arc<KvEntry>> {
        self.0.keys().map(|ByKey(entry)| entry)
    }

    /// The entries whose key starts with `prefix`, in the order of the keys.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<KvEntry>> {
        let range: (Bound<&str>, Bound<&str>) = (Bound::Included(prefix), Bound::Unbounded);
        let entries = self.0.range::<_, str>(range).map(|(ByKey(entry), ())| entry);
        entries.take_while(move |entry| entry.key.starts_with(prefix))
    }

    /// Stores an entry in place of the one with the same key.
    pub(super) fn insert(&mut self, entry: Arc<KvEntry>) {
        self.0.insert(ByKey(entry), ());
    }

    /// Removes a key; returns its entry.
    pub(super) fn remove(&mut self, key: &str) -> Option<Arc<KvEntry>> {
        self.0.remove_with_key(key).map(|(ByKey(entry), ())| entry)
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.values().eq(other.values())
    }
}

impl Eq for Keys {}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, flags: u64) -> Arc<KvEntry> {
        Arc::new(KvEntry { key: key.to_owned(), flags, ..KvEntry::default() })
    }

    #[test]
    fn an_entry_takes_the_place_of_the_one_with_its_key() {
        let mut keys = Keys::default();
        keys.insert(entry("a", 1));
        let before = keys.clone();

        keys.insert(entry("a", 2));

        assert_eq!((keys.len(), keys.get("a").unwrap().flags, before.get("a").unwrap().flags), (1, 2, 1));
        assert_ne!(keys, before, "tables are equal when their entries are");
    }
}
