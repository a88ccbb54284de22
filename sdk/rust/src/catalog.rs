//! What a renderer reads: services, nodes and keys. Every read is recorded by the agent, and a change of what was read renders again.

use crate::bindings::renderer::lictor::plugin::catalog as wit;
use crate::{Error, Result, anyhow};

pub use wit::{Entry, Health, Instance, Node};

/// The passing instances of a service in the agent's data centre, sorted by node and id; with a tag unless it is empty.
///
/// # Errors
/// When no server can be reached, or the token may not read it.
pub fn passing(service: &str, tag: &str) -> Result<Vec<Instance>> {
    instances(service, tag, true, "")
}

/// The instances of a service: with this tag unless it is empty, those alone that pass if `passing`, in this data centre or (empty) the agent's.
///
/// # Errors
/// When no server can be reached, or the token may not read it.
pub fn instances(service: &str, tag: &str, passing: bool, datacenter: &str) -> Result<Vec<Instance>> {
    wit::instances(service, tag, passing, datacenter)
        .map_err(|failure| explain(&format!("service `{service}`"), failure))
}

/// All services with their tags, sorted.
///
/// # Errors
/// When no server can be reached.
pub fn services(datacenter: &str) -> Result<Vec<(String, Vec<String>)>> {
    wit::services(datacenter).map_err(|failure| explain("services", failure))
}

/// All nodes, sorted by name.
///
/// # Errors
/// When no server can be reached.
pub fn nodes(datacenter: &str) -> Result<Vec<Node>> {
    wit::nodes(datacenter).map_err(|failure| explain("nodes", failure))
}

/// A key, unless it is not there.
///
/// # Errors
/// When no server can be reached, or the token may not read it.
pub fn key(path: &str) -> Result<Option<Entry>> {
    wit::key(path, "").map_err(|failure| explain(&format!("key `{path}`"), failure))
}

/// The keys that begin with `prefix`, sorted, with their values.
///
/// # Errors
/// When no server can be reached, or the token may not read them.
pub fn tree(prefix: &str) -> Result<Vec<Entry>> {
    wit::tree(prefix, "").map_err(|failure| explain(&format!("keys below `{prefix}`"), failure))
}

fn explain(what: &str, failure: wit::Failure) -> Error {
    match failure {
        wit::Failure::Unavailable(reason) => anyhow!("could not read {what}: {reason}"),
        wit::Failure::Denied(reason) => anyhow!("may not read {what}: {reason}"),
        wit::Failure::Invalid(reason) => anyhow!("cannot read {what}: {reason}"),
    }
}
