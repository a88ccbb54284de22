//! Who uses a simulated cluster: clients of keys and locks, watchers, an operator.
//!
//! Each talks to any server that is up, and tells the invariants what it asked
//! and what it was told. None of them knows who leads.

use std::sync::Arc;
use std::time::Duration;

use agent_core::state::command::{KvOp, KvWrite};
use agent_core::state::{Command, Reply, State};
use agent_core::watch::Topic;
use agent_raft::{Change, ReadMode, WriteError};
use linear::{Answered, Asked, Call, Key};
use tokio::time::{Instant, timeout};

use super::Scene;
use super::servers::Life;

/// The keys that everybody writes.
pub const KEYS: [&str; 3] = ["x", "y", "z"];

/// Sessions that never end.
pub const SESSIONS: u8 = 3;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// The id of a session.
pub fn session(number: u8) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}

fn session_number(id: &str) -> Option<u8> {
    (!id.is_empty()).then(|| id[24..].parse().expect("only our sessions lock"))
}

/// What a state holds under a key, and the index to compare with.
fn look(state: &State, key: &str) -> (Key, u64) {
    match state.kv.get(key) {
        Some(entry) => {
            let value = std::str::from_utf8(&entry.value).ok().and_then(|value| value.parse().ok());
            (Key { value, holder: session_number(&entry.session) }, entry.modify_index)
        }
        None => (Key::default(), 0),
    }
}

fn write_of(key: &str, value: u64) -> KvWrite {
    KvWrite { key: key.to_owned(), value: value.to_string().into_bytes().into(), flags: 0 }
}

/// Reads and writes the keys that everybody writes.
pub async fn keys(scene: Scene, number: u64) {
    let mut seen = [(None, 0); KEYS.len()];
    while Instant::now() < scene.writes_end {
        scene.pause(2, 60).await;
        let Some((id, life)) = scene.servers.any() else { continue };
        let place = usize::try_from(scene.random.below(KEYS.len() as u64)).expect("a small number");
        let key = KEYS[place];
        let value = scene.next_value();
        let session_of = u8::try_from(scene.random.below(u64::from(SESSIONS))).expect("a small number");
        let write = write_of(key, value);
        let (asked, op) = match scene.random.below(100) {
            0..50 => (Asked::Get, None),
            50..70 => (Asked::Put(value), Some(KvOp::Set(write))),
            70..84 => {
                let (expected, index) = seen[place];
                (Asked::Cas(expected, value), Some(KvOp::Cas { write, index }))
            }
            84..91 => (Asked::Lock(session_of, value), Some(KvOp::Lock { write, session: session(session_of) })),
            91..97 => (Asked::Unlock(session_of, value), Some(KvOp::Unlock { write, session: session(session_of) })),
            _ => (Asked::Delete, Some(KvOp::Delete { key: key.to_owned() })),
        };
        let call = scene.checks().histories.called(key, asked);
        match op {
            None => {
                if let Some(read) = get(&scene, &id, &life, key).await {
                    scene.trace.note(format_args!("client {number} at {id} read {key} {read:?}"));
                    seen[place] = (read.0.value, read.1);
                    scene.checks().histories.answered(&call, Answered::Read(read.0));
                }
            }
            Some(op) => put(&scene, &life, op, &call, number).await,
        }
    }
}

/// A linearizable read.
async fn get(scene: &Scene, id: &str, life: &Life, key: &str) -> Option<(Key, u64)> {
    let mode = if scene.random.happens(300) { ReadMode::Quorum } else { ReadMode::Lease };
    let floor = scene.checks().index.floor(id);
    let believes_itself = scene.plan.bugs.stale_leader_reads && life.consensus.leadership().is_self;
    if !believes_itself {
        timeout(PATIENCE, life.gone.unless(life.consensus.barrier(mode))).await.ok()??.ok()?;
    }
    let state = life.store.snapshot();
    let verdict = scene.checks().index.answered(id, floor, Some(state.index));
    scene.judge(verdict);
    Some(look(&state, key))
}

async fn put(scene: &Scene, life: &Life, op: KvOp, call: &Call, number: u64) {
    let answer = timeout(PATIENCE, life.gone.unless(life.consensus.write(Command::Kv(op)))).await;
    scene.trace.note(format_args!("client {number} {answer:?}"));
    let mut checks = scene.checks();
    match answer {
        Ok(Some(Ok(applied))) => match applied.reply {
            Reply::Done => checks.histories.answered(call, Answered::Done(true)),
            Reply::Bool(done) => checks.histories.answered(call, Answered::Done(done)),
            other => checks.broken.push(format!("a write answered {other:?}")),
        },
        Ok(Some(Err(WriteError::NoLeader))) => checks.histories.refused(call),
        Ok(Some(Err(WriteError::Unknown | WriteError::Stopped(_))) | None) | Err(_) => {}
    }
}

/// Writes records of its own, each once, and remembers which were acknowledged.
pub async fn ledger(scene: Scene, number: u64) {
    for page in 0u64.. {
        scene.pause(20, 200).await;
        if Instant::now() > scene.writes_end {
            return;
        }
        let Some((_, life)) = scene.servers.any() else { continue };
        let key = format!("ledger/{number}/{page}");
        scene.checks().durability.began(&key, Some("1"));
        let write = Command::Kv(KvOp::Set(write_of(&key, 1)));
        let answer = timeout(PATIENCE, life.gone.unless(life.consensus.write(write))).await;
        scene.trace.note(format_args!("ledger {number} {answer:?}"));
        match answer {
            Ok(Some(Ok(_))) => scene.checks().durability.acknowledged(&key, Some("1")),
            Ok(Some(Err(WriteError::NoLeader))) => scene.checks().durability.refused(&key),
            _ => {}
        }
    }
}

/// Waits for changes of a key on whatever server it finds, as a blocking query does, until that server is gone.
pub async fn watcher(scene: Scene, key: &'static str) {
    while Instant::now() < scene.ends {
        let Some((id, life)) = scene.servers.any() else {
            scene.pause(50, 50).await;
            continue;
        };
        let woken = life.gone.unless(watch(&scene, &life, key));
        drop(timeout(Duration::from_secs(2), woken).await);
        scene.checks().asleep.retain(|asleep| asleep.server != id || asleep.key != key);
    }
}

async fn watch(scene: &Scene, life: &Life, key: &'static str) {
    let topics = [Topic::KvKey(key.to_owned())];
    let mut seen = 0;
    loop {
        let (index, watch) = if scene.plan.bugs.late_subscriptions {
            // The planted bug: what happens between the look and the subscription is lost.
            let index = look(&life.store.snapshot(), key).1;
            tokio::time::sleep(Duration::from_millis(3)).await;
            (index, life.store.watch(&topics))
        } else {
            let watch = life.store.watch(&topics);
            (look(&life.store.snapshot(), key).1, watch)
        };
        if index != seen {
            seen = index;
            continue;
        }
        let sleeper = scene.sleeps(life, key, seen);
        watch.await;
        scene.wakes(sleeper);
    }
}

/// Somebody who sleeps because the key has not changed.
pub struct Asleep {
    /// Which sleep.
    pub number: u64,
    /// On which server, as an id of its life.
    pub server: String,
    /// For which key.
    pub key: &'static str,
    /// The index it knows.
    pub seen: u64,
    /// Where it looks.
    pub store: Arc<agent_core::store::Store>,
    /// Since when the store has been past it.
    pub overdue_since: Option<Instant>,
}

impl Asleep {
    /// Whether it has slept past a change for longer than a wake-up can take.
    pub fn oversleeps(&mut self) -> bool {
        if look(&self.store.snapshot(), self.key).1 == self.seen {
            self.overdue_since = None;
            return false;
        }
        let since = *self.overdue_since.get_or_insert_with(Instant::now);
        since.elapsed() > Duration::from_millis(30)
    }
}

/// Moves the lead and the votes around.
pub async fn operator(scene: Scene) {
    let ids = scene.servers.ids();
    while Instant::now() < scene.writes_end {
        scene.pause(300, 2_000).await;
        let Some((at, life)) = scene.servers.any() else { continue };
        let id = ids[usize::try_from(scene.random.below(ids.len() as u64)).expect("a small number")].clone();
        let change = match scene.random.below(20) {
            0..7 => Change::Transfer(scene.random.happens(500).then_some(id)),
            7..10 => Change::Demote(id),
            10..15 => Change::Promote(id),
            15..17 if ids.len() > 3 => Change::Remove(id),
            _ => Change::Add(super::Servers::server(&id)),
        };
        let answer = timeout(PATIENCE, life.gone.unless(life.consensus.change(&change))).await;
        scene.trace.note(format_args!("operator at {at}: {change:?} {answer:?}"));
    }
}
