//! The log alone under a seed: one server over a disk that crashes, without HTTP.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_core::state::command::{KvOp, KvWrite};
use agent_core::state::{Command, State, invariants};
use agent_core::store::Store;
use agent_daemon::env::{Disks, Random};
use agent_raft::network::Alone;
use agent_raft::{Config, Consensus, Server, Timing};
use sim::disk::{SimDisks, Speed};
use sim::outside::SimRandom;
use sim::seeds;
use sim::trace::Trace;

/// Writers that write at the same time.
const WRITERS: u64 = 4;

/// How long a run writes and crashes, in virtual time.
const CHAOS: Duration = Duration::from_secs(2);

/// The server as it is at the moment, if it is up.
type Up = Arc<Mutex<Option<(Consensus, Arc<Store>)>>>;

async fn start(disks: &SimDisks, random: &SimRandom) -> (Consensus, Arc<Store>) {
    let store = Arc::new(Store::new(State::default()));
    let ids = random.clone();
    let config = Config {
        server: Server { id: "a".into(), node: "a".into(), address: "10.0.0.1:8300".parse().unwrap(), voter: true },
        bootstrap: true,
        timing: Timing::default(),
        hold_time: Duration::from_secs(1),
        disk: disks.open(None).await.unwrap(),
        transport: Arc::new(Alone),
        store: store.clone(),
        stamp: Arc::new(move || (u128::from(ids.u64()), 0)),
    };
    (Consensus::start(config).await.expect("a crashed disk holds a log that can be read"), store)
}

/// Writes its own keys one after another; returns what was acknowledged.
async fn write(writer: u64, up: Up, trace: Trace) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let ends = tokio::time::Instant::now() + CHAOS;
    for number in 0.. {
        if tokio::time::Instant::now() > ends {
            break;
        }
        let consensus = up.lock().unwrap().as_ref().map(|(consensus, _)| consensus.clone());
        let Some(consensus) = consensus else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let key = format!("{writer}/{number}");
        let put = KvWrite { key: key.clone(), value: vec![0; 200].into(), flags: number };
        let answer = consensus.write(Command::Kv(KvOp::Set(put))).await;
        trace.note(format_args!("{key} {answer:?}"));
        if answer.is_ok() {
            acknowledged.push(key);
        }
        tokio::time::sleep(Duration::from_millis(1 + writer * 7 + number % 5)).await;
    }
    acknowledged
}

/// Crashes and restarts until the chaos is over; the server is up when it returns.
async fn crash(up: Up, disks: SimDisks, random: SimRandom, trace: Trace) {
    let ends = tokio::time::Instant::now() + CHAOS;
    while tokio::time::Instant::now() < ends {
        disks.set_speed(if random.happens(300) { Speed::SLOW } else { Speed::FAST });
        *up.lock().unwrap() = Some(start(&disks, &random).await);
        trace.note(format_args!("up"));
        tokio::time::sleep(Duration::from_millis(50 + random.below(500))).await;
        let consensus = up.lock().unwrap().as_ref().map(|(consensus, _)| consensus.clone());
        if let Some(consensus) = consensus.filter(|_| random.happens(600)) {
            consensus.compact().await;
            trace.note(format_args!("compact"));
        }
        tokio::time::sleep(Duration::from_millis(random.below(300))).await;
        let last = up.lock().unwrap().take();
        disks.crash();
        drop(last);
        trace.note(format_args!("crash"));
        tokio::time::sleep(Duration::from_millis(random.below(20))).await;
    }
    *up.lock().unwrap() = Some(start(&disks, &random).await);
}

/// What a run came to: the digest of its trace, and the acknowledged keys that are missing.
async fn run(seed: u64, lies: bool) -> (u64, Vec<String>) {
    agent_raft::runtime::seed(seed);
    let random = SimRandom::new(seed);
    let trace = Trace::new();
    let disks = SimDisks::new(random.clone());
    if lies {
        disks.lie();
    }
    let up = Up::default();
    let chaos = tokio::spawn(crash(up.clone(), disks, random, trace.clone()));
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(writer, up.clone(), trace.clone()))).collect();
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    chaos.await.unwrap();
    let (consensus, store) = up.lock().unwrap().take().unwrap();
    let state = store.snapshot();
    invariants::check(&state).unwrap();
    let values: BTreeMap<_, _> = state.kv.iter().map(|(key, entry)| (key.clone(), entry.modify_index)).collect();
    trace.note(format_args!("{values:?}"));
    consensus.shutdown().await;
    assert!(acknowledged.len() > 10, "seed {seed} acknowledged only {}", acknowledged.len());
    (trace.digest().0, acknowledged.into_iter().filter(|key| !values.contains_key(key)).collect())
}

fn run_seed(seed: u64, lies: bool) -> (u64, Vec<String>) {
    seeds::on_virtual_time(run(seed, lies))
}

#[test]
fn no_crash_loses_an_acknowledged_write() {
    for seed in 0..40 {
        assert_eq!(run_seed(seed, false).1, [""; 0], "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..5 {
        assert_eq!(run_seed(seed, false).0, run_seed(seed, false).0, "seed {seed}");
    }
}

#[test]
fn a_disk_that_lies_is_found_out() {
    assert!((0..10).any(|seed| !run_seed(seed, true).1.is_empty()));
}
