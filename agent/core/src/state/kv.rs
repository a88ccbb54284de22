//! Keys: their rules and queries.

use std::sync::Arc;

use super::Answer;
use super::tables::{KvEntry, State};

/// The largest value accepted by default, in bytes (Consul's `kv_max_value_size`).
pub const VALUE_BYTES_MAX: usize = 512 * 1024;

impl State {
    /// One key. The index is that of its last change or deletion. Topic: `KvKey`.
    pub fn kv_get(&self, key: &str) -> Answer<Option<Arc<KvEntry>>> {
        let _ = key;
        unimplemented!()
    }

    /// Every key that starts with `prefix`, in order. Topic: `KvPrefix`.
    pub fn kv_list(&self, prefix: &str) -> Answer<Vec<Arc<KvEntry>>> {
        let _ = prefix;
        unimplemented!()
    }

    /// The names under `prefix`, cut after the first `separator` that follows it
    /// (an empty separator cuts nothing), without repeats, in order. Topic: `KvPrefix`.
    pub fn kv_keys(&self, prefix: &str, separator: &str) -> Answer<Vec<String>> {
        let _ = (prefix, separator);
        unimplemented!()
    }
}
