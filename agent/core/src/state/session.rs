//! Sessions: leases that locks hang on. Their rules and queries.
//!
//! Owns `sessions` and `node_sessions`. Whatever ends a session (destruction,
//! expiry, its node or a check of it going away, a check turning critical) is
//! [`Write::session_end`]: its keys are released or deleted and may not be
//! acquired again before the lock-delay is over.

use std::ops::Bound;
use std::sync::Arc;

use super::Answer;
use super::command::Refusal;
use super::tables::{CheckId, NodeName, Session, SessionBehavior, SessionId, State, Status, fold};
use super::write::Write;
use crate::watch::Topic;

impl State {
    /// One session. Topic: `Session`.
    pub fn session(&self, id: &str) -> Answer<Option<Arc<Session>>> {
        let value = self.sessions.get(id).cloned();
        let index = value.as_ref().map_or(self.indexes.session_extinction, |session| session.modify_index);
        Answer { index: index.max(1), value }
    }

    /// All sessions, by id. Topic: `Sessions`.
    pub fn session_list(&self) -> Answer<Vec<Arc<Session>>> {
        Answer { index: self.indexes.sessions.max(1), value: self.sessions.values().cloned().collect() }
    }

    /// The sessions of one node, by id. Topic: `Sessions`.
    pub fn node_sessions(&self, node: &str) -> Answer<Vec<Arc<Session>>> {
        let value = self.sessions_of(&fold(node)).filter_map(|id| self.sessions.get(id).cloned()).collect();
        Answer { index: self.indexes.sessions.max(1), value }
    }

    /// The ids of the sessions of a node, given its folded name.
    fn sessions_of<'a>(&'a self, node: &'a NodeName) -> impl Iterator<Item = &'a SessionId> {
        let from = (Bound::Included((node.clone(), SessionId::new())), Bound::Unbounded);
        self.node_sessions
            .range(from)
            .map(|((owner, id), ())| (owner, id))
            .take_while(move |(owner, _)| *owner == node)
            .map(|(_, id)| id)
    }
}

impl Write<'_> {
    /// Creates a session. One that exists already under this id stays as it is.
    pub fn session_create(&mut self, session: &Session) -> Result<(), Refusal> {
        if self.state.sessions.contains_key(&session.id) {
            return Ok(());
        }
        let node = fold(&session.node);
        if !self.state.nodes.contains_key(&node) {
            return Err(Refusal::MissingNode);
        }
        for id in session.node_checks.iter().chain(&session.service_checks) {
            match self.state.checks.get(&(node.clone(), id.clone())) {
                None => return Err(Refusal::MissingCheck(id.clone())),
                Some(check) if check.status == Status::Critical => return Err(Refusal::CriticalCheck(id.clone())),
                Some(_) => {}
            }
        }
        let session = Session { create_index: self.index, modify_index: self.index, ..session.clone() };
        self.mark_session(&session.id);
        self.state.node_sessions.insert((node, session.id.clone()), ());
        self.state.sessions.insert(session.id.clone(), Arc::new(session));
        Ok(())
    }

    /// Ends a session and takes its locks away. Ending one that is gone does nothing.
    pub fn session_end(&mut self, id: &str) {
        let Some(session) = self.state.sessions.remove(id) else { return };
        self.state.node_sessions.remove(&(fold(&session.node), session.id.clone()));
        self.state.indexes.session_extinction = self.index;
        self.mark_session(id);
        let delete = match session.behavior {
            SessionBehavior::Release => false,
            SessionBehavior::Delete => true,
        };
        for key in self.keys_of(&session.id) {
            self.kv_invalidate(&key, delete, session.lock_delay_ms);
        }
    }

    /// Ends every session of a node, given its folded name.
    pub fn end_sessions_of_node(&mut self, node: &NodeName) {
        let ids: Vec<SessionId> = self.state.sessions_of(node).cloned().collect();
        for id in ids {
            self.session_end(&id);
        }
    }

    /// Ends the sessions tied to a check that is gone or critical. `node` is folded.
    pub fn end_sessions_of_check(&mut self, node: &NodeName, check: &CheckId) {
        let tied: Vec<SessionId> = self
            .state
            .sessions_of(node)
            .filter(|id| {
                let session = &self.state.sessions[*id];
                session.node_checks.contains(check) || session.service_checks.contains(check)
            })
            .cloned()
            .collect();
        for id in tied {
            self.session_end(&id);
        }
    }

    fn keys_of(&self, session: &SessionId) -> Vec<String> {
        let from = (Bound::Included((session.clone(), String::new())), Bound::Unbounded);
        self.state
            .session_keys
            .range(from)
            .take_while(|((holder, _), ())| holder == session)
            .map(|((_, key), ())| key.clone())
            .collect()
    }

    fn mark_session(&mut self, id: &str) {
        self.state.indexes.sessions = self.index;
        self.touched.insert(Topic::Sessions);
        self.touched.insert(Topic::Session(id.to_string()));
    }
}

#[cfg(test)]
mod tests;
