//! openraft's own conformance suite over both disks, and what it does not cover: entries beyond the ring.

use std::time::Duration;

use agent_core::state::command::{KvOp, KvWrite};
use agent_core::state::{Command, Proposal, State};
use agent_core::store::Store;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use redb::backends::InMemoryBackend;

use super::*;
use crate::disk::file::FileDisk;
use crate::disk::memory::MemoryDisk;
use crate::machine::Machine;
use crate::snapshot::SnapshotStore;
use crate::types::{Proposed, log_id};

struct InMemory;
struct InRedb;

async fn store_on(disk: Arc<dyn Disk>) -> (LogStore, Machine) {
    let meter = Arc::new(Meter::default());
    let snapshots = SnapshotStore::load(disk.clone(), meter.clone()).await.unwrap();
    let machine = Machine::new(Arc::new(Store::new(State::default())), snapshots);
    (LogStore::load(disk, meter).await.unwrap(), machine)
}

impl StoreBuilder<TypeConfig, LogStore, Machine, ()> for InMemory {
    async fn build(&self) -> Result<((), LogStore, Machine), StorageError<TypeConfig>> {
        let (log, machine) = store_on(Arc::new(MemoryDisk::new())).await;
        Ok(((), log, machine))
    }
}

impl StoreBuilder<TypeConfig, LogStore, Machine, ()> for InRedb {
    async fn build(&self) -> Result<((), LogStore, Machine), StorageError<TypeConfig>> {
        let (log, machine) =
            store_on(FileDisk::open_backend(InMemoryBackend::new(), Duration::ZERO).await.unwrap()).await;
        Ok(((), log, machine))
    }
}

#[tokio::test(start_paused = true)]
async fn the_memory_disk_passes_openrafts_suite() {
    Suite::test_all(InMemory).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_redb_disk_passes_openrafts_suite() {
    Suite::test_all(InRedb).await.unwrap();
}

fn big(index: u64) -> Entry {
    let write = KvWrite { key: "k".into(), value: vec![index as u8; 400 << 10].into(), flags: 0 };
    let proposal = Proposal { id: 0, now_ms: 0, command: Command::Kv(KvOp::Set(write)) };
    Entry { log_id: log_id(1, index), payload: Payload::Normal(Proposed(Arc::new(proposal))) }
}

fn indexes(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.log_id.index).collect()
}

async fn filled() -> LogStore {
    let (mut log, _) = store_on(FileDisk::open_backend(InMemoryBackend::new(), Duration::ZERO).await.unwrap()).await;
    for index in 1..=8 {
        log.append([big(index)], IOFlushed::noop()).await.unwrap();
    }
    log
}

#[tokio::test]
async fn entries_that_left_the_ring_are_read_from_the_disk() {
    let mut log = filled().await;
    assert!(log.log().ring.len() < 4);

    let all = log.try_get_log_entries(..).await.unwrap();

    assert!(all == (1..=8).map(big).collect::<Vec<_>>());
}

#[tokio::test]
async fn small_entries_count_with_all_the_memory_they_take() {
    let (mut log, _) = store_on(FileDisk::open_backend(InMemoryBackend::new(), Duration::ZERO).await.unwrap()).await;
    let small = |index| Entry { log_id: log_id(1, index), payload: Payload::Blank };

    log.append((1..=20_000).map(small), IOFlushed::noop()).await.unwrap();

    assert!(log.log().ring.len() * size_of::<Proposal>() < RING_BYTES_MAX, "{}", log.log().ring.len());
}

#[tokio::test]
async fn a_message_is_bounded_by_bytes_wherever_its_entries_come_from() {
    let mut log = filled().await;

    for from in 1..=8 {
        let message = log.limited_get_log_entries(from, 9).await.unwrap();
        assert_eq!(indexes(&message), (from..=8.min(from + 1)).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_truncation_below_the_ring_takes_the_tail_from_ring_and_disk() {
    let mut log = filled().await;

    log.truncate_after(Some(log_id(1, 2))).await.unwrap();
    log.append([big(3)], IOFlushed::noop()).await.unwrap();

    assert_eq!(indexes(&log.try_get_log_entries(..).await.unwrap()), [1, 2, 3]);
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 3)));
}

#[tokio::test]
async fn a_purge_below_the_ring_forgets_the_head() {
    let mut log = filled().await;

    log.purge(log_id(1, 5)).await.unwrap();

    assert_eq!(indexes(&log.try_get_log_entries(..).await.unwrap()), [6, 7, 8]);
    assert_eq!(log.disk.load().await.unwrap().log_bytes, 3 * encode_entry(&big(1)).len() as u64);
}
