//! openraft's state machine over `agent_core::state::apply`.
//!
//! Owns the writer's copy of the state. A batch of entries is applied to it,
//! published once with every topic it touched, and only then answered: who is
//! told that a write happened finds it in the [`Store`]. Holds no rule of its
//! own and never waits.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_core::state::{State, apply, snapshot as encoding};
use agent_core::store::Store;
use agent_core::watch::Topic;
use futures_util::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};

use crate::snapshot::{SnapshotBuilder, SnapshotStore, off_runtime};
use crate::types::{Answer, Entry, LogId, Payload, Proposed, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

/// The replicated state, as its one writer sees it.
pub struct Machine {
    store: Arc<Store>,
    state: State,
    reached: Arc<Mutex<SnapshotMeta>>,
    snapshots: SnapshotStore,
}

impl Machine {
    pub(crate) fn new(store: Arc<Store>, snapshots: SnapshotStore) -> Self {
        Machine { store, state: State::default(), reached: Arc::default(), snapshots }
    }

    /// How far the state has come, for whoever starts the machine.
    pub(crate) fn reached(&self) -> Arc<Mutex<SnapshotMeta>> {
        self.reached.clone()
    }

    fn lock(&self) -> MutexGuard<'_, SnapshotMeta> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply_entry(&mut self, entry: Entry, touched: &mut BTreeSet<Topic>) -> Answer {
        self.lock().last_log_id = Some(entry.log_id);
        match entry.payload {
            Payload::Blank => Answer(None),
            Payload::Membership(membership) => {
                self.lock().last_membership = StoredMembership::new(Some(entry.log_id), membership);
                Answer(None)
            }
            Payload::Normal(Proposed(proposal)) => {
                let applied = apply(&mut self.state, entry.log_id.index, &proposal);
                touched.extend(applied.changes);
                Answer(Some((applied.index, applied.reply)))
            }
        }
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let SnapshotMeta { last_log_id, last_membership } = self.lock().clone();
        Ok((last_log_id, last_membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut touched = BTreeSet::new();
        let mut answers: Vec<(ApplyResponder<TypeConfig>, Answer)> = Vec::new();
        while let Some(next) = Pin::new(&mut entries).next().await {
            let (entry, responder) = next?;
            let answer = self.apply_entry(entry, &mut touched);
            answers.extend(responder.map(|responder| (responder, answer)));
        }
        self.store.publish(self.state.clone(), &Vec::from_iter(touched));
        answers.into_iter().for_each(|(responder, answer)| responder.send(answer));
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let meta = self.lock().clone();
        self.snapshots.builder(meta, self.state.clone())
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Vec<u8>) -> Result<(), io::Error> {
        let data = Arc::new(snapshot);
        let decoded = off_runtime({
            let data = data.clone();
            move || encoding::decode(&data)
        });
        let state = decoded.await?.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        // Only what can be read back is kept.
        self.snapshots.keep(meta, &data).await?;
        self.state = state;
        *self.lock() = meta.clone();
        self.store.replace(self.state.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        self.snapshots.current().await
    }
}
