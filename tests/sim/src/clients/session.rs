//! Sessions that are left alone: they live as long as promised, then end and give up their locks.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::Scene;
use crate::client::Client;
use crate::invariants::ttl::Left;

/// The shortest TTL Consul allows.
pub const TTL: Duration = Duration::from_secs(10);

/// Creates a session, takes a key, renews a few times, then only looks.
pub async fn run(scene: Scene, number: u64) {
    let mut client = scene.client(&format!("session{number}"));
    let key = format!("session/{number}");
    while Instant::now() < scene.writes_end {
        let Some(mut left) = create(&scene, &mut client).await else {
            scene.pause(50, 500).await;
            continue;
        };
        let acquire = format!("/v1/kv/{key}?acquire={}", left.session);
        let held = scene.write(&mut client, &acquire, "held").await.is_some_and(|answer| answer.trim() == "true");
        for _ in 0..scene.random.below(3) {
            scene.pause(100, 3_000).await;
            renew(&scene, &mut client, &mut left).await;
        }
        watch_it_end(&scene, &mut client, &left, held.then_some(key.as_str())).await;
    }
}

/// A new session, when it is certain that there is one.
pub(super) async fn create(scene: &Scene, client: &mut Client) -> Option<Left> {
    let renewed_from = Instant::now();
    let body = json!({ "TTL": "10s", "LockDelay": "1s" }).to_string();
    let answer = scene.write(client, "/v1/session/create", &body).await?;
    let answer: serde_json::Value = serde_json::from_str(&answer).ok()?;
    Some(Left { session: answer["ID"].as_str()?.to_owned(), ttl: TTL, renewed_from, renewed_by: Instant::now() })
}

/// Renews; an unknown outcome may have renewed it, too.
pub(super) async fn renew(scene: &Scene, client: &mut Client, left: &mut Left) -> bool {
    let sent_at = Instant::now();
    let renewed = scene.write(client, &format!("/v1/session/renew/{}", left.session), "").await.is_some();
    if renewed {
        left.renewed_from = sent_at;
    }
    left.renewed_by = Instant::now();
    renewed
}

async fn watch_it_end(scene: &Scene, client: &mut Client, left: &Left, key: Option<&str>) {
    while Instant::now() < scene.ends {
        let sent_at = Instant::now();
        let info = client.request("GET", &format!("/v1/session/info/{}", left.session), "").await;
        let Some(info) = info.ok().filter(|info| info.status == 200) else {
            scene.pause(100, 500).await;
            continue;
        };
        let exists = info.json().as_array().is_some_and(|found| !found.is_empty());
        judge(scene, left, sent_at, exists);
        if !exists {
            return check_released(scene, client, left, key).await;
        }
        scene.pause(500, 1_500).await;
    }
}

fn judge(scene: &Scene, left: &Left, sent_at: Instant, exists: bool) {
    let checks = scene.oracle.checks();
    let verdict = checks.ttl.looked(left, checks.booted, sent_at, Instant::now(), exists);
    drop(checks);
    scene.oracle.judge(verdict);
}

async fn check_released(scene: &Scene, client: &mut Client, left: &Left, key: Option<&str>) {
    let Some(key) = key else { return };
    let Ok(response) = client.request("GET", &format!("/v1/kv/{key}"), "").await else { return };
    if response.json()[0]["Session"] == *left.session {
        scene.oracle.judge(Err(format!("ttl: session {} has ended and still holds {key}", left.session)));
    }
}
