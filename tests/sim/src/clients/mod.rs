//! Clients of the agent, one file for each habit. They run until the world says that it is enough.

pub mod catalog;
pub mod kv;
pub mod lock;
pub mod session;
pub mod watcher;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Client, Response};
use crate::invariants::Oracle;
use crate::network::SimNetwork;
use crate::outside::SimRandom;
use crate::trace::Trace;

/// What every client is given.
#[derive(Clone)]
pub struct Scene {
    /// Choices.
    pub random: SimRandom,
    /// The way to the agent.
    pub network: SimNetwork,
    /// Where the agent listens.
    pub agent: SocketAddr,
    /// What happened.
    pub trace: Trace,
    /// What must hold.
    pub oracle: Oracle,
    /// When writers stop.
    pub writes_end: Instant,
    /// When everyone stops.
    pub ends: Instant,
}

impl Scene {
    /// A new connection to the agent.
    pub fn client(&self, name: &str) -> Client {
        Client::new(name, self.agent, Arc::new(self.network.clone()), &self.trace)
    }

    /// Waits between `from_ms` and `to_ms`.
    pub async fn pause(&self, from_ms: u64, to_ms: u64) {
        tokio::time::sleep(Duration::from_millis(from_ms + self.random.below(to_ms - from_ms + 1))).await;
    }

    /// A read of `query` that must not see an older index than an earlier one did.
    ///
    /// # Errors
    /// The connection was refused or broke.
    pub async fn read(&self, client: &mut Client, query: &str, parameters: &str) -> io::Result<Response> {
        let floor = self.oracle.checks().index.floor(query);
        let response = client.request("GET", &format!("{query}{parameters}"), "").await?;
        if matches!(response.status, 200 | 404) {
            let verdict = self.oracle.checks().index.answered(query, floor, response.index);
            self.oracle.judge(verdict);
        }
        Ok(response)
    }

    /// A write: the body of a 200, or `None` when nobody knows whether it happened.
    pub async fn write(&self, client: &mut Client, path: &str, body: &str) -> Option<String> {
        let response = client.request("PUT", path, body.to_owned()).await.ok()?;
        (response.status == 200).then(|| String::from_utf8_lossy(&response.body).into_owned())
    }
}
