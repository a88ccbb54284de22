//! What this server answers to others.
//!
//! Owns the checks in front of Raft: version, cluster, addressee; and the
//! pieces of a snapshot until it is whole. Bounded: one snapshot at a time,
//! and it is forgotten when its sender falls silent.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use agent_core::state::Proposal;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::RaftError;
use openraft::raft::AppendEntriesRequest;
use tokio::time::Instant;

use crate::consensus::{Consensus, Inner, Outcome, ReadError, ReadMode, WriteError, explain};
use crate::types::{Proposed, Snapshot, SnapshotMeta, TypeConfig, Vote};
use crate::wire::{
    Chunk, Envelope, Forwarded, ReadFrom, Received, Refused, Rpc, SNAPSHOT_BYTES_MAX, open, read, write,
};

/// How long the pieces of a snapshot are kept after the last one came.
const RECEIVING_TIMEOUT: Duration = Duration::from_secs(60);

/// A snapshot that is not whole yet.
pub(crate) struct Receiving {
    from: u64,
    vote: Vote,
    meta: SnapshotMeta,
    size_bytes: u64,
    bytes: Vec<u8>,
    touched: Instant,
}

impl Consensus {
    /// Answers a message of another server. Safe to call with whatever came in over the network.
    ///
    /// Dropping the future does not undo what the message did.
    ///
    /// # Errors
    /// [`Refused`]: nothing was done. The sender is to be told so, see [`crate::network::TransportError::Refused`].
    pub async fn handle(&self, rpc: Rpc, message: &[u8]) -> Result<Vec<u8>, Refused> {
        let (envelope, body) = open(message)?;
        self.inner.check(envelope)?;
        self.inner.runs()?;
        self.inner.answer(rpc, envelope, body).await
    }
}

impl Inner {
    fn check(&self, Envelope { cluster, from: _, to }: Envelope) -> Result<(), Refused> {
        let mine = self.cluster();
        if to != self.raft_id {
            return Err(Refused::OtherServer);
        }
        if cluster != mine && cluster != 0 && mine != 0 {
            return Err(Refused::OtherCluster);
        }
        Ok(())
    }

    /// Refuses at once where Raft has stopped, so that whoever asks knows that nothing was begun.
    fn runs(&self) -> Result<(), Refused> {
        if self.shut_down.load(Ordering::Acquire) {
            return Err(Refused::Stopped("the agent is shutting down".to_owned()));
        }
        match &self.raft.metrics().borrow_watched().running_state {
            Ok(()) => Ok(()),
            Err(fatal) => Err(Refused::Stopped(explain(fatal))),
        }
    }

    async fn answer(self: &Arc<Self>, rpc: Rpc, envelope: Envelope, body: &[u8]) -> Result<Vec<u8>, Refused> {
        let raft = &self.raft;
        match rpc {
            Rpc::Append | Rpc::Heartbeat => {
                let request: AppendEntriesRequest<TypeConfig> = read(body)?;
                let vote = request.vote;
                // Before, so that whoever is told of a leader finds it heard; and after, since the disk may take its time.
                self.hear_leader(&vote);
                let answer = raft.append_entries(request).await.map_err(stopped)?;
                self.hear_leader(&vote);
                Ok(write(&answer))
            }
            Rpc::Vote => raft.vote(read(body)?).await.map(|answer| write(&answer)).map_err(stopped),
            Rpc::PreVote => raft.pre_vote(read(body)?).await.map(|answer| write(&answer)).map_err(stopped),
            Rpc::TransferLeader => match raft.handle_transfer_leader(read(body)?).await {
                Ok(answer) => Ok(write(&answer)),
                Err(fatal) => Err(Refused::Stopped(explain(&fatal))),
            },
            Rpc::Snapshot => {
                let chunk: Chunk = read(body)?;
                self.hear_leader(&chunk.vote);
                self.receive(envelope.from, chunk).await.map(|answer| write(&answer))
            }
            Rpc::Forward => Ok(write(&self.propose_for(read(body)?).await)),
            Rpc::ReadIndex => {
                let mode = if read(body)? { ReadMode::Quorum } else { ReadMode::Lease };
                match self.read_from(mode).await {
                    Ok(entry) => Ok(write(&entry.map_or(ReadFrom::NotLeader, ReadFrom::Entry))),
                    Err(ReadError::Stopped(why)) => Err(Refused::Stopped(why)),
                    Err(ReadError::NoLeader) => Ok(write(&ReadFrom::NotLeader)),
                }
            }
            Rpc::Change => {
                let change = read(body)?;
                Ok(write(&self.change_here(&change).await))
            }
        }
    }

    /// Notes that a leader lives, unless it was deposed and does not know yet.
    fn hear_leader(&self, vote: &Vote) {
        if *vote >= self.raft.server_metrics().borrow_watched().vote {
            self.hear();
        }
    }

    async fn propose_for(&self, proposal: Proposal) -> Forwarded {
        match self.propose_to_quorum(&Proposed(Arc::new(proposal))).await {
            Ok(Outcome::Applied(index, reply)) => Forwarded::Applied { index, reply },
            Ok(Outcome::NotProposed) | Err(WriteError::NoLeader) => Forwarded::NotLeader,
            Err(WriteError::Unknown | WriteError::Stopped(_)) => Forwarded::Unknown,
        }
    }

    /// Takes a piece of a snapshot; with the last one, installs it.
    async fn receive(self: &Arc<Self>, from: u64, chunk: Chunk) -> Result<Received, Refused> {
        let (vote, meta) = (chunk.vote, chunk.meta.clone());
        let Some(snapshot) = self.collect(from, chunk)? else {
            return Ok(Received::From(self.received()));
        };
        let raft = self.raft.clone();
        // In a task of its own, since it must not stop half-way, and since Raft panics when it is told what cannot be.
        let install = tokio::spawn(async move { raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await });
        match install.await {
            Ok(Ok(response)) => Ok(Received::Whole(response)),
            Ok(Err(fatal)) => Err(Refused::Stopped(explain(&fatal))),
            Err(_) => Err(Refused::Damaged("the snapshot contradicts the log".to_owned())),
        }
    }

    /// Adds a piece to those that are there. Returns the snapshot when it is whole.
    fn collect(self: &Arc<Self>, from: u64, chunk: Chunk) -> Result<Option<Vec<u8>>, Refused> {
        let Chunk { vote, meta, size_bytes, offset, bytes } = chunk;
        if size_bytes > SNAPSHOT_BYTES_MAX || offset.saturating_add(bytes.len() as u64) > size_bytes {
            let piece = bytes.len();
            return Err(Refused::Damaged(format!("{piece} bytes at {offset} are not a piece of {size_bytes}")));
        }
        let mut receiving = self.receiving.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = receiving.as_ref().is_some_and(|known| {
            known.from == from && known.vote == vote && known.meta == meta && known.size_bytes == size_bytes
        });
        if !goes_on {
            if receiving.is_none() {
                tokio::spawn(forget(Arc::downgrade(self)));
            }
            *receiving = Some(Receiving { from, vote, meta, size_bytes, bytes: Vec::new(), touched: Instant::now() });
        }
        let Some(known) = receiving.as_mut() else { return Ok(None) };
        known.touched = Instant::now();
        if known.bytes.len() as u64 == offset {
            known.bytes.extend_from_slice(&bytes);
        }
        if known.bytes.len() as u64 == size_bytes {
            return Ok(receiving.take().map(|known| known.bytes));
        }
        Ok(None)
    }

    /// Where the next piece goes.
    fn received(&self) -> u64 {
        let receiving = self.receiving.lock().unwrap_or_else(PoisonError::into_inner);
        receiving.as_ref().map_or(0, |known| known.bytes.len() as u64)
    }
}

/// Forgets a snapshot whose sender fell silent.
async fn forget(inner: std::sync::Weak<Inner>) {
    loop {
        let until = {
            let Some(inner) = inner.upgrade() else { return };
            let mut receiving = inner.receiving.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(known) = receiving.as_ref() else { return };
            let until = known.touched + RECEIVING_TIMEOUT;
            if until <= Instant::now() {
                *receiving = None;
                return;
            }
            until
        };
        tokio::time::sleep_until(until).await;
    }
}

fn stopped(error: RaftError<crate::types::TypeConfig>) -> Refused {
    match error {
        RaftError::Fatal(fatal) => Refused::Stopped(explain(&fatal)),
        RaftError::APIError(never) => match never {},
    }
}
