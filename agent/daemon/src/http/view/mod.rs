//! Records as Consul prints them.
//!
//! Views borrow records and are serialised straight into the answer. Which
//! fields are printed, in which order, and whether emptiness is `null`, `[]`,
//! `{}` or nothing at all follows the real Consul 1.8.7, field by field: client
//! libraries in several languages depend on it. Never decides what is listed.

mod check;
mod coordinate;
mod member;
mod node;
mod proxy;
mod service;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

pub use check::{AgentCheckView, CheckView, TxnCheckView};
pub use coordinate::CoordinateView;
pub use member::MemberView;
pub use node::NodeView;
pub use service::{AgentServiceView, CatalogServiceView, HealthView, ServiceView};

/// A map that is `null` when empty, as a Go map nobody made.
#[derive(Clone, Copy, Debug)]
struct NullWhenEmpty<'a>(&'a BTreeMap<String, String>);

impl Serialize for NullWhenEmpty<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() { serializer.serialize_none() } else { self.0.serialize(serializer) }
    }
}

/// Views by id, printed as an object in the order given.
#[derive(Debug)]
pub struct ById<'a, V>(pub Vec<(&'a str, V)>);

impl<V: Serialize> Serialize for ById<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(id, view)| (id, view)))
    }
}

/// Tags, unless there are none.
fn some_tags(tags: &[String]) -> Option<&[String]> {
    Some(tags).filter(|tags| !tags.is_empty())
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests;
