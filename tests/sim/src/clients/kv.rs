//! Writes, compares, deletes and reads its own keys, and knows what each may hold.
//!
//! After a write with an unknown outcome it goes on below a new prefix: the old
//! keys are never written again, so what they may hold stays known.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Scene;
use crate::client::{Client, Response};

/// Keys below one prefix.
const KEYS: u64 = 5;

/// Lives until the writers' end.
pub async fn run(scene: Scene, number: u64) {
    let mut user = User { client: scene.client(&format!("kv{number}")), scene, number, generation: 0, values: 0 };
    while tokio::time::Instant::now() < user.scene.writes_end {
        let known = match user.scene.random.below(10) {
            0..=3 => user.put().await,
            4 => user.cas().await,
            5 => user.delete().await,
            6 => user.delete_all().await,
            7 => user.list().await,
            _ => user.get().await,
        };
        if known.is_none() {
            user.generation += 1;
        }
        user.scene.pause(5, 250).await;
    }
}

struct User {
    client: Client,
    scene: Scene,
    number: u64,
    generation: u64,
    values: u64,
}

impl User {
    fn prefix(&self) -> String {
        format!("kv/{}/{}/", self.number, self.generation)
    }

    fn key(&self) -> String {
        format!("{}{}", self.prefix(), self.scene.random.below(KEYS))
    }

    fn value(&mut self) -> String {
        self.values += 1;
        format!("{}-{}", self.number, self.values)
    }

    /// Sends a write of a key; `None` when its outcome is unknown.
    async fn write(&mut self, key: &str, parameters: &str, value: &str) -> Option<bool> {
        self.scene.oracle.checks().durability.began(key, Some(value));
        let answer = self.scene.write(&mut self.client, &format!("/v1/kv/{key}{parameters}"), value).await?;
        let written = answer.trim() == "true";
        let mut checks = self.scene.oracle.checks();
        match written {
            true => checks.durability.acknowledged(key, Some(value)),
            false => checks.durability.refused(key),
        }
        Some(written)
    }

    async fn put(&mut self) -> Option<()> {
        let (key, value) = (self.key(), self.value());
        let written = self.write(&key, "", &value).await?;
        self.scene.oracle.judge(expect(written, || format!("kv: a put of {key} was refused")));
        Some(())
    }

    /// Compares with the index it has just read, or with one that cannot be right.
    async fn cas(&mut self) -> Option<()> {
        let (key, value) = (self.key(), self.value());
        let Some(index) = self.modify_index(&key).await else { return Some(()) };
        let right = self.scene.random.happens(600);
        let index = if right { index } else { index + 1_000_000 };
        let written = self.write(&key, &format!("?cas={index}"), &value).await?;
        self.scene.oracle.judge(expect(written == right, || format!("kv: cas={index} of {key} answered {written}")));
        Some(())
    }

    async fn modify_index(&mut self, key: &str) -> Option<u64> {
        let response = self.read(&format!("/v1/kv/{key}"), "").await?;
        Some(response.json()[0]["ModifyIndex"].as_u64().unwrap_or(0))
    }

    async fn delete(&mut self) -> Option<()> {
        let key = self.key();
        self.scene.oracle.checks().durability.began(&key, None);
        let response = self.client.request("DELETE", &format!("/v1/kv/{key}"), "").await.ok()?;
        if response.status != 200 {
            return None;
        }
        self.scene.oracle.checks().durability.acknowledged(&key, None);
        Some(())
    }

    async fn delete_all(&mut self) -> Option<()> {
        let prefix = self.prefix();
        let keys = self.scene.oracle.checks().durability.below(&prefix);
        keys.iter().for_each(|key| self.scene.oracle.checks().durability.began(key, None));
        let response = self.client.request("DELETE", &format!("/v1/kv/{prefix}?recurse"), "").await.ok()?;
        if response.status != 200 {
            return None;
        }
        keys.iter().for_each(|key| self.scene.oracle.checks().durability.acknowledged(key, None));
        Some(())
    }

    async fn get(&mut self) -> Option<()> {
        let key = self.key();
        let mode = ["", "?consistent", "?stale"][usize::try_from(self.scene.random.below(3)).expect("below three")];
        if let Some(response) = self.read(&format!("/v1/kv/{key}"), mode).await {
            let found = value(&response.json()[0]);
            let verdict = self.scene.oracle.checks().durability.read(&key, found.as_deref());
            self.scene.oracle.judge(verdict);
        }
        Some(())
    }

    /// Lists its prefix: every key is there that must be, and no other.
    async fn list(&mut self) -> Option<()> {
        let prefix = self.prefix();
        if let Some(response) = self.read(&format!("/v1/kv/{prefix}"), "?recurse").await {
            let json = response.json();
            let listed = json.as_array().cloned().unwrap_or_default();
            let keys = self.scene.oracle.checks().durability.below(&prefix);
            for key in keys {
                let entry = listed.iter().find(|entry| entry["Key"] == *key);
                let verdict = self.scene.oracle.checks().durability.read(&key, entry.and_then(value).as_deref());
                self.scene.oracle.judge(verdict);
            }
        }
        Some(())
    }

    async fn read(&mut self, query: &str, parameters: &str) -> Option<Response> {
        let response = self.scene.read(&mut self.client, query, parameters).await.ok()?;
        matches!(response.status, 200 | 404).then_some(response)
    }
}

/// The decoded value of an entry; `None` when there is no entry.
pub(crate) fn value(entry: &Value) -> Option<String> {
    let decoded = STANDARD.decode(entry["Value"].as_str()?).ok()?;
    String::from_utf8(decoded).ok()
}

fn expect(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
