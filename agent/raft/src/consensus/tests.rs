//! One server over each kind of disk: acknowledged writes, restarts, compaction, refusals.

use std::path::Path;
use std::sync::atomic::AtomicU64;

use agent_core::state::State;
use agent_core::state::command::{KvOp, KvWrite};
use agent_core::state::snapshot::encode;
use agent_core::store::Store;

use super::*;
use crate::disk::file::FileDisk;
use crate::disk::memory::MemoryDisk;
use crate::network::Alone;
use crate::start::{Config, StartError, Timing};

fn server(id: &str) -> Server {
    Server { id: id.into(), node: "n1".into(), address: "127.0.0.1:8300".parse().unwrap(), voter: true }
}

fn config(disk: Arc<dyn Disk>, store: &Arc<Store>) -> Config {
    let counter = AtomicU64::new(1);
    Config {
        server: server("a"),
        bootstrap: true,
        timing: Timing::default(),
        hold_time: Duration::from_secs(7),
        disk,
        transport: Arc::new(Alone),
        store: store.clone(),
        stamp: Arc::new(move || (u128::from(counter.fetch_add(1, Ordering::Relaxed)), 1_000)),
    }
}

fn new_store() -> Arc<Store> {
    Arc::new(Store::new(State::default()))
}

fn put(key: &str, value: &[u8]) -> Command {
    Command::Kv(KvOp::Set(KvWrite { key: key.into(), value: Arc::from(value), flags: 0 }))
}

async fn start(disk: Arc<dyn Disk>) -> (Consensus, Arc<Store>) {
    let store = new_store();
    (Consensus::start(config(disk, &store)).await.unwrap(), store)
}

async fn start_in(dir: &Path) -> (Consensus, Arc<Store>) {
    start(FileDisk::open(dir).await.unwrap()).await
}

#[tokio::test]
async fn an_acknowledged_write_is_published() {
    let (consensus, store) = start(Arc::new(MemoryDisk::new())).await;

    let applied = consensus.write(put("k", b"v")).await.unwrap();

    assert_eq!(store.snapshot().index, applied.index);
    assert!(consensus.barrier(ReadMode::Lease).await.is_ok());
    assert!(consensus.leadership().is_self);
    assert_eq!(consensus.servers(), [server("a")]);
}

#[tokio::test]
async fn a_restart_finds_every_acknowledged_write_before_it_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (consensus, store) = start_in(dir.path()).await;
    for number in 0..200 {
        consensus.write(put(&format!("k{number}"), b"v")).await.unwrap();
    }
    let before = store.snapshot();
    consensus.shutdown().await;

    let (consensus, store) = start_in(dir.path()).await;

    assert!(encode(&store.snapshot()) == encode(&before));
    assert!(consensus.leadership().is_self);
}

#[tokio::test]
async fn many_writers_are_all_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (consensus, store) = start_in(dir.path()).await;

    let writers: Vec<_> = (0..64)
        .map(|number| {
            let consensus = consensus.clone();
            tokio::spawn(async move { consensus.write(put(&format!("k{number}"), b"v")).await.unwrap().index })
        })
        .collect();
    let mut indexes = Vec::new();
    for writer in writers {
        indexes.push(writer.await.unwrap());
    }

    assert_eq!(store.snapshot().index, *indexes.iter().max().unwrap());
}

#[tokio::test]
async fn a_steady_load_is_compacted_and_the_file_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    let (consensus, _) = start_in(dir.path()).await;
    let value = vec![7; 100 << 10];
    for _ in 0..200 {
        consensus.write(put("k", &value)).await.unwrap();
    }
    let (consensus, before) = {
        consensus.write(put("last", b"v")).await.unwrap();
        let stats = consensus.stats();
        consensus.shutdown().await;
        let (again, _) = start_in(dir.path()).await;
        (again, stats)
    };

    let size = std::fs::metadata(dir.path().join("raft/raft.redb")).unwrap().len();
    assert!(before.snapshot_index > 100, "{before:?}");
    assert!(size < 16 << 20, "20 MB were written and the file has {size} bytes");
    assert!(consensus.stats().applied_index > before.applied_index);
}

#[tokio::test]
async fn an_idle_server_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (consensus, _) = start_in(dir.path()).await;
    consensus.write(put("k", b"v")).await.unwrap();
    let file = dir.path().join("raft/raft.redb");
    let before = std::fs::read(&file).unwrap();

    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3600)).await;
    consensus.barrier(ReadMode::Quorum).await.unwrap();

    assert!(std::fs::read(&file).unwrap() == before);
}

#[tokio::test]
async fn two_agents_cannot_share_a_data_dir() {
    let dir = tempfile::tempdir().unwrap();
    let _first = FileDisk::open(dir.path()).await.unwrap();

    let error = FileDisk::open(dir.path()).await.unwrap_err().to_string();

    assert!(error.starts_with("data dir is in use by another agent"), "{error}");
}

#[tokio::test]
async fn a_data_dir_of_another_node_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    start_in(dir.path()).await.0.shutdown().await;
    let mut config = config(FileDisk::open(dir.path()).await.unwrap(), &new_store());
    config.server = server("b");

    let error = Consensus::start(config).await.unwrap_err();

    assert!(matches!(&error, StartError::OtherServer { owner, id } if owner == "a" && id == "b"), "{error}");
    FileDisk::open(dir.path()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_a_write_is_refused_after_the_hold_time() {
    let mut config = config(Arc::new(MemoryDisk::new()), &new_store());
    config.bootstrap = false;
    let consensus = Consensus::start(config).await.unwrap();
    let began = Instant::now();

    let refused = consensus.write(put("k", b"v")).await;

    assert_eq!(refused, Err(WriteError::NoLeader));
    assert!((6..=7).contains(&began.elapsed().as_secs()));
    assert_eq!(consensus.leadership(), Leadership::default());
}

#[tokio::test]
async fn a_server_that_was_shut_down_refuses() {
    let (consensus, _) = start(Arc::new(MemoryDisk::new())).await;

    consensus.shutdown().await;

    assert!(matches!(consensus.write(put("k", b"v")).await, Err(WriteError::Stopped(_))));
    assert!(matches!(consensus.barrier(ReadMode::Lease).await, Err(ReadError::Stopped(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_in_many_pieces_is_the_state_it_was_made_of() {
    let dir = tempfile::tempdir().unwrap();
    let (consensus, store) = start_in(dir.path()).await;
    for number in 0..20 {
        consensus.write(put(&format!("k{number}"), &vec![number; 100 << 10])).await.unwrap();
    }
    let before = store.snapshot();
    let mut metrics = consensus.inner.raft.metrics();
    consensus.compact().await;
    while consensus.stats().snapshot_index < before.index {
        metrics.changed().await.unwrap();
    }
    consensus.shutdown().await;

    let (consensus, store) = start_in(dir.path()).await;

    assert!(encode(&store.snapshot()) == encode(&before));
    consensus.shutdown().await;
}
