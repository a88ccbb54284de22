//! Who uses the cluster: through every agent, from its host, four users without a pause for long.
//!
//! Users of shared keys read, write, compare, lock, unlock and delete; keepers of records put and remove keys and
//! services that are their own; watchers wait for a bell. After an answer that does not say what happened, a keeper
//! never touches that record again: a request that is still on its way may change it at any time.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use linear::{Answered, Asked, Key};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use real::http::{Connection, Response};
use real::namespaces::Host;
use real::pool::{Pool, until};
use serde_json::{Value, json};

use crate::record::Record;

/// How long a user waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keys that everybody writes, in each epoch.
const KEYS: [&str; 3] = ["x", "y", "z"];

/// How many sessions take locks.
const SESSIONS: usize = 3;

/// Records of one keeper that change.
const RECORDS: u64 = 40;

/// Makes sessions that live as long as the node of the first server.
pub fn sessions(pool: &Pool) -> Vec<String> {
    let create = || {
        let body = br#"{"Name": "faults", "Checks": [], "LockDelay": "0s"}"#;
        let answer = pool.request(0, "PUT", "/v1/session/create", body).ok()?;
        let created: Value = serde_json::from_slice(&answer.body).ok()?;
        Some(created["ID"].as_str()?.to_owned())
    };
    (0..SESSIONS).map(|_| until(PATIENCE, "session", create)).collect()
}

/// Begins to use an agent. Those who return end when it is over; the watcher stays until the process ends.
pub fn start(record: &Arc<Record>, place: usize, host: &Host) -> Vec<JoinHandle<()>> {
    let user = |number: u64| User {
        record: Arc::clone(record),
        place,
        host: host.clone(),
        connection: None,
        random: StdRng::seed_from_u64(number * 1_000 + place as u64),
    };
    let (keys, keys_of_own, services, watcher) = (user(1), user(2), user(3), user(4));
    drop(thread::spawn(move || watcher.watch()));
    vec![
        thread::spawn(move || keys.use_keys()),
        thread::spawn(move || keys_of_own.keep(Kind::Key)),
        thread::spawn(move || services.keep(Kind::Service)),
    ]
}

/// What a keeper keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Key,
    Service,
}

struct User {
    record: Arc<Record>,
    place: usize,
    host: Host,
    connection: Option<Connection>,
    random: StdRng,
}

impl User {
    fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound
    }

    /// Between two requests.
    fn pause(&mut self) {
        let pause = 10 + self.below(50);
        sleep(Duration::from_millis(pause));
    }

    fn goes_on(&self) -> bool {
        !self.record.is_over.load(Ordering::Relaxed)
    }

    fn request(&mut self, method: &str, path: &str, body: &[u8], patience: Duration) -> io::Result<Response> {
        let answer = self.connection().and_then(|connection| {
            let mut connection = connection.with_patience(patience)?;
            let answer = connection.request(method, path, body)?;
            Ok((connection, answer))
        });
        match answer {
            Ok((connection, answer)) => {
                self.connection = Some(connection);
                Ok(answer)
            }
            Err(error) => {
                // Nobody may be there for a while.
                sleep(Duration::from_millis(100));
                Err(error)
            }
        }
    }

    fn connection(&mut self) -> io::Result<Connection> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(self.host.address),
        }
    }

    fn use_keys(mut self) {
        self.host.enter();
        let mut seen = (0, [(None, 0_u64); KEYS.len()]);
        while self.goes_on() {
            self.pause();
            let epoch = self.record.epoch();
            if seen.0 != epoch {
                seen = (epoch, [(None, 0); KEYS.len()]);
            }
            let place = usize::try_from(self.below(KEYS.len() as u64)).expect("a small number");
            if let Some(now) = self.use_key(epoch, KEYS[place], seen.1[place]) {
                seen.1[place] = now;
            }
        }
    }

    /// Asks a key for something; returns its value and index when it was read.
    fn use_key(&mut self, epoch: u64, key: &str, seen: (Option<u64>, u64)) -> Option<(Option<u64>, u64)> {
        let path = format!("/v1/kv/linear/{epoch}/{key}");
        let value = self.record.next_value();
        let number = self.below(SESSIONS as u64);
        let session = self.record.sessions[usize::try_from(number).expect("a small number")].clone();
        let session_number = u8::try_from(number).expect("a small number");
        let (asked, parameters) = match self.below(100) {
            0..30 => (Asked::Get, String::new()),
            30..45 => (Asked::Get, "?consistent".to_owned()),
            45..68 => (Asked::Put(value), String::new()),
            68..82 => (Asked::Cas(seen.0, value), format!("?cas={}", seen.1)),
            82..90 => (Asked::Lock(session_number, value), format!("?acquire={session}")),
            90..97 => (Asked::Unlock(session_number, value), format!("?release={session}")),
            _ => (Asked::Delete, String::new()),
        };
        let method = match asked {
            Asked::Get => "GET",
            Asked::Delete => "DELETE",
            Asked::Put(_) | Asked::Cas(..) | Asked::Lock(..) | Asked::Unlock(..) => "PUT",
        };
        let open = self.record.called(epoch, key, asked);
        let body = if method == "PUT" { value.to_string() } else { String::new() };
        let answer = self.request(method, &format!("{path}{parameters}"), body.as_bytes(), PATIENCE);
        match answer {
            Ok(answer) if asked == Asked::Get && matches!(answer.status, 200 | 404) => {
                let (now, index) = self.look(&answer);
                self.record.answered(&open, Answered::Read(now));
                return Some((now.value, index));
            }
            Ok(answer) if answer.status == 200 => {
                self.record.answered(&open, Answered::Done(answer.text().trim() == "true"));
            }
            // These words promise that nothing was proposed.
            Ok(answer) if answer.text().contains("No cluster leader") => self.record.refused(&open),
            Ok(_) | Err(_) => self.record.unanswered(),
        }
        None
    }

    fn look(&self, answer: &Response) -> (Key, u64) {
        let entry = serde_json::from_slice::<Value>(&answer.body).map_or(Value::Null, |list| list[0].clone());
        let session = entry["Session"].as_str();
        let holder = session.and_then(|session| self.record.sessions.iter().position(|ours| ours == session));
        let key = Key { value: number_in(&entry), holder: holder.map(|place| place as u8) };
        (key, entry["ModifyIndex"].as_u64().unwrap_or(0))
    }

    /// Puts and removes records of its own.
    fn keep(mut self, kind: Kind) {
        self.host.enter();
        let mut names: Vec<u64> = (0..RECORDS).collect();
        let mut next_name = RECORDS;
        while self.goes_on() {
            self.pause();
            let place = usize::try_from(self.below(RECORDS)).expect("a small number");
            let value = (self.below(10) < 8).then(|| 1 + self.record.next_value() % 60_000);
            if self.change(kind, names[place], value).is_none() {
                names[place] = next_name;
                next_name += 1;
            }
        }
    }

    /// `None` when the outcome is not known.
    fn change(&mut self, kind: Kind, name: u64, value: Option<u64>) -> Option<()> {
        let (place, record) = (self.place, record_name(kind, self.place, name));
        let (method, path, body) = match (kind, value) {
            (Kind::Key, Some(value)) => ("PUT", format!("/v1/kv/{record}"), value.to_string()),
            (Kind::Key, None) => ("DELETE", format!("/v1/kv/{record}"), String::new()),
            (Kind::Service, Some(value)) => {
                let service = json!({"Service": format!("own-{place}"), "ID": record, "Port": value});
                let body = json!({"Node": "records", "Address": "10.88.0.1", "Service": service});
                ("PUT", "/v1/catalog/register".to_owned(), body.to_string())
            }
            (Kind::Service, None) => {
                let body = json!({"Node": "records", "ServiceID": record});
                ("PUT", "/v1/catalog/deregister".to_owned(), body.to_string())
            }
        };
        self.record.began(&record, value);
        let answer = self.request(method, &path, body.as_bytes(), PATIENCE);
        match answer {
            Ok(answer) if answer.status == 200 && answer.text().trim() == "true" => {
                self.record.acknowledged(&record, value);
                Some(())
            }
            Ok(_) | Err(_) => {
                self.record.unanswered();
                None
            }
        }
    }

    /// Waits for the bell, and rings it now and then.
    fn watch(mut self) {
        self.host.enter();
        let mut index = 0;
        loop {
            let path = format!("/v1/kv/bell?index={index}&wait=10s");
            match self.request("GET", &path, b"", 2 * PATIENCE) {
                Ok(answer) if matches!(answer.status, 200 | 404) => {
                    let now = answer.header("x-consul-index").and_then(|text| text.parse().ok()).unwrap_or(0);
                    if now < index {
                        let what = format!("the index of the bell went from {index} back to {now}");
                        self.record.judge(Err(format!("agent {}: {what}", self.place + 1)));
                    }
                    index = now;
                    let entry =
                        serde_json::from_slice::<Value>(&answer.body).map_or(Value::Null, |list| list[0].clone());
                    self.record.heard(self.place, number_in(&entry).unwrap_or(0).to_string());
                }
                Ok(_) | Err(_) => self.record.unanswered(),
            }
            if self.goes_on() && self.below(5) == 0 {
                sleep(Duration::from_millis(200));
                let value = self.record.next_value().to_string();
                // Whether it rings does not matter, until the last time.
                let _ = self.request("PUT", "/v1/kv/bell", value.as_bytes(), PATIENCE);
            }
        }
    }
}

fn record_name(kind: Kind, place: usize, name: u64) -> String {
    match kind {
        Kind::Key => format!("record/{place}/{name}"),
        Kind::Service => format!("service-{place}-{name}"),
    }
}

/// The number that an entry of a key holds; `None` without an entry.
fn number_in(entry: &Value) -> Option<u64> {
    let decoded = STANDARD.decode(entry["Value"].as_str()?).ok()?;
    String::from_utf8(decoded).ok()?.parse().ok()
}

/// All records as an agent sees them in a default read.
pub fn ledger_seen_by(pool: &Pool, place: usize) -> BTreeMap<String, u64> {
    let get = |path: &str| until(PATIENCE, "answer to a default read", || pool.get(place, path));
    let keys = get("/v1/kv/record/?recurse");
    let services = get("/v1/catalog/node/records");
    let keys = keys.as_array().into_iter().flatten();
    let keys = keys.filter_map(|entry| Some((entry["Key"].as_str()?.to_owned(), number_in(entry)?)));
    let services = services["Services"].as_object().into_iter().flatten();
    let services = services.filter_map(|(id, service)| Some((id.clone(), service["Port"].as_u64()?)));
    keys.chain(services).collect()
}
