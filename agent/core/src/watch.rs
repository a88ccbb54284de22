//! Who waits for what: the registry behind blocking queries.
//!
//! Owns the set of *watched* topics; knows nothing of tables nobody watches, so
//! a write costs what it touches that somebody waits for. Used through
//! [`crate::store::Store`]. Never sleeps and never wakes a task itself: it says
//! which tickets are due.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::state::tables::fold;

/// Something a query can wait for, and what `apply` says it touched.
///
/// The same type serves both sides. A touched [`Topic::KvKey`] wakes the
/// waiters of that key and of every [`Topic::KvPrefix`] the key starts with; a
/// touched `KvPrefix` (a subtree was deleted) wakes those of keys and prefixes
/// below and of prefixes above. All others match themselves. Names are folded:
/// see [`Topic::node`], [`Topic::node_services`] and [`Topic::service`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// One key.
    KvKey(String),
    /// All keys that start with this.
    KvPrefix(String),
    /// The set of nodes.
    Nodes,
    /// Anything of one node: itself, its services, its checks. By name or by id.
    Node(String),
    /// One node itself and its services, whatever its checks do. By name or by id.
    NodeServices(String),
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
    /// Any plugin's record.
    Plugins,
    /// One plugin's record.
    Plugin(String),
}

impl Topic {
    /// The topic of a node, by name or id as a client wrote it.
    pub fn node(name_or_id: &str) -> Topic {
        Topic::Node(fold(name_or_id))
    }

    /// The topic of a node's services, by the node's name or id as a client wrote it.
    pub fn node_services(name_or_id: &str) -> Topic {
        Topic::NodeServices(fold(name_or_id))
    }

    /// The topic of a service, by name as a client wrote it.
    pub fn service(name: &str) -> Topic {
        Topic::Service(fold(name))
    }

    /// Whether touching this topic wakes those who wait for `watched`.
    pub fn wakes(&self, watched: &Topic) -> bool {
        match (self, watched) {
            (Topic::KvKey(touched), Topic::KvPrefix(prefix)) => touched.starts_with(prefix.as_str()),
            (Topic::KvPrefix(touched), Topic::KvKey(key)) => key.starts_with(touched.as_str()),
            (Topic::KvPrefix(touched), Topic::KvPrefix(prefix)) => {
                touched.starts_with(prefix.as_str()) || prefix.starts_with(touched.as_str())
            }
            (touched, watched) => touched == watched,
        }
    }
}

/// A subscription. Smaller tickets subscribed earlier.
pub type Ticket = u64;

type Tickets = BTreeSet<Ticket>;

/// The watched topics and who watches them.
#[derive(Debug, Default)]
pub struct Watches {
    next: Ticket,
    keys: BTreeMap<String, Tickets>,
    prefixes: BTreeMap<String, Tickets>,
    /// How many watched prefixes have each length in bytes: only these lengths of a touched key are looked up.
    prefix_lengths: BTreeMap<usize, usize>,
    others: BTreeMap<Topic, Tickets>,
}

impl Watches {
    /// Waits for any of `topics` until [`Watches::cancel`].
    pub fn subscribe(&mut self, topics: &[Topic]) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        for topic in topics {
            match topic {
                Topic::KvKey(key) => insert(&mut self.keys, key, ticket),
                Topic::KvPrefix(prefix) => {
                    if !self.prefixes.contains_key(prefix) {
                        *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
                    }
                    insert(&mut self.prefixes, prefix, ticket);
                }
                other => insert(&mut self.others, other, ticket),
            }
        }
        ticket
    }

    /// Ends a subscription. `topics` are those it was made with.
    pub fn cancel(&mut self, ticket: Ticket, topics: &[Topic]) {
        for topic in topics {
            match topic {
                Topic::KvKey(key) => {
                    remove(&mut self.keys, key, ticket);
                }
                Topic::KvPrefix(prefix) => {
                    if remove(&mut self.prefixes, prefix, ticket) {
                        self.forget_length(prefix.len());
                    }
                }
                other => {
                    remove(&mut self.others, other, ticket);
                }
            }
        }
    }

    /// Who is due when `changes` were touched, each once, in the order they subscribed.
    pub fn touched(&self, changes: &[Topic]) -> BTreeSet<Ticket> {
        let mut due = Tickets::new();
        for change in changes {
            match change {
                Topic::KvKey(key) => {
                    due.extend(self.keys.get(key).into_iter().flatten());
                    self.add_prefixes_of(key, key.len(), &mut due);
                }
                Topic::KvPrefix(prefix) => {
                    add_below(&self.keys, prefix, &mut due);
                    add_below(&self.prefixes, prefix, &mut due);
                    self.add_prefixes_of(prefix, prefix.len(), &mut due);
                }
                other => due.extend(self.others.get(other).into_iter().flatten()),
            }
        }
        due
    }

    /// Whether nobody waits for anything.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.prefixes.is_empty() && self.others.is_empty()
    }

    /// Those who watch a prefix of `key` of at most `length_max` bytes.
    fn add_prefixes_of(&self, key: &str, length_max: usize, due: &mut Tickets) {
        for length in self.prefix_lengths.range(..=length_max).map(|(length, _)| *length) {
            if let Some(prefix) = key.get(..length) {
                due.extend(self.prefixes.get(prefix).into_iter().flatten());
            }
        }
    }

    fn forget_length(&mut self, length: usize) {
        if let Some(count) = self.prefix_lengths.get_mut(&length) {
            *count -= 1;
            if *count == 0 {
                self.prefix_lengths.remove(&length);
            }
        }
    }
}

fn insert<K: Ord + Clone>(table: &mut BTreeMap<K, Tickets>, key: &K, ticket: Ticket) {
    match table.get_mut(key) {
        Some(tickets) => {
            tickets.insert(ticket);
        }
        None => {
            table.insert(key.clone(), Tickets::from([ticket]));
        }
    }
}

/// Returns whether that was the last ticket of an entry, which is then gone.
fn remove<K: Ord>(table: &mut BTreeMap<K, Tickets>, key: &K, ticket: Ticket) -> bool {
    let Some(tickets) = table.get_mut(key) else { return false };
    tickets.remove(&ticket);
    let last = tickets.is_empty();
    if last {
        table.remove(key);
    }
    last
}

fn add_below(table: &BTreeMap<String, Tickets>, prefix: &str, due: &mut Tickets) {
    let range: (Bound<&str>, Bound<&str>) = (Bound::Included(prefix), Bound::Unbounded);
    for (_, tickets) in table.range::<str, _>(range).take_while(|(key, _)| key.starts_with(prefix)) {
        due.extend(tickets);
    }
}

#[cfg(test)]
mod tests;
