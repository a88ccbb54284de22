//! Who uses a world of agents over HTTP: any agent that answers is as good as another.
//!
//! Clients of keys and locks whose histories must be linearizable, keepers of
//! ledgers whose acknowledged pages must survive, a registrar of one service,
//! and watchers. Each tells the invariants what it asked and was told.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::scene::Scene;
use crate::client::{Client, Response};
use crate::clients::kv::value;
use linear::{Answered, Asked, Call, Key};

/// The keys that everybody writes.
const KEYS: [&str; 3] = ["x", "y", "z"];

/// Sessions that never end.
const SESSIONS: u8 = 3;

/// The key that watchers watch.
pub const WATCHED: &str = "watched";

/// The record of the service's health.
pub const STATUS: &str = "status of web";

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// How long a watcher waits for an answer.
const WATCHER_PATIENCE: Duration = Duration::from_secs(5);

/// Makes what the clients need: a node that nobody cares for, and the sessions, whose ids it returns.
pub async fn prepare(scene: Scene) -> Vec<String> {
    let mut client = scene.client("prepare", 0);
    let node = json!({ "Node": "n", "Address": "10.1.0.1" }).to_string();
    let session = json!({ "Node": "n", "Checks": [], "LockDelay": "0s" }).to_string();
    while put(&mut client, "/v1/catalog/register", &node).await.is_none() {}
    let mut sessions = Vec::new();
    while sessions.len() < usize::from(SESSIONS) {
        let created = put(&mut client, "/v1/session/create", &session).await;
        let id = created.and_then(|body| Some(body["ID"].as_str()?.to_owned()));
        sessions.extend(id);
    }
    sessions
}

/// The body of a 200 as JSON.
async fn put(client: &mut Client, path: &str, body: &str) -> Option<Value> {
    let response = ask(client, "PUT", path, body.to_owned(), PATIENCE).await?;
    (response.status == 200).then(|| response.json())
}

/// An answer, if one comes before the client loses its patience.
async fn ask(client: &mut Client, method: &str, path: &str, body: String, patience: Duration) -> Option<Response> {
    match timeout(patience, client.request(method, path, body)).await {
        Ok(answer) => answer.ok(),
        Err(_) => {
            client.hang_up();
            None
        }
    }
}

/// What is known after a write was sent.
enum Outcome {
    Done(bool),
    /// It certainly did not happen.
    Refused,
    Unknown,
}

async fn write(client: &mut Client, method: &str, path: &str, body: String) -> Outcome {
    match ask(client, method, path, body, PATIENCE).await {
        Some(response) if response.status == 200 => match response.body.trim_ascii() {
            b"true" => Outcome::Done(true),
            b"false" => Outcome::Done(false),
            _ => Outcome::Unknown,
        },
        Some(response) if response.body.trim_ascii() == b"No cluster leader" => Outcome::Refused,
        Some(_) | None => Outcome::Unknown,
    }
}

/// Reads and writes the keys that everybody writes.
pub async fn keys(scene: Scene, number: u64) {
    let mut seen = [(None, 0); KEYS.len()];
    while scene.is_writing() {
        scene.pause(2, 80).await;
        let (door, mut client) = scene.any(&format!("client{number}"));
        for _ in 0..scene.below(6) {
            let place = scene.below(KEYS.len());
            let key = KEYS[place];
            let value = scene.next_value();
            let session = scene.below(usize::from(SESSIONS));
            let of = &scene.sessions()[session];
            let locker = u8::try_from(session).expect("few sessions");
            let (expected, index) = seen[place];
            let (asked, how) = match scene.below(100) {
                0..50 => (Asked::Get, None),
                50..70 => (Asked::Put(value), Some(String::new())),
                70..84 => (Asked::Cas(expected, value), Some(format!("?cas={index}"))),
                84..91 => (Asked::Lock(locker, value), Some(format!("?acquire={of}"))),
                91..97 => (Asked::Unlock(locker, value), Some(format!("?release={of}"))),
                _ => (Asked::Delete, Some(String::new())),
            };
            let call = scene.checks().histories.called(key, asked);
            match how {
                None => {
                    if let Some((found, index)) = get(&scene, door, &mut client, key).await {
                        seen[place] = (found.value, index);
                        scene.checks().histories.answered(&call, Answered::Read(found));
                    }
                }
                Some(how) => change(&scene, &mut client, &call, asked, &format!("/v1/kv/{key}{how}"), value).await,
            }
            scene.pause(1, 30).await;
        }
    }
}

async fn change(scene: &Scene, client: &mut Client, call: &Call, asked: Asked, path: &str, value: u64) {
    let outcome = match asked {
        Asked::Delete => write(client, "DELETE", path, String::new()).await,
        _ => write(client, "PUT", path, value.to_string()).await,
    };
    let mut checks = scene.checks();
    match outcome {
        Outcome::Done(done) => checks.histories.answered(call, Answered::Done(done)),
        Outcome::Refused => checks.histories.refused(call),
        Outcome::Unknown => {}
    }
}

/// A read that must be linearizable: what is there, and the index to compare with.
async fn get(scene: &Scene, door: usize, client: &mut Client, key: &str) -> Option<(Key, u64)> {
    let believes_itself = scene.plan.bugs.stale_leader_reads && scene.leads(door);
    let mode = match (believes_itself, scene.plan.freezes_clocks, scene.below(10)) {
        // The planted bug.
        (true, _, _) => "?stale",
        (false, true, _) | (false, false, 0..3) => "?consistent",
        (false, false, _) => "",
    };
    let query = format!("{key} of host {door}");
    let floor = scene.checks().index.floor(&query);
    let response = ask(client, "GET", &format!("/v1/kv/{key}{mode}"), String::new(), PATIENCE).await?;
    if !matches!(response.status, 200 | 404) {
        return None;
    }
    let verdict = scene.checks().index.answered(&query, floor, response.index);
    scene.judge(verdict);
    if response.status == 404 {
        return Some((Key::default(), 0));
    }
    let entry = &response.json()[0];
    let holder = entry["Session"].as_str().map(|id| {
        let place = scene.sessions().iter().position(|session| session == id);
        u8::try_from(place.expect("only our sessions lock")).expect("few sessions")
    });
    let value = value(entry).and_then(|value| value.parse().ok());
    Some((Key { value, holder }, entry["ModifyIndex"].as_u64().unwrap_or(0)))
}

/// Writes pages of its own, each once, and remembers which were acknowledged.
pub async fn ledger(scene: Scene, number: u64) {
    for page in 0u64.. {
        scene.pause(20, 250).await;
        if !scene.is_writing() {
            return;
        }
        let (_, mut client) = scene.any(&format!("ledger{number}"));
        let key = format!("ledger/{number}/{page}");
        scene.checks().durability.began(&key, Some("1"));
        match write(&mut client, "PUT", &format!("/v1/kv/{key}"), "1".to_owned()).await {
            Outcome::Done(_) => scene.checks().durability.acknowledged(&key, Some("1")),
            Outcome::Refused => scene.checks().durability.refused(&key),
            Outcome::Unknown => {}
        }
    }
}

/// Registers an instance of `web` on the node that nobody cares for, again and again with another status.
pub async fn registrar(scene: Scene) {
    while scene.is_writing() {
        scene.pause(50, 600).await;
        let status = ["passing", "warning", "critical"][scene.below(3)];
        let body = json!({
            "Node": "n", "Address": "10.1.0.1", "Service": { "ID": "web1", "Service": "web", "Port": 80 },
            "Check": { "CheckID": "web1", "Name": "web", "ServiceID": "web1", "Status": status }
        });
        let (_, mut client) = scene.any("registrar");
        scene.checks().durability.began(STATUS, Some(status));
        match write(&mut client, "PUT", "/v1/catalog/register", body.to_string()).await {
            Outcome::Done(_) => scene.checks().durability.acknowledged(STATUS, Some(status)),
            Outcome::Refused => scene.checks().durability.refused(STATUS),
            Outcome::Unknown => {}
        }
    }
}

/// Changes the watched key now and then.
pub async fn changer(scene: Scene) {
    while scene.is_writing() {
        scene.pause(20, 700).await;
        let (_, mut client) = scene.any("changer");
        let value = scene.next_value().to_string();
        write(&mut client, "PUT", &format!("/v1/kv/{WATCHED}"), value).await;
    }
}

/// Waits for changes of the watched key on an agent for a while, then on another.
pub async fn watcher(scene: Scene, number: u64) {
    while scene.running.load(Ordering::Relaxed) {
        // A client would ask whichever server it likes.
        let door = scene.below(scene.plan.servers);
        let mut client = scene.client(&format!("watcher{number}"), door);
        let mut seen = 0;
        for _ in 0..1 + scene.below(20) {
            // What is asked for is what the agent itself has seen: whether that is the newest is another question.
            let past = if scene.plan.bugs.late_subscriptions { seen + 2 } else { seen };
            let path = format!("/v1/kv/{WATCHED}?stale&wait=60s&index={past}");
            let asleep = scene.sleeps(door, seen);
            let answer = ask(&mut client, "GET", &path, String::new(), WATCHER_PATIENCE).await;
            scene.wakes(asleep);
            match answer.filter(|answer| matches!(answer.status, 200 | 404)).and_then(|answer| answer.index) {
                Some(index) => seen = index,
                None => break,
            }
        }
        scene.pause(10, 200).await;
    }
}
