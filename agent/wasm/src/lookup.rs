//! How names become addresses, for sockets and for HTTP: one trait, so that both ask the same and tests can change the answer.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;
use tokio::sync::Semaphore;

/// Addresses that are on their way.
pub type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Looks names up.
pub trait Lookup: Send + Sync {
    /// The addresses of a name, in the order to try them. The run's wall time bounds it.
    fn lookup(&self, name: &str) -> Addresses;
}

/// Names that are looked up at a time, in the whole process. Each holds a thread of the runtime for as long as the resolver takes, also when
/// nobody waits for it any more, and other parts of the agent need these threads too.
const AT_A_TIME_MAX: usize = 32;

static AT_A_TIME: Semaphore = Semaphore::const_new(AT_A_TIME_MAX);

/// The host's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: &str) -> Addresses {
        let name = name.to_owned();
        Box::pin(async move {
            let one = AT_A_TIME.acquire().await.map_err(io::Error::other)?;
            let found = tokio::task::spawn_blocking(move || {
                let _one = one;
                let found = (name.as_str(), 0).to_socket_addrs()?;
                Ok(found.map(|address| address.ip().to_canonical()).collect())
            });
            found.await.map_err(io::Error::other)?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_hosts_resolver_knows_this_host() {
        let found = SystemLookup.lookup("localhost").await.unwrap();
        assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
    }
}
