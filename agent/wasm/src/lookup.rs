//! How names become addresses, for sockets and for HTTP: one trait, so that both ask the same and tests can change the answer.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;

/// Addresses that are on their way.
pub type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Looks names up.
pub trait Lookup: Send + Sync {
    /// The addresses of a name, in the order to try them. The run's wall time bounds it.
    fn lookup(&self, name: &str) -> Addresses;
}

/// The host's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: &str) -> Addresses {
        let name = name.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip().to_canonical()).collect())
        })
    }
}
