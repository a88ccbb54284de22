//! What the agent keeps on its own disk beside Raft: registered services and checks, TTL states, its node id.

use std::path::PathBuf;

/// The agent's records in its data directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Persist {
    /// `data_dir`.
    pub data_dir: PathBuf,
}
