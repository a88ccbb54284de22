//! Linearizable reads on any server.
//!
//! The leader is asked up to where a read must see the log, and the read waits
//! until this server has applied that. Owns neither the state nor what is read.

use std::sync::Arc;

use openraft::errors::RaftError;
use openraft::raft::linearizable_read::LinearizerOption;
use tokio::time::Instant;

use crate::consensus::{Inner, Leader, ReadError, ReadMode, explain};
use crate::types::LogId;
use crate::wire::{ReadFrom, Rpc};

impl Inner {
    /// As [`crate::Consensus::barrier`], where there are several servers.
    pub(crate) async fn barrier(self: &Arc<Self>, mode: ReadMode) -> Result<(), ReadError> {
        let rounds = match mode {
            ReadMode::Lease => &self.lease_reads,
            ReadMode::Quorum => &self.quorum_reads,
        };
        let inner = Arc::downgrade(self);
        let round = rounds.join(move || {
            let inner = inner.upgrade();
            async move {
                match inner {
                    Some(inner) => inner.catch_up(mode).await,
                    None => Some(Err(ReadError::Stopped("the agent is gone".to_owned()))),
                }
            }
        });
        let expires = Instant::now() + self.hold_time;
        match tokio::time::timeout_at(expires, round).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(ReadError::Stopped("a read broke".to_owned())),
            Err(_) => Err(ReadError::NoLeader),
        }
    }

    /// Tries once to see every write that was acknowledged before now; `None` says to try again.
    async fn catch_up(&self, mode: ReadMode) -> Option<Result<(), ReadError>> {
        let patience = 2 * self.timing.election_max;
        let entry = match self.leader() {
            Leader::Here => self.read_from(mode).await,
            Leader::There(id, server) => {
                let is_quorum = mode == ReadMode::Quorum;
                match self.call((id, &server), Rpc::ReadIndex, &is_quorum, patience).await {
                    Ok(ReadFrom::Entry(entry)) => {
                        self.hear();
                        Ok(Some(entry))
                    }
                    Ok(ReadFrom::NotLeader) | Err(_) => Ok(None),
                }
            }
            Leader::Nowhere => self.still_runs().map(|()| None),
        };
        let entry = match entry {
            Ok(entry) => entry?,
            Err(stopped) => return Some(Err(stopped)),
        };
        let mut applied = self.raft.watch_apply_progress();
        match tokio::time::timeout(patience, applied.wait_until_ge(&Some(entry))).await {
            Ok(Ok(_)) => Some(Ok(())),
            Ok(Err(_)) => Some(self.still_runs()),
            Err(_) => None,
        }
    }

    /// The entry a read that begins now must see, if this server leads.
    pub(crate) async fn read_from(&self, mode: ReadMode) -> Result<Option<LogId>, ReadError> {
        let lease = self.timing.election_max;
        let option = match mode {
            // Less than the lease that the others grant, so that clocks may differ in speed by a quarter.
            ReadMode::Lease => LinearizerOption::new(Some(lease * 3 / 4), true),
            ReadMode::Quorum => LinearizerOption::new(Some(std::time::Duration::ZERO), true),
        };
        match self.raft.get_read_linearizer(option).await {
            Ok(linearizer) => Ok(Some(*linearizer.read_log_id().log_id())),
            Err(RaftError::Fatal(fatal)) => Err(ReadError::Stopped(explain(&fatal))),
            Err(RaftError::APIError(_)) => Ok(None),
        }
    }

    fn still_runs(&self) -> Result<(), ReadError> {
        use openraft::async_runtime::WatchReceiver;
        match &self.raft.metrics().borrow_watched().running_state {
            Err(fatal) => Err(ReadError::Stopped(explain(fatal))),
            Ok(()) => Ok(()),
        }
    }
}
