//! What renderers read, as the daemon provides it: the Rust side of the interface `catalog` in `wit/render.wit`.
//!
//! A read is recorded before it is made, so that what failed is also known.

use std::pin::Pin;

pub use crate::bindings::catalog::{Entry, Failure as CatalogFailure, Health, Instance, Node};

/// An answer that is on its way.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, CatalogFailure>> + Send + 'a>>;

/// What renderers read. `datacenter` empty means the agent's own. The host bounds the time of the whole run and what of an answer goes into the
/// guest's memory; the implementation bounds its own.
pub trait Catalog: Send + Sync {
    /// The instances of a service, sorted by node and id: with this tag unless it is empty, and those alone that pass if `passing`.
    fn instances<'a>(
        &'a self,
        service: &'a str,
        tag: &'a str,
        passing: bool,
        datacenter: &'a str,
    ) -> Answer<'a, Vec<Instance>>;
    /// All services with their tags, sorted.
    fn services<'a>(&'a self, datacenter: &'a str) -> Answer<'a, Vec<(String, Vec<String>)>>;
    /// All nodes, sorted by name.
    fn nodes<'a>(&'a self, datacenter: &'a str) -> Answer<'a, Vec<Node>>;
    /// A key, unless it is not there.
    fn key<'a>(&'a self, path: &'a str, datacenter: &'a str) -> Answer<'a, Option<Entry>>;
    /// The keys that begin with `prefix`, sorted, with their values.
    fn tree<'a>(&'a self, prefix: &'a str, datacenter: &'a str) -> Answer<'a, Vec<Entry>>;
}

/// One thing a renderer read: what must change for it to render again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    /// The instances of a service.
    Instances {
        /// The service.
        service: String,
        /// With this tag, unless empty.
        tag: String,
        /// Those alone that pass.
        passing: bool,
        /// Empty: the agent's own.
        datacenter: String,
    },
    /// The names and tags of all services.
    Services {
        /// Empty: the agent's own.
        datacenter: String,
    },
    /// All nodes.
    Nodes {
        /// Empty: the agent's own.
        datacenter: String,
    },
    /// One key.
    Key {
        /// The key, whole.
        path: String,
        /// Empty: the agent's own.
        datacenter: String,
    },
    /// All keys with a prefix.
    Tree {
        /// How they begin.
        prefix: String,
        /// Empty: the agent's own.
        datacenter: String,
    },
}
