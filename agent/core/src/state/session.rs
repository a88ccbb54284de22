//! Sessions: leases that locks hang on. Their rules and queries.

use std::sync::Arc;

use super::Answer;
use super::tables::{Session, State};

impl State {
    /// One session. Topic: `Session`.
    pub fn session(&self, id: &str) -> Answer<Option<Arc<Session>>> {
        let _ = id;
        unimplemented!()
    }

    /// All sessions, by id. Topic: `Sessions`.
    pub fn session_list(&self) -> Answer<Vec<Arc<Session>>> {
        unimplemented!()
    }

    /// The sessions of one node, by id. Topic: `Sessions`.
    pub fn node_sessions(&self, node: &str) -> Answer<Vec<Arc<Session>>> {
        let _ = node;
        unimplemented!()
    }
}
