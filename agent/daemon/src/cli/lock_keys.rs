//! The keys of a lock or semaphore, in the form that Consul's clients share.
//!
//! A lock is one key, held by a session. A semaphore is a key with the holders
//! as JSON, changed by compare-and-set, beside a key of each contender. A key
//! of another use is never changed. Knows no program and prints nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::address::escape_path;
use super::client::{Answer, Call, Client};
use super::command::{list, text};

/// Marks the key of a lock, so that nobody takes another one for it.
const LOCK_FLAGS: u64 = 0x2ddc_cbc0_58a5_0c18;

/// Marks the keys of a semaphore.
const SEMAPHORE_FLAGS: u64 = 0xe0f6_9a2b_aa41_4de0;

/// How long one look at the keys waits for a change.
const LOOK: Duration = Duration::from_secs(15);

/// How long to wait after a refusal that no key explains, such as a lock-delay.
const RETRY: Duration = Duration::from_secs(5);

/// How long the session outlives its last renewal.
const SESSION_TTL: &str = "15s";

/// How often the session is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(7);

/// The holders of a semaphore as they stand in its key.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Holders {
    limit: usize,
    holders: BTreeMap<String, bool>,
}

/// The keys below one prefix, and our session.
pub struct LockKeys<'a> {
    client: &'a Client,
    prefix: String,
    limit: usize,
    session: String,
}

impl<'a> LockKeys<'a> {
    /// Makes a session for a lock that `limit` may hold at a time.
    ///
    /// # Errors
    /// The agent refuses or can't be reached.
    pub async fn open(client: &'a Client, prefix: &str, limit: usize, name: &str) -> Result<LockKeys<'a>, String> {
        let mut wanted = json!({ "Name": name, "TTL": SESSION_TTL });
        if limit > 1 {
            // A contender's key goes when its session does.
            wanted["Behavior"] = Value::from("delete");
        }
        let create = Call::new("PUT", "/v1/session/create").body(wanted.to_string().into_bytes());
        let answer = client.answer(create).await.and_then(Answer::ok);
        let session =
            answer.and_then(|answer| answer.json()).map_err(|error| format!("failed to create session: {error}"))?;
        let prefix = prefix.trim_end_matches('/').to_owned();
        Ok(LockKeys { client, prefix, limit, session: text(&session, "ID") })
    }

    /// The key that says who holds it.
    pub fn key(&self) -> String {
        format!("{}/.lock", self.prefix)
    }

    /// Keeps the session alive for as long as it is polled; ends when that is impossible.
    pub async fn keep_alive(&self) {
        let path = format!("/v1/session/renew/{}", self.session);
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            // A server that is away for a moment is asked again in time; one that has lost the session is not.
            if self.client.answer(Call::new("PUT", path.clone())).await.is_ok_and(|answer| answer.status == 404) {
                return;
            }
        }
    }

    /// Waits until we hold it.
    ///
    /// # Errors
    /// The agent refuses or can't be reached, or the keys are of something else.
    pub async fn acquire(&self) -> Result<(), String> {
        if self.limit > 1 {
            let contender = self.put(&self.contender(), SEMAPHORE_FLAGS, Vec::new()).with("acquire", &*self.session);
            self.answered(contender).await?;
        }
        let mut index = 0;
        loop {
            let (found, keys) = self.look(index).await?;
            let (is_free, is_ours) = match self.limit {
                1 => self.try_lock(&keys).await?,
                _ => self.try_semaphore(&keys).await?,
            };
            if is_ours {
                return Ok(());
            }
            index = if is_free { 0 } else { found };
            if is_free {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Returns when we no longer hold it. Failing to look is tolerated `retries` times in a row, a second apart.
    pub async fn lost(&self, retries: u32) {
        let (mut index, mut failures) = (0, 0);
        loop {
            match self.look(index).await {
                Ok((_, keys)) if !self.holds(&keys) => return,
                Ok((found, _)) => (index, failures) = (found, 0),
                Err(_) if failures < retries => {
                    failures += 1;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(_) => return,
            }
        }
    }

    /// Gives up trying. The keys stay as they are, but for a lock that was granted just as we gave up: that the servers
    /// give back, who know it by the session.
    ///
    /// # Errors
    /// The agent refuses or can't be reached; the session ends by itself then.
    pub async fn abandon(&self) -> Result<(), String> {
        let released = match self.limit {
            1 => self.release_lock().await,
            // Who has no contender's key any more is no holder.
            _ => Ok(()),
        };
        let ended = self.end_session().await;
        released.and(ended)
    }

    /// Gives back what we hold. The session ends last, and with it whatever is left.
    ///
    /// # Errors
    /// The agent refuses or can't be reached, and the session's end frees the lock then; or the key is of something
    /// else by now, and stays so.
    pub async fn release(&self) -> Result<(), String> {
        let released = match self.limit {
            1 => self.release_lock().await,
            _ => self.leave_semaphore().await,
        };
        let ended = self.end_session().await;
        released.and(ended)
    }

    /// Removes the key when nobody holds it any more; returns whether it is gone.
    ///
    /// # Errors
    /// The agent refuses or can't be reached, or the key is of something else by now, and stays so.
    pub async fn clean_up(&self) -> Result<bool, String> {
        let (_, keys) = self.look(0).await?;
        let Some(entry) = self.lock_entry(&keys)? else { return Ok(true) };
        let is_in_use = match self.limit {
            1 => !text(entry, "Session").is_empty(),
            _ => !self.live_holders(&keys)?.holders.is_empty(),
        };
        if is_in_use {
            return Ok(false);
        }
        self.answered(Call::new("DELETE", path(&self.key())).with("cas", text(entry, "ModifyIndex"))).await
    }

    /// Frees the lock if our session holds it; otherwise the servers change nothing.
    async fn release_lock(&self) -> Result<(), String> {
        let call = self.put(&self.key(), LOCK_FLAGS, Vec::new()).with("release", &*self.session);
        self.answered(call).await.map(drop)
    }

    async fn end_session(&self) -> Result<(), String> {
        let call = Call::new("PUT", format!("/v1/session/destroy/{}", self.session));
        self.answered(call).await.map(drop)
    }

    async fn try_lock(&self, keys: &[Value]) -> Result<(bool, bool), String> {
        let entry = self.lock_entry(keys)?;
        if self.holds(keys) {
            return Ok((false, true));
        }
        if entry.is_some_and(|entry| !text(entry, "Session").is_empty()) {
            return Ok((false, false));
        }
        let call = self.put(&self.key(), LOCK_FLAGS, Vec::new()).with("acquire", &*self.session);
        Ok((true, self.answered(call).await?))
    }

    async fn try_semaphore(&self, keys: &[Value]) -> Result<(bool, bool), String> {
        let mut holders = self.live_holders(keys)?;
        if holders.limit != 0 && holders.limit != self.limit {
            return Err(format!("semaphore limit conflict (lock: {}, local: {})", holders.limit, self.limit));
        }
        if holders.holders.len() >= self.limit {
            return Ok((false, false));
        }
        holders.limit = self.limit;
        holders.holders.insert(self.session.clone(), true);
        let is_ours = self.write(keys, &holders).await?;
        // Somebody else was quicker: the next look shows whether there is still room.
        Ok((false, is_ours))
    }

    async fn leave_semaphore(&self) -> Result<(), String> {
        loop {
            let (_, keys) = self.look(0).await?;
            let mut holders = self.holders(&keys)?;
            if holders.holders.remove(&self.session).is_none() || self.write(&keys, &holders).await? {
                break;
            }
        }
        self.answered(Call::new("DELETE", path(&self.contender()))).await.map(drop)
    }

    async fn write(&self, keys: &[Value], holders: &Holders) -> Result<bool, String> {
        let seen = self.entry(keys, &self.key()).map_or_else(|| "0".to_owned(), |entry| text(entry, "ModifyIndex"));
        let body = serde_json::to_vec(holders).map_err(|error| error.to_string())?;
        self.answered(self.put(&self.key(), SEMAPHORE_FLAGS, body).with("cas", seen)).await
    }

    fn holds(&self, keys: &[Value]) -> bool {
        match self.limit {
            1 => self.entry(keys, &self.key()).is_some_and(|entry| text(entry, "Session") == self.session),
            _ => {
                let is_there = self.entry(keys, &self.contender()).is_some();
                is_there && self.holders(keys).is_ok_and(|holders| holders.holders.contains_key(&self.session))
            }
        }
    }

    /// The holders whose sessions live.
    fn live_holders(&self, keys: &[Value]) -> Result<Holders, String> {
        let mut holders = self.holders(keys)?;
        let contenders: Vec<String> = keys.iter().map(|entry| text(entry, "Session")).collect();
        holders.holders.retain(|session, _| contenders.contains(session));
        Ok(holders)
    }

    fn holders(&self, keys: &[Value]) -> Result<Holders, String> {
        let value = self.lock_entry(keys)?.map(|entry| text(entry, "Value")).unwrap_or_default();
        if value.is_empty() {
            return Ok(Holders::default());
        }
        let bytes = STANDARD.decode(value).map_err(|error| format!("lock decoding failed: {error}"))?;
        serde_json::from_slice(&bytes).map_err(|error| format!("lock decoding failed: {error}"))
    }

    /// The key that says who holds it, if it is there.
    ///
    /// # Errors
    /// It is there, but of something else: a semaphore's where ours is a lock, or the other way round, or anybody's.
    fn lock_entry<'k>(&self, keys: &'k [Value]) -> Result<Option<&'k Value>, String> {
        let (flags, ours) = match self.limit {
            1 => (LOCK_FLAGS, "lock"),
            _ => (SEMAPHORE_FLAGS, "semaphore"),
        };
        match self.entry(keys, &self.key()) {
            Some(entry) if entry["Flags"] != flags => Err(format!("Existing key does not match {ours} use")),
            found => Ok(found),
        }
    }

    fn entry<'k>(&self, keys: &'k [Value], key: &str) -> Option<&'k Value> {
        keys.iter().find(|entry| text(entry, "Key") == key)
    }

    fn contender(&self) -> String {
        format!("{}/{}", self.prefix, self.session)
    }

    fn put(&self, key: &str, flags: u64, body: Vec<u8>) -> Call {
        Call::new("PUT", path(key)).with("flags", flags.to_string()).body(body)
    }

    /// The keys below the prefix; waits for a change unless `index` is zero.
    async fn look(&self, index: u64) -> Result<(u64, Vec<Value>), String> {
        let mut call = Call::new("GET", format!("{}/", path(&self.prefix))).with("recurse", "").with("consistent", "");
        if index > 0 {
            call = call.with("index", index.to_string()).with("wait", format!("{}s", LOOK.as_secs()));
        }
        let answer = self.client.answer(call).await?;
        if answer.status == 404 {
            return Ok((answer.index, Vec::new()));
        }
        let index = answer.index;
        Ok((index, list(&answer.ok()?.json()?).to_vec()))
    }

    async fn answered(&self, call: Call) -> Result<bool, String> {
        let answer = self.client.answer(call).await?.ok()?;
        Ok(answer.body.trim_ascii() == b"true")
    }
}

fn path(key: &str) -> String {
    format!("/v1/kv/{}", escape_path(key))
}

#[cfg(test)]
mod tests {
    use super::super::client::Settings;
    use super::*;

    fn client() -> Client {
        Client::new(Settings::default()).expect("it has not connected yet")
    }

    fn keys(client: &Client, limit: usize) -> LockKeys<'_> {
        LockKeys { client, prefix: "jobs".to_owned(), limit, session: "ours".to_owned() }
    }

    #[test]
    fn a_key_of_another_use_is_refused() {
        let client = client();
        let cases = [
            (1, LOCK_FLAGS, Ok(true)),
            (1, SEMAPHORE_FLAGS, Err("Existing key does not match lock use".to_owned())),
            (1, 0, Err("Existing key does not match lock use".to_owned())),
            (2, SEMAPHORE_FLAGS, Ok(true)),
            (2, LOCK_FLAGS, Err("Existing key does not match semaphore use".to_owned())),
            (2, 0, Err("Existing key does not match semaphore use".to_owned())),
        ];
        for (limit, flags, expected) in cases {
            let found = [json!({ "Key": "jobs/.lock", "Flags": flags })];
            let found = keys(&client, limit).lock_entry(&found).map(|entry| entry.is_some());
            assert_eq!(found, expected, "limit {limit}, flags {flags:#x}");
        }
        assert_eq!(keys(&client, 1).lock_entry(&[]), Ok(None));
    }

    #[test]
    fn a_holder_without_a_session_does_not_count() {
        let client = client();
        let value = STANDARD.encode(r#"{"Limit":2,"Holders":{"dead":true,"ours":true}}"#);
        let found = [
            json!({ "Key": "jobs/.lock", "Flags": SEMAPHORE_FLAGS, "Value": value }),
            json!({ "Key": "jobs/ours", "Flags": SEMAPHORE_FLAGS, "Session": "ours" }),
        ];
        let holders = keys(&client, 2).live_holders(&found).expect("they can be read");
        let live: Vec<String> = holders.holders.into_keys().collect();
        assert_eq!((holders.limit, live), (2, vec!["ours".to_owned()]));
    }
}
