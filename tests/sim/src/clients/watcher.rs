//! Blocking queries: one writer that changes things, and those who wait for them.

use std::time::Duration;

use tokio::time::Instant;

use super::Scene;
use crate::invariants::wake::Slept;

/// What a watcher asks about.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Its name for the invariant.
    pub name: &'static str,
    /// The query.
    pub query: &'static str,
    /// More parameters of it, beginning with `&` if there are any.
    pub parameters: &'static str,
}

/// One key, changed by [`write`].
pub const KEY: Subject = Subject { name: "key", query: "/v1/kv/watch/key", parameters: "" };
/// All keys below a prefix, changed by [`write`].
pub const PREFIX: Subject = Subject { name: "key", query: "/v1/kv/watch/", parameters: "&recurse" };
/// A service, changed by [`super::catalog::run`].
pub const SERVICE: Subject = Subject { name: "service", query: "/v1/health/service/web", parameters: "" };
/// Things nobody changes.
pub const QUIET: [Subject; 3] = [
    Subject { name: "quiet key", query: "/v1/kv/quiet/key", parameters: "" },
    Subject { name: "absent key", query: "/v1/kv/quiet/absent", parameters: "" },
    Subject { name: "quiet service", query: "/v1/health/service/quiet", parameters: "" },
];

/// Changes the watched key now and then.
pub async fn write(scene: Scene) {
    let mut client = scene.client("changer");
    let mut number = 0;
    while Instant::now() < scene.writes_end {
        number += 1;
        let sent_at = Instant::now();
        if scene.write(&mut client, "/v1/kv/watch/key", &number.to_string()).await.is_some() {
            scene.oracle.checks().wake.changed("key", sent_at, Instant::now());
        }
        scene.pause(50, 2_500).await;
    }
}

/// Waits for `subject` again and again. `quiet` says that nobody changes it.
pub async fn watch(scene: Scene, number: u64, subject: Subject, quiet: bool) {
    let mut client = scene.client(&format!("watch{number}"));
    let mut known: Option<(u64, Instant)> = None;
    while Instant::now() < scene.ends {
        let wait = Duration::from_millis(1_000 + scene.random.below(7_000));
        let wait = wait.min(scene.ends.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        let blocking = match known {
            Some((index, _)) => format!("?index={index}&wait={}ms{}", wait.as_millis(), subject.parameters),
            None => format!("?wait=1s{}", subject.parameters),
        };
        let sent_at = Instant::now();
        let response = scene.read(&mut client, subject.query, &blocking).await;
        let now = Instant::now();
        match response {
            Ok(response) if matches!(response.status, 200 | 404) => {
                if let Some((_, known_at)) = known {
                    let wait = Duration::from_millis(u64::try_from(wait.as_millis()).expect("seconds"));
                    judge(&scene, &Slept { subject: subject.name, known_at, sent_at, wait }, now, quiet);
                }
                known = response.index.map(|index| (index, now));
            }
            // The index stays good: what happened meanwhile is answered at once.
            Ok(_) | Err(_) => scene.pause(20, 200).await,
        }
    }
}

fn judge(scene: &Scene, query: &Slept<'_>, now: Instant, quiet: bool) {
    let checks = scene.oracle.checks();
    let verdict = if quiet { checks.wake.returned_untouched(query, now) } else { checks.wake.returned(query, now) };
    drop(checks);
    scene.oracle.judge(verdict);
}

/// Begins blocking queries and goes away in the middle of them.
pub async fn leave(scene: Scene) {
    while Instant::now() < scene.ends {
        let mut client = scene.client("leaver");
        let patience = Duration::from_millis(scene.random.below(1_500));
        // Whether it was answered in time does not matter: the client is dropped with its connection.
        let _ = tokio::time::timeout(patience, client.request("GET", "/v1/kv/watch/?recurse&index=99999999", "")).await;
        scene.pause(10, 500).await;
    }
}
