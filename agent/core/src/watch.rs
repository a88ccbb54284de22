//! Who waits for what: the registry behind blocking queries.
//!
//! Owns the set of *watched* topics; knows nothing of tables nobody watches, so
//! a write costs what it touches that somebody waits for. Used through
//! [`crate::store::Store`]. Never sleeps and never wakes a task itself: it says
//! which tickets are due.

/// Something a query can wait for, and what `apply` says it touched.
///
/// The same type serves both sides. A touched [`Topic::KvKey`] wakes the
/// waiters of that key and of every [`Topic::KvPrefix`] the key starts with; a
/// touched `KvPrefix` (a subtree was deleted) wakes those of keys and prefixes
/// below and of prefixes above. All others match themselves. Names are folded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// One key.
    KvKey(String),
    /// All keys that start with this.
    KvPrefix(String),
    /// The set of nodes.
    Nodes,
    /// Anything of one node: itself, its services, its checks.
    Node(String),
    /// The set of service instances, names and tags.
    Services,
    /// Anything of one service: its instances, their nodes and checks.
    Service(String),
    /// Any check.
    Checks,
    /// Any session.
    Sessions,
    /// One session.
    Session(String),
}
