//! Clients that compete for one lock, hold it for a while, and sometimes die holding it.

use tokio::time::Instant;

use super::Scene;
use super::session::{TTL, create, renew};
use crate::client::Client;
use crate::invariants::ttl::Left;

/// The lock they compete for.
const LOCK: &str = "lock/one";

/// Tries to hold the lock until the end.
pub async fn run(scene: Scene, number: u64) {
    let mut client = scene.client(&format!("lock{number}"));
    while Instant::now() < scene.ends {
        if let Some(mut left) = create(&scene, &mut client).await {
            compete(&scene, &mut client, &mut left).await;
        }
        scene.pause(50, 500).await;
    }
}

/// Tries a few times with one session, then gives the session up.
async fn compete(scene: &Scene, client: &mut Client, left: &mut Left) {
    for _ in 0..10 {
        if Instant::now() > scene.ends {
            return;
        }
        let sent_at = Instant::now();
        let acquire = format!("/v1/kv/{LOCK}?acquire={}", left.session);
        match scene.write(client, &acquire, &left.session).await.as_deref().map(str::trim) {
            Some("true") => {
                let alive_until = left.renewed_from + TTL;
                let verdict =
                    scene.oracle.checks().lock.granted(LOCK, &left.session, sent_at, Instant::now(), alive_until);
                scene.oracle.judge(verdict);
                if !hold(scene, client, left).await {
                    return;
                }
            }
            Some(_) => renew_certainly(scene, client, left).await,
            // Refused, unknown, or the session is gone: whoever cannot tell must not believe to hold it.
            None => break,
        }
        scene.pause(100, 800).await;
    }
    end(scene, client, left).await;
}

/// Holds the lock for a while; returns whether the session is still good.
async fn hold(scene: &Scene, client: &mut Client, left: &mut Left) -> bool {
    for _ in 0..scene.random.below(4) {
        scene.pause(100, 2_000).await;
        renew_certainly(scene, client, left).await;
    }
    match scene.random.below(4) {
        // It dies: the lock stays taken until the session expires.
        0 => false,
        1 => {
            end(scene, client, left).await;
            false
        }
        _ => {
            scene.oracle.checks().lock.ends(&left.session);
            let release = format!("/v1/kv/{LOCK}?release={}", left.session);
            scene.write(client, &release, "").await.is_some()
        }
    }
}

async fn renew_certainly(scene: &Scene, client: &mut Client, left: &mut Left) {
    if renew(scene, client, left).await {
        scene.oracle.checks().lock.renewed(&left.session, left.renewed_from + TTL);
    }
}

async fn end(scene: &Scene, client: &mut Client, left: &Left) {
    scene.oracle.checks().lock.ends(&left.session);
    // When the outcome is unknown the session expires by itself.
    let _ = scene.write(client, &format!("/v1/session/destroy/{}", left.session), "").await;
}
