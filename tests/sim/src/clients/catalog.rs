//! Registers and deregisters an instance of `web`, changes its health, and reads it back.

use serde_json::json;
use tokio::time::Instant;

use super::Scene;

/// The record of the instance: its status, or nothing when it is not registered.
const RECORD: &str = "catalog web";

/// Lives until the writers' end. Only one of them may run, for each record has one writer.
pub async fn run(scene: Scene) {
    let mut client = scene.client("catalog");
    while Instant::now() < scene.writes_end {
        let known = scene.oracle.checks().durability.known(RECORD).map(|status| status.map(str::to_owned));
        let before = known.clone().flatten();
        let next = match (scene.random.below(4), before.as_deref()) {
            (0, Some(_)) => None,
            (_, Some("passing")) => Some("critical"),
            (_, _) => Some("passing"),
        };
        let (path, body) = match next {
            Some(status) => (
                "/v1/catalog/register",
                json!({
                    "Node": "host", "Address": "10.1.0.1", "Service": { "ID": "web1", "Service": "web", "Port": 80 },
                    "Check": { "CheckID": "web1", "Name": "web", "ServiceID": "web1", "Status": status }
                }),
            ),
            None => ("/v1/catalog/deregister", json!({ "Node": "host", "ServiceID": "web1" })),
        };
        scene.oracle.checks().durability.began(RECORD, next);
        let sent_at = Instant::now();
        if scene.write(&mut client, path, &body.to_string()).await.is_some() {
            let mut checks = scene.oracle.checks();
            checks.durability.acknowledged(RECORD, next);
            // Saying what was said already changes nothing.
            if known.is_some_and(|before| before.as_deref() != next) {
                checks.wake.changed("service", sent_at, Instant::now());
            }
        }
        read(&scene, &mut client).await;
        scene.pause(50, 1_500).await;
    }
}

/// Reads the instance back and compares.
pub async fn read(scene: &Scene, client: &mut crate::client::Client) {
    let response = scene.read(client, "/v1/health/service/web", "").await;
    let Some(response) = response.ok().filter(|response| response.status == 200) else { return };
    let json = response.json();
    let status = json[0]["Checks"].as_array().and_then(|checks| checks.iter().find(|check| check["CheckID"] == "web1"));
    let status = status.and_then(|check| check["Status"].as_str());
    let verdict = scene.oracle.checks().durability.read(RECORD, status);
    scene.oracle.judge(verdict);
}
