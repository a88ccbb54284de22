//! The last of three servers is made the only one.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_core::state::Proposal;
use agent_core::state::command::{Command, KvOp, KvWrite};
use agent_core::store::Store;
use tokio::sync::oneshot;

use super::*;
use crate::consensus::Consensus;
use crate::disk::file::FileDisk;
use crate::disk::{Done, Op};
use crate::network::Alone;
use crate::record::{encode_entry, encode_vote};
use crate::start::{Config, Timing};
use crate::types::Entry;

const OLD: u128 = 7;
const NEW: u128 = 8;

fn server(id: &str) -> Server {
    Server { id: id.into(), node: format!("node-{id}"), address: "127.0.0.1:8300".parse().unwrap(), voter: true }
}

fn members(ids: &[&str]) -> Payload {
    let nodes: BTreeMap<_, _> = ids.iter().map(|id| (raft_id(id), ServerNode::new(&server(id), OLD))).collect();
    Payload::Membership(Membership::new(vec![nodes.keys().copied().collect()], nodes).unwrap())
}

fn put(key: &str) -> Payload {
    let write = KvWrite { key: key.into(), value: b"v".as_slice().into(), flags: 0 };
    Payload::Normal(Proposed(Arc::new(Proposal { id: 1, now_ms: 1, command: Command::Kv(KvOp::Set(write)) })))
}

async fn write(disk: &FileDisk, op: Op) {
    let (sender, done) = oneshot::channel();
    disk.submit(op, Done::new(|result| sender.send(result).unwrap())).await;
    done.await.unwrap().unwrap();
}

/// The disk of server `a`, one of three, that followed `b` in term 3. The last entry was never known to be committed.
async fn one_of_three(dir: &Path) -> Arc<FileDisk> {
    let disk = FileDisk::open(dir).await.unwrap();
    let payloads = [members(&["a", "b", "c"]), Payload::Blank, put("committed"), put("perhaps")];
    let entries = (0..).zip(payloads).map(|(index, payload)| Entry { log_id: log_id(3, index), payload });
    write(&disk, Op::Append(entries.map(|entry| (entry.log_id.index, encode_entry(&entry))).collect())).await;
    let vote = Vote { leader_id: LeaderId { term: 4, voted_for: raft_id("c") }, committed: false };
    write(&disk, Op::Vote(encode_vote(&vote))).await;
    disk
}

async fn start(disk: Arc<dyn Disk>) -> (Consensus, Arc<Store>) {
    let counter = AtomicU64::new(1);
    let store = Arc::new(Store::new(State::default()));
    let config = Config {
        server: server("a"),
        bootstrap: false,
        timing: Timing::default(),
        hold_time: Duration::from_secs(7),
        disk,
        transport: Arc::new(Alone),
        store: store.clone(),
        stamp: Arc::new(move || (u128::from(counter.fetch_add(1, Ordering::Relaxed)), 1_000)),
    };
    (Consensus::start(config).await.unwrap(), store)
}

fn keys(state: &State) -> Vec<&str> {
    state.kv.iter().map(|(key, _)| key.as_str()).collect()
}

#[tokio::test]
async fn a_survivor_says_what_it_has_and_is_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let disk = one_of_three(dir.path()).await;
    let before = disk.load().await.unwrap();

    let survivor = Survivor::examine(disk.clone(), "A").await.unwrap();

    assert_eq!((survivor.server.id.as_str(), survivor.others.len()), ("a", 2));
    assert_eq!((survivor.last_entry(), survivor.cluster()), ((3, 3), OLD));
    assert_eq!(keys(&survivor.state), ["committed", "perhaps"]);
    assert_eq!(disk.load().await.unwrap(), before);
}

#[tokio::test]
async fn a_recovered_server_leads_alone_with_all_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let disk = one_of_three(dir.path()).await;
    Survivor::examine(disk.clone(), "a").await.unwrap().recover(NEW).await.unwrap();
    disk.close().await;

    let (consensus, store) = start(FileDisk::open(dir.path()).await.unwrap()).await;

    assert!(consensus.leadership().is_self);
    assert_eq!((consensus.cluster(), consensus.servers()), (Some(NEW), vec![server("a")]));
    assert_eq!(keys(&store.snapshot()), ["committed", "perhaps"]);
    let command = Command::Kv(KvOp::Set(KvWrite { key: "after".into(), ..KvWrite::default() }));
    assert!(consensus.write(command).await.unwrap().index > 4);
    consensus.shutdown().await;
    let (_, store) = start(FileDisk::open(dir.path()).await.unwrap()).await;
    assert_eq!(keys(&store.snapshot()), ["after", "committed", "perhaps"]);
}

#[tokio::test]
async fn recovering_twice_or_after_a_snapshot_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = one_of_three(dir.path()).await;
    Survivor::examine(disk.clone(), "a").await.unwrap().recover(NEW).await.unwrap();

    let again = Survivor::examine(disk.clone(), "a").await.unwrap();
    assert_eq!((again.last_entry(), again.others.len()), ((5, 4), 0));
    again.recover(NEW + 1).await.unwrap();
    disk.close().await;

    let (consensus, store) = start(FileDisk::open(dir.path()).await.unwrap()).await;
    assert_eq!(consensus.cluster(), Some(NEW + 1));
    assert_eq!(keys(&store.snapshot()), ["committed", "perhaps"]);
}

#[tokio::test]
async fn a_crash_before_the_log_is_forgotten_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let disk = one_of_three(dir.path()).await;
    Survivor::examine(disk.clone(), "a").await.unwrap().stand_alone(NEW).await.unwrap();
    disk.close().await;

    let (consensus, store) = start(FileDisk::open(dir.path()).await.unwrap()).await;

    assert_eq!((consensus.cluster(), consensus.leadership().is_self), (Some(NEW), true));
    assert_eq!(keys(&store.snapshot()), ["committed", "perhaps"]);
}

#[tokio::test]
async fn what_cannot_be_recovered_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let empty = FileDisk::open(&dir.path().join("empty")).await.unwrap();
    let error = Survivor::examine(empty, "a").await.unwrap_err();
    assert!(matches!(error, RecoverError::Empty), "{error}");

    let disk = one_of_three(dir.path()).await;
    let error = Survivor::examine(disk, "d").await.unwrap_err();
    assert!(error.to_string().starts_with("node id d is not among the servers"), "{error}");
}
