//! The file under bad luck: power cuts at every write, a full disk, a newer format.

mod faulty;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_core::state::command::{KvOp, KvWrite};
use agent_core::state::{Command, State};
use agent_core::store::Store;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use self::faulty::FaultyBackend;
use super::*;
use crate::network::Alone;
use crate::record::encode_log_id;
use crate::types::log_id;
use crate::{Config, Consensus, Server, StartError, Timing, WriteError};

async fn start(backend: FaultyBackend) -> Result<(Consensus, Arc<Store>), StartError> {
    let disk = FileDisk::open_backend(backend, Duration::ZERO)
        .await
        .map_err(|error| StartError::Stopped(error.to_string()))?;
    let store = Arc::new(Store::new(State::default()));
    let ids = AtomicU64::new(0);
    let config = Config {
        server: Server { id: "a".into(), node: "a".into(), address: "127.0.0.1:8300".parse().unwrap(), voter: true },
        bootstrap: true,
        timing: Timing::default(),
        hold_time: Duration::from_secs(1),
        disk,
        transport: Arc::new(Alone),
        store: store.clone(),
        stamp: Arc::new(move || (u128::from(ids.fetch_add(1, Ordering::Relaxed)), 0)),
    };
    Ok((Consensus::start(config).await?, store))
}

/// The key of the write `number`; they sort by it.
fn key(number: u64) -> String {
    format!("{number:06}")
}

fn put(number: u64, size: usize) -> Command {
    Command::Kv(KvOp::Set(KvWrite { key: key(number), value: vec![number as u8; size].into(), flags: number }))
}

/// The bytes of a new, empty database.
async fn empty_image() -> Vec<u8> {
    let backend = FaultyBackend::default();
    FileDisk::open_backend(backend.clone(), Duration::ZERO).await.unwrap().close().await;
    backend.durable()
}

/// Writes one by one and in groups, with a snapshot in the middle, and counts what was acknowledged.
async fn workload(backend: FaultyBackend) -> u64 {
    let Ok((consensus, _)) = start(backend).await else { return 0 };
    let mut acknowledged = 0;
    let mut sent = 0;
    for group in [1, 1, 5, 1, 3, 1, 4] {
        let writes: Vec<_> = (sent..sent + group)
            .map(|number| {
                let consensus = consensus.clone();
                tokio::spawn(async move { consensus.write(put(number, 3_000)).await })
            })
            .collect();
        sent += group;
        if group == 3 {
            // A disk that has failed refuses it, as the writes will show.
            consensus.inner.raft.trigger().snapshot().await.ok();
        }
        for write in writes {
            acknowledged += u64::from(write.await.unwrap().is_ok());
        }
        if acknowledged < sent {
            break;
        }
    }
    consensus.shutdown().await;
    acknowledged
}

/// Opens what a power cut left and checks that it is a prefix of the writes with everything that was acknowledged.
async fn check_survivor(image: Vec<u8>, acknowledged: u64, context: &str) {
    let (consensus, store) = start(FaultyBackend::from_image(image)).await.expect(context);
    let state = store.snapshot();
    let found = state.kv.len() as u64;
    assert!(found >= acknowledged, "{context}: {acknowledged} were acknowledged, {found} are there");
    let expected: Vec<_> = (0..found).map(|number| (key(number), number)).collect();
    let actual: Vec<_> = state.kv.iter().map(|(key, entry)| (key.clone(), entry.flags)).collect();
    assert_eq!(actual, expected, "{context}");
    consensus.write(put(found, 10)).await.expect(context);
    consensus.shutdown().await;
}

#[tokio::test]
async fn a_power_cut_at_any_write_loses_nothing_that_was_acknowledged() {
    let empty = empty_image().await;
    let mut cut = 0;
    loop {
        let backend = FaultyBackend::from_image(empty.clone());
        backend.cut_after(cut);
        let acknowledged = workload(backend.clone()).await;
        for seed in 0..3 {
            let image = backend.image_after_power_cut(&mut SmallRng::seed_from_u64(cut * 3 + seed));
            check_survivor(image, acknowledged, &format!("cut after {cut} operations, seed {seed}")).await;
        }
        if !backend.is_cut() {
            break;
        }
        cut += 1;
    }
    assert!(cut > 100, "the workload has only {cut} operations");
}

#[tokio::test]
async fn a_full_disk_stops_raft_and_acknowledges_nothing_more() {
    let backend = FaultyBackend::from_image(empty_image().await);
    backend.limit_size(3 << 20);
    let (consensus, _) = start(backend.clone()).await.unwrap();

    let mut acknowledged = 0;
    let refused = loop {
        match consensus.write(put(acknowledged, 50_000)).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    let reason = consensus.stopped().await;

    assert!(matches!(&refused, WriteError::Stopped(why) if why.contains("space")), "{refused}");
    assert!(reason.contains("space"), "{reason}");
    assert!(acknowledged > 3);
    assert!(matches!(consensus.write(put(acknowledged, 1)).await, Err(WriteError::Stopped(_))));
    consensus.shutdown().await;
    check_survivor(backend.live(), acknowledged, "after the disk was full").await;
}

#[tokio::test]
async fn a_failed_write_fails_all_that_follow() {
    let backend = FaultyBackend::from_image(empty_image().await);
    let disk = FileDisk::open_backend(backend.clone(), Duration::ZERO).await.unwrap();
    backend.cut_after(0);
    let append = |index| Op::Append(vec![(index, Bytes::from([1]))]);

    let mut answers = Vec::new();
    for index in 0..2 {
        let (sender, answer) = oneshot::channel();
        disk.submit(append(index), Done::new(move |result| sender.send(result).unwrap())).await;
        answers.push(answer.await.unwrap());
    }

    assert!(answers.iter().all(Result::is_err));
    assert!(disk.load().await.is_err());
}

#[tokio::test]
async fn writes_within_a_commit_pause_share_one_sync() {
    let pause = Duration::from_secs(1);
    let backend = FaultyBackend::from_image(empty_image().await);
    let disk = FileDisk::open_backend(backend.clone(), pause).await.unwrap();
    let append = |index| Op::Append(vec![(index, Bytes::from([1]))]);
    let before = backend.syncs();
    submit(&disk, append(1)).await;
    let of_one = backend.syncs() - before;

    let began = tokio::time::Instant::now();
    futures_util::future::join_all((2..7).map(|index| submit(&disk, append(index)))).await;

    assert_eq!(backend.syncs() - before, 2 * of_one);
    assert!(began.elapsed() >= pause, "the first waits for the others");
}

#[tokio::test]
async fn a_newer_format_is_refused_every_time() {
    let dir = tempfile::tempdir().unwrap();
    FileDisk::open(dir.path()).await.unwrap().close().await;
    let file = dir.path().join("raft/raft.redb");
    create_tables(&Database::open(&file).unwrap(), open::FORMAT_VERSION + 1).unwrap();

    for _ in 0..2 {
        let error = FileDisk::open(dir.path()).await.unwrap_err();

        assert!(matches!(&error, OpenError::Newer { found: 3, .. }), "{error}");
        assert!(error.to_string().contains("raft.redb has format version 3, and this agent reads versions up to 2"));
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("raft")).unwrap();
    std::fs::write(dir.path().join("raft/raft.redb"), b"not a database").unwrap();

    let error = FileDisk::open(dir.path()).await.unwrap_err();

    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn half_a_first_start_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("raft")).unwrap();
    std::fs::write(dir.path().join("raft/raft.redb.new"), b"half a database").unwrap();

    let disk = FileDisk::open(dir.path()).await.unwrap();

    assert_eq!(disk.load().await.unwrap(), Loaded::default());
}

#[tokio::test]
async fn a_data_dir_that_cannot_be_made_says_which() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), b"").unwrap();

    let error = FileDisk::open(&dir.path().join("file")).await.unwrap_err().to_string();

    assert!(error.starts_with("could not open ") && error.contains("file/raft"), "{error}");
}

async fn submit(disk: &FileDisk, op: Op) {
    let (sender, answer) = oneshot::channel();
    disk.submit(op, Done::new(move |result| sender.send(result).unwrap())).await;
    answer.await.unwrap().unwrap();
}

/// A snapshot in two pieces whose text is `text`.
fn snapshot(id: u64, text: &[u8]) -> [Op; 3] {
    let (first, second) = text.split_at(2);
    let chunk = |number, bytes: &[u8]| Op::SnapshotChunk { id, number, bytes: bytes.into() };
    [chunk(0, first), chunk(1, second), Op::Snapshot { id, record: text.into() }]
}

#[tokio::test]
async fn a_snapshot_of_the_first_format_is_read_until_the_next_one_takes_its_place() {
    let dir = tempfile::tempdir().unwrap();
    FileDisk::open(dir.path()).await.unwrap().close().await;
    let raft = dir.path().join("raft");
    {
        let database = Database::open(raft.join("raft.redb")).unwrap();
        commit(&database, None, snapshot(3, b"in the database").iter(), false).unwrap();
        create_tables(&database, 1).unwrap();
    }

    let disk = FileDisk::open(dir.path()).await.unwrap();
    assert_eq!(disk.read_snapshot().await.unwrap().unwrap().data, b"in the database");
    for op in snapshot(9, b"in a file") {
        submit(&disk, op).await;
    }

    assert_eq!(disk.read_snapshot().await.unwrap().unwrap().data, b"in a file");
    disk.close().await;
    assert_eq!(std::fs::read(raft.join("snapshot-9")).unwrap(), b"in a file");
    let database = Database::open(raft.join("raft.redb")).unwrap();
    assert_eq!(read_chunks(&database, 3).unwrap(), b"");
    assert_eq!(
        database.begin_read().unwrap().open_table(META).unwrap().get(open::FORMAT).unwrap().unwrap().value(),
        [2]
    );
}

#[tokio::test]
async fn a_snapshot_whose_end_was_not_written_leaves_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FileDisk::open(dir.path()).await.unwrap();
    for op in snapshot(3, b"whole") {
        submit(&disk, op).await;
    }
    let [first, ..] = snapshot(9, b"half");
    submit(&disk, first).await;
    disk.close().await;
    // The power fails after the file got its name, before the database knows.
    std::fs::write(dir.path().join("raft/snapshot-12"), b"nobody was told").unwrap();

    let disk = FileDisk::open(dir.path()).await.unwrap();

    assert_eq!(disk.read_snapshot().await.unwrap().unwrap().data, b"whole");
    let mut names: Vec<_> =
        std::fs::read_dir(dir.path().join("raft")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["raft.redb", "snapshot-3"]);
}

#[tokio::test]
async fn the_first_purge_after_a_start_gives_back_what_the_log_took() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FileDisk::open(dir.path()).await.unwrap();
    for index in 1..200 {
        submit(&disk, Op::Append(vec![(index, vec![7; 40_000].into())])).await;
    }
    disk.close().await;
    let size = || std::fs::metadata(dir.path().join("raft/raft.redb")).unwrap().len();
    let full = size();

    let disk = FileDisk::open(dir.path()).await.unwrap();
    submit(&disk, Op::Purge { up_to: 198, record: encode_log_id(log_id(1, 198)) }).await;

    assert_eq!(disk.load().await.unwrap().log_bytes, 40_000);
    assert!(size() < 2 << 20 && full > 8 << 20, "{full} bytes became {}", size());
}
