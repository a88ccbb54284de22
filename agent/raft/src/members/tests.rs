//! Several servers in one process, over a transport that calls straight through and can be cut.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, Weak};

use agent_core::state::command::{KvOp, KvWrite};
use agent_core::state::{Command, State};
use agent_core::store::Store;

use openraft::raft::AppendEntriesRequest;

use super::*;
use crate::consensus::{ReadMode, WriteError};
use crate::disk::memory::MemoryDisk;
use crate::network::{Answering, Transport, TransportError};
use crate::start::{Config, Timing};
use crate::types::TypeConfig;
use crate::wire::{Envelope, Refused, WIRE_VERSION, seal};

/// Everyone who can be reached, and how many messages of each kind went through.
#[derive(Default)]
struct Wires {
    servers: Mutex<BTreeMap<String, Weak<Inner>>>,
    cut: Mutex<BTreeSet<String>>,
    frozen: Mutex<BTreeSet<String>>,
    /// Whether entries are lost, and heartbeats are not.
    loses_entries: AtomicBool,
    sent: Mutex<BTreeMap<Rpc, u64>>,
}

struct Wire {
    from: String,
    wires: Arc<Wires>,
}

impl Transport for Wire {
    fn call<'a>(&'a self, target: &'a Server, rpc: Rpc, body: Vec<u8>) -> Answering<'a> {
        Box::pin(async move {
            *self.wires.sent.lock().unwrap().entry(rpc).or_default() += 1;
            let server = self.wires.servers.lock().unwrap().get(&target.id).and_then(Weak::upgrade);
            let is_cut = self.wires.cut.lock().unwrap().iter().any(|cut| *cut == self.from || *cut == target.id);
            let is_lost = rpc == Rpc::Append && self.wires.loses_entries.load(Ordering::Relaxed);
            let is_frozen =
                self.wires.frozen.lock().unwrap().iter().any(|frozen| *frozen == self.from || *frozen == target.id);
            if is_frozen {
                std::future::pending::<()>().await;
            }
            let Some(inner) = server.filter(|_| !is_cut && !is_lost) else {
                return Err(TransportError::Unreachable(target.id.clone()));
            };
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(Consensus { inner }.handle(rpc, &body).await?)
        })
    }
}

fn server(id: &str) -> Server {
    let last = id.bytes().last().unwrap();
    Server { id: id.into(), node: id.into(), address: format!("10.0.0.{last}:8300").parse().unwrap(), voter: true }
}

impl Wires {
    async fn start(self: &Arc<Self>, id: &str, bootstrap: bool) -> (Consensus, Arc<Store>) {
        let (store, counter) = (Arc::new(Store::new(State::default())), AtomicU64::new(1));
        let config = Config {
            server: server(id),
            bootstrap,
            timing: Timing::default(),
            hold_time: Duration::from_secs(7),
            disk: Arc::new(MemoryDisk::new()),
            transport: Arc::new(Wire { from: id.into(), wires: self.clone() }),
            store: store.clone(),
            stamp: Arc::new(move || (u128::from(counter.fetch_add(1, Ordering::Relaxed)), 1_000)),
        };
        let consensus = Consensus::start(config).await.unwrap();
        self.servers.lock().unwrap().insert(id.to_owned(), Arc::downgrade(&consensus.inner));
        (consensus, store)
    }

    /// Three servers that have formed a cluster, the leader first.
    async fn three(self: &Arc<Self>) -> Vec<(Consensus, Arc<Store>)> {
        let mut started = Vec::new();
        for id in ["a", "b", "c"] {
            started.push(self.start(id, false).await);
        }
        let servers = ["a", "b", "c"].map(server);
        for (consensus, _) in &started {
            consensus.bootstrap(&servers).await.unwrap();
        }
        for (consensus, _) in &started {
            consensus.barrier(ReadMode::Quorum).await.unwrap();
        }
        started.sort_by_key(|(consensus, _)| !consensus.leadership().is_self);
        started
    }

    fn sent(&self, rpc: Rpc) -> u64 {
        self.sent.lock().unwrap().get(&rpc).copied().unwrap_or(0)
    }
}

fn put(key: &str, size: usize) -> Command {
    Command::Kv(KvOp::Set(KvWrite { key: key.into(), value: vec![7; size].into(), flags: 0 }))
}

fn id_of(consensus: &Consensus) -> String {
    consensus.inner.server.id.clone()
}

#[tokio::test(start_paused = true)]
async fn three_servers_form_one_cluster_and_a_follower_writes_through_its_leader() {
    let wires = Arc::<Wires>::default();
    let servers = wires.three().await;

    let applied = servers[1].0.write(put("k", 1)).await.unwrap();

    assert_eq!(servers[0].1.snapshot().index, applied.index);
    assert_eq!(wires.sent(Rpc::Forward), 1);
    servers[2].0.barrier(ReadMode::Lease).await.unwrap();
    assert!(servers[2].1.snapshot().kv.contains_key("k"));
    assert!(servers.iter().all(|(server, _)| server.cluster() == servers[0].0.cluster()));
    assert_eq!(servers[1].0.servers().iter().filter(|server| server.voter).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn concurrent_reads_on_a_follower_share_a_round_trip() {
    let wires = Arc::<Wires>::default();
    let servers = wires.three().await;
    let before = wires.sent(Rpc::ReadIndex);

    let reads: Vec<_> = (0..1000)
        .map(|_| {
            let follower = servers[1].0.clone();
            tokio::spawn(async move { follower.barrier(ReadMode::Lease).await })
        })
        .collect();
    for read in reads {
        read.await.unwrap().unwrap();
    }

    let sent = wires.sent(Rpc::ReadIndex) - before;
    assert!(sent <= 2, "{sent} round trips");
}

#[tokio::test(start_paused = true)]
async fn after_the_leader_is_gone_the_others_go_on_and_it_comes_back_as_a_follower() {
    let wires = Arc::<Wires>::default();
    let servers = wires.three().await;
    let dead = id_of(&servers[0].0);
    wires.cut.lock().unwrap().insert(dead);

    let applied = servers[1].0.write(put("k", 1)).await.unwrap();

    assert_eq!(servers[0].0.barrier(ReadMode::Lease).await.unwrap_err(), crate::ReadError::NoLeader);
    wires.cut.lock().unwrap().clear();
    servers[0].0.barrier(ReadMode::Quorum).await.unwrap();
    assert!(!servers[0].0.leadership().is_self);
    assert!(servers[0].1.snapshot().index >= applied.index);
}

#[tokio::test(start_paused = true)]
async fn a_write_does_not_wait_for_a_leader_that_stands_still() {
    let wires = Arc::<Wires>::default();
    let servers = wires.three().await;
    wires.frozen.lock().unwrap().insert(id_of(&servers[0].0));
    let began = tokio::time::Instant::now();

    let asked = servers[1].0.write(put("k", 1)).await;

    assert_eq!(asked.unwrap_err(), WriteError::Unknown);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    servers[1].0.write(put("k", 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_a_write_is_refused_or_its_outcome_is_unknown_after_the_hold_time() {
    let wires = Arc::<Wires>::default();
    let servers = wires.three().await;
    wires.cut.lock().unwrap().extend([id_of(&servers[1].0), id_of(&servers[2].0)]);
    let began = tokio::time::Instant::now();

    let at_once = servers[0].0.write(put("k", 1)).await;
    let waited = began.elapsed();
    let later = servers[0].0.write(put("k", 1)).await;

    assert_eq!(at_once.unwrap_err(), WriteError::Unknown);
    assert!(waited < Duration::from_secs(8), "{waited:?}");
    assert_eq!(later.unwrap_err(), WriteError::NoLeader);
}

#[tokio::test(start_paused = true)]
async fn a_write_ends_after_the_hold_time_when_the_leader_vanishes_and_nobody_can_be_elected() {
    let wires = Arc::<Wires>::default();
    let servers = wires.three().await;
    wires.frozen.lock().unwrap().extend([id_of(&servers[0].0), id_of(&servers[2].0)]);
    let began = tokio::time::Instant::now();

    let asked = servers[1].0.write(put("k", 1)).await;

    assert_eq!(asked.unwrap_err(), WriteError::Unknown);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_only_voter_needs_no_other_server_to_hear_it() {
    let wires = Arc::<Wires>::default();
    let (a, _) = wires.start("a", true).await;
    let (b, _) = wires.start("b", false).await;
    a.change(&Change::Add(server("b"))).await.unwrap();
    wires.cut.lock().unwrap().insert(id_of(&b));

    tokio::time::sleep(Duration::from_secs(20)).await;

    assert!(!a.inner.alone.load(Ordering::Acquire));
    assert_eq!((a.has_leader(), a.last_contact()), (true, Some(Duration::ZERO)));
    assert!(!b.has_leader());
    a.write(put("k", 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_was_deposed_and_does_not_know_it_is_none_to_hear() {
    let wires = Arc::<Wires>::default();
    let servers = wires.three().await;
    let (from, to) = (raft_id(&id_of(&servers[0].0)), raft_id(&id_of(&servers[1].0)));
    let vote = |server: &Consensus| server.inner.raft.server_metrics().borrow_watched().vote;
    let deposed = vote(&servers[1].0);
    servers[0].0.change(&Change::Transfer(Some(id_of(&servers[2].0)))).await.unwrap();
    servers[1].0.write(put("k", 1)).await.unwrap();
    wires.cut.lock().unwrap().extend(servers.iter().map(|(server, _)| id_of(server)));
    tokio::time::sleep(Duration::from_secs(20)).await;
    let heartbeat = async |vote| {
        let request =
            AppendEntriesRequest::<TypeConfig> { vote, prev_log_id: None, entries: vec![], leader_commit: None };
        let envelope = Envelope { cluster: servers[1].0.cluster().unwrap(), from, to };
        servers[1].0.handle(Rpc::Heartbeat, &seal(envelope, &request)).await.unwrap();
        servers[1].0.last_contact().unwrap().as_secs()
    };

    assert!(heartbeat(deposed).await >= 19);
    assert_eq!(heartbeat(vote(&servers[1].0)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_may_take_long_while_a_quorum_hears_its_leader() {
    let wires = Arc::<Wires>::default();
    let servers = wires.three().await;
    wires.loses_entries.store(true, Ordering::Relaxed);
    let heals = async {
        tokio::time::sleep(Duration::from_secs(12)).await;
        wires.loses_entries.store(false, Ordering::Relaxed);
    };

    let (written, ()) = tokio::join!(servers[0].0.write(put("k", 1)), heals);

    written.unwrap();
    assert!(servers.iter().all(|(server, _)| server.has_leader()));
}

#[tokio::test(start_paused = true)]
async fn who_hears_no_leader_and_who_leads_no_quorum_knows_no_leader() {
    let wires = Arc::<Wires>::default();
    let servers = wires.three().await;
    let [leader, follower, _] = [0, 1, 2].map(|place| &servers[place].0);
    let leads = leader.leadership().leader;
    assert_eq!((leader.known_leader(), follower.known_leader()), (leads.clone(), leads.clone()));
    wires.cut.lock().unwrap().extend(servers.iter().map(|(server, _)| id_of(server)));

    tokio::time::sleep(Duration::from_secs(20)).await;

    for lonely in [leader, follower] {
        assert!(!lonely.has_leader());
        assert_eq!(lonely.known_leader(), None);
        let contact = lonely.last_contact().unwrap();
        assert!((19..=20).contains(&contact.as_secs()), "{contact:?}");
    }
    wires.cut.lock().unwrap().clear();
    for healed in [leader, follower] {
        healed.barrier(ReadMode::Quorum).await.unwrap();
    }
    let leads = leader.leadership().leader;
    assert_eq!((leader.known_leader(), follower.known_leader()), (leads.clone(), leads));
}

#[tokio::test(start_paused = true)]
async fn a_lone_server_takes_in_others_and_can_be_removed_in_the_end() {
    let wires = Arc::<Wires>::default();
    let (a, _) = wires.start("a", true).await;
    a.write(put("k", 1)).await.unwrap();
    assert!(a.inner.alone.load(Ordering::Acquire));
    let (b, b_store) = wires.start("b", false).await;

    a.change(&Change::Add(server("b"))).await.unwrap();
    a.change(&Change::Promote("b".into())).await.unwrap();

    assert!(!a.inner.alone.load(Ordering::Acquire));
    b.barrier(ReadMode::Quorum).await.unwrap();
    assert!(b_store.snapshot().kv.contains_key("k"));
    a.change(&Change::Remove("a".into())).await.unwrap();
    assert!(b.leadership().is_self);
    assert_eq!(b.servers(), [server("b")]);
    b.write(put("l", 1)).await.unwrap();
    let last = b.change(&Change::Remove("b".into())).await.unwrap_err();
    assert_eq!(last.to_string(), "server b is the last voter");
}

#[tokio::test(start_paused = true)]
async fn changes_are_forwarded_and_asking_again_does_no_harm() {
    let wires = Arc::<Wires>::default();
    let servers = wires.three().await;
    let (follower, other) = (&servers[1].0, id_of(&servers[2].0));
    let _learner = wires.start("d", false).await;

    for _ in 0..2 {
        follower.change(&Change::Add(server("d"))).await.unwrap();
        follower.change(&Change::Demote(other.clone())).await.unwrap();
    }
    let mut moved = server("d");
    moved.address = "10.0.0.200:8300".parse().unwrap();
    follower.change(&Change::Add(moved.clone())).await.unwrap();
    follower.barrier(ReadMode::Quorum).await.unwrap();

    let servers = follower.servers();
    assert!(servers.contains(&Server { voter: false, ..moved }), "{servers:?}");
    assert!(servers.contains(&Server { voter: false, ..server(&other) }), "{servers:?}");
    let unknown = follower.change(&Change::Promote("x".into())).await.unwrap_err();
    assert_eq!(unknown.to_string(), "server x is not a member");
}

#[tokio::test(start_paused = true)]
async fn the_lead_is_handed_over_on_request() {
    let wires = Arc::<Wires>::default();
    let servers = wires.three().await;
    let to = id_of(&servers[2].0);

    servers[1].0.change(&Change::Transfer(Some(to.clone()))).await.unwrap();

    servers[2].0.write(put("k", 1)).await.unwrap();
    assert!(servers[2].0.leadership().is_self);
    assert_eq!(servers[2].0.followers().len(), 2);
    servers[0].0.change(&Change::Transfer(None)).await.unwrap();
    assert!(!servers[2].0.leadership().is_self);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_late_gets_a_snapshot_in_pieces() {
    let wires = Arc::<Wires>::default();
    let (a, _) = wires.start("a", true).await;
    for number in 0..30 {
        a.write(put(&format!("k{number}"), 100 << 10)).await.unwrap();
    }
    a.compact().await;
    while a.stats().snapshot_index == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (b, store) = wires.start("b", false).await;

    a.change(&Change::Add(server("b"))).await.unwrap();
    b.barrier(ReadMode::Lease).await.unwrap();

    assert_eq!(store.snapshot().kv.len(), 30);
    assert!(wires.sent(Rpc::Snapshot) >= 12, "3 MB in {} pieces", wires.sent(Rpc::Snapshot));
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_not_for_us_are_refused() {
    let wires = Arc::<Wires>::default();
    let (a, _) = wires.start("a", true).await;
    let to = raft_id("a");
    let ours = Envelope { cluster: a.cluster().unwrap(), from: 1, to };
    let heartbeat = |envelope| seal(envelope, &false);
    let mut newer = heartbeat(ours);
    newer[0] = WIRE_VERSION + 1;
    let mut long = heartbeat(ours);
    long.push(0);

    let cases = [
        (heartbeat(Envelope { cluster: 9, ..ours }), Refused::OtherCluster),
        (heartbeat(Envelope { to: 9, ..ours }), Refused::OtherServer),
        (newer, Refused::Version(WIRE_VERSION + 1)),
        (long, Refused::Damaged("1 bytes follow its end".into())),
        (Vec::new(), Refused::Damaged("it is empty".into())),
    ];

    for (message, refused) in cases {
        assert_eq!(a.handle(Rpc::ReadIndex, &message).await, Err(refused));
    }
    for rpc in [Rpc::Append, Rpc::Vote, Rpc::PreVote, Rpc::Snapshot, Rpc::TransferLeader, Rpc::Forward, Rpc::Change] {
        let refused = a.handle(rpc, &seal(ours, &[0xff_u8; 3])).await;
        assert!(matches!(refused, Err(Refused::Damaged(_))), "{rpc:?}");
    }
    a.write(put("k", 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_read_on_a_follower_right_after_a_write_waits_for_messages_only() {
    let wires = Arc::<Wires>::default();
    let servers = wires.three().await;
    servers[0].0.write(put("k", 1)).await.unwrap();
    let began = Instant::now();

    servers[1].0.barrier(ReadMode::Lease).await.unwrap();

    assert!(servers[1].1.snapshot().kv.contains_key("k"));
    assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_was_interrupted_goes_on_where_it_stopped_and_is_forgotten_in_the_end() {
    let wires = Arc::<Wires>::default();
    let (a, _) = wires.start("a", true).await;
    let envelope = Envelope { cluster: a.cluster().unwrap(), from: 9, to: raft_id("a") };
    let chunk = |offset: u64, size: usize| crate::wire::Chunk {
        vote: crate::types::Vote::new(1, 9),
        meta: crate::types::SnapshotMeta::default(),
        size_bytes: 10,
        offset,
        bytes: vec![0; size],
    };
    let send = async |chunk: crate::wire::Chunk| {
        let answer = a.handle(Rpc::Snapshot, &seal(envelope, &chunk)).await?;
        match crate::wire::read(&answer)? {
            crate::wire::Received::From(offset) => Ok(offset),
            crate::wire::Received::Whole(_) => panic!("it is not whole"),
        }
    };

    assert_eq!(send(chunk(0, 4)).await, Ok(4));
    assert_eq!(send(chunk(0, 4)).await, Ok(4), "it goes on where it stopped");
    assert!(matches!(send(chunk(4, 7)).await, Err(Refused::Damaged(_))), "more than it is");
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(a.inner.receiving.lock().unwrap().is_none());
    assert_eq!(send(chunk(4, 4)).await, Ok(0), "it is sent again from the start");
}
