//! Joining without being told to: the peers of the last run, and `retry_join`.
//!
//! Both end when somebody answers. Only `retry_join` tries again.

use std::net::SocketAddr;
use std::time::Duration;

use super::handle::GossipHandle;
use super::settings::RetryJoin;

/// Peers that are asked at a time.
const AT_A_TIME: usize = 8;

/// Joins the first of these peers that answer.
pub(super) async fn rejoin(pool: GossipHandle, peers: Vec<SocketAddr>) {
    for some in peers.chunks(AT_A_TIME) {
        let hosts: Vec<String> = some.iter().map(SocketAddr::to_string).collect();
        tracing::info!("Attempting re-join to previously known nodes: {}", hosts.join(" "));
        if pool.join(&hosts).await.is_ok() {
            return tracing::info!("Re-joined to previously known nodes");
        }
    }
    if !peers.is_empty() {
        tracing::warn!("Failed to re-join any previously known node");
    }
}

/// The first pause after nobody answered; doubles up to `retry_interval`. Whoever starts a second before the others does not
/// stay alone for half a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Tries to join until somebody answers. Where attempts are counted, each takes its full interval.
///
/// # Errors
/// Consul's words for having tried as often as allowed.
pub async fn keep_joining(pool: GossipHandle, wanted: RetryJoin) -> Result<(), &'static str> {
    let RetryJoin { addresses, interval, attempts_max } = wanted;
    if addresses.is_empty() {
        return Ok(());
    }
    tracing::info!(cluster = "LAN", "Joining cluster...");
    let mut attempts = 0;
    let mut pause = if attempts_max > 0 { interval } else { FIRST_PAUSE.min(interval) };
    loop {
        match pool.join(&addresses).await {
            Ok(count) => {
                tracing::info!(
                    cluster = "LAN",
                    num_agents = count,
                    "Join cluster completed. Synced with initial agents"
                );
                return Ok(());
            }
            Err(error) => tracing::warn!(cluster = "LAN", error = %error, "(LAN) couldn't join"),
        }
        attempts += 1;
        if attempts_max > 0 && attempts > attempts_max {
            return Err("agent: max join LAN retry exhausted, exiting");
        }
        tracing::warn!(cluster = "LAN", retry_interval = ?pause, "Join cluster failed, will retry");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(interval);
    }
}
