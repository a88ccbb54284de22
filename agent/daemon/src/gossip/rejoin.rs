//! Joining without being told to: the peers of the last run, and `retry_join`.
//!
//! Both end when somebody answers. Only `retry_join` tries again.

use std::net::SocketAddr;

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

/// Tries to join until somebody answers.
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
        tracing::warn!(cluster = "LAN", retry_interval = ?interval, "Join cluster failed, will retry");
        tokio::time::sleep(interval).await;
    }
}
