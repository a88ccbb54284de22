//! What is counted and timed, and under which names it is shown.
//!
//! Names and meaning are Consul's (its telemetry page). They are fixed here, and
//! so is their number: nothing that a client sends can make a new one.

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Commands proposed to Raft.
    RaftApply,
    /// How often this server became the leader.
    RaftLeader,
    /// Reads of the catalog and the key/value store.
    Query,
    /// Reads and writes that the agent asked of the servers.
    Rpc,
    /// Those that no server answered.
    RpcFailed,
    /// Requests of other agents and servers, Raft's among them.
    RpcRequest,
    /// Requests and connections of others that were refused.
    RpcRefused,
    /// Requests and connections to servers that were not answered.
    RpcUnanswered,
}

/// Something that takes time, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// A key/value write.
    KvsApply,
    /// A transaction.
    TxnApply,
    /// A session's creation or end.
    SessionApply,
    /// A registration in the catalog.
    CatalogRegister,
    /// A removal from the catalog.
    CatalogDeregister,
    /// From a command's proposal until it is durable and applied.
    RaftCommit,
    /// What a `?consistent` read waits for.
    ConsistentRead,
    /// The leader's look at members and catalog.
    LeaderReconcile,
    /// The leader's removal of old tombstones.
    LeaderReapTombstones,
    /// The end of a session whose TTL ran out.
    SessionInvalidate,
    /// A DNS question about the domain.
    DnsDomainQuery,
    /// A reverse DNS question.
    DnsPtrQuery,
}

/// Every counter, in the order of its discriminants.
pub(super) const COUNTERS: [(Counter, &str); 8] = [
    (Counter::RaftApply, "raft.apply"),
    (Counter::RaftLeader, "raft.state.leader"),
    (Counter::Query, "rpc.query"),
    (Counter::Rpc, "client.rpc"),
    (Counter::RpcFailed, "client.rpc.failed"),
    (Counter::RpcRequest, "rpc.request"),
    (Counter::RpcRefused, "rpc.request_error"),
    (Counter::RpcUnanswered, "rpc.unanswered"),
];

/// Every timer, in the order of its discriminants.
pub(super) const TIMERS: [(Timer, &str); 12] = [
    (Timer::KvsApply, "kvs.apply"),
    (Timer::TxnApply, "txn.apply"),
    (Timer::SessionApply, "session.apply"),
    (Timer::CatalogRegister, "catalog.register"),
    (Timer::CatalogDeregister, "catalog.deregister"),
    (Timer::RaftCommit, "raft.commitTime"),
    (Timer::ConsistentRead, "rpc.consistentRead"),
    (Timer::LeaderReconcile, "leader.reconcile"),
    (Timer::LeaderReapTombstones, "leader.reapTombstones"),
    (Timer::SessionInvalidate, "session_ttl.invalidate"),
    (Timer::DnsDomainQuery, "dns.domain_query"),
    (Timer::DnsPtrQuery, "dns.ptr_query"),
];

/// The name of a request's timer.
pub(super) const HTTP: &str = "api.http";

/// How names are written, and which are shown: `telemetry` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// What every name begins with; empty for nothing.
    pub prefix: String,
    /// Follows the prefix in the names of gauges, as in Consul; empty for nothing.
    pub host: String,
    /// The node name, the label of DNS timers.
    pub node: String,
    /// Names that begin so are shown.
    pub allow: Vec<String>,
    /// Names that begin so are not. The longest match decides; of two alike, this one.
    pub block: Vec<String>,
    /// Names that match nothing are shown.
    pub keep_unmatched: bool,
}

impl Default for Naming {
    fn default() -> Self {
        Naming {
            prefix: "consul".to_owned(),
            host: String::new(),
            node: String::new(),
            allow: Vec::new(),
            block: Vec::new(),
            keep_unmatched: true,
        }
    }
}

impl Naming {
    /// The full name of a counter or timer, `None` when it is not shown.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.shown([&self.prefix, name])
    }

    /// The full name of a gauge, `None` when it is not shown.
    pub(super) fn gauge(&self, name: &str) -> Option<String> {
        self.shown([&self.prefix, &self.host, name])
    }

    fn shown<const N: usize>(&self, parts: [&str; N]) -> Option<String> {
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let name = parts.join(".");
        let longest =
            |rules: &[String]| rules.iter().filter(|rule| name.starts_with(rule.as_str())).map(String::len).max();
        let keep = match (longest(&self.allow), longest(&self.block)) {
            (None, None) => self.keep_unmatched,
            (allow, block) => allow > block,
        };
        keep.then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_the_order_of_the_enums() {
        assert!(COUNTERS.iter().enumerate().all(|(place, (counter, _))| *counter as usize == place));
        assert!(TIMERS.iter().enumerate().all(|(place, (timer, _))| *timer as usize == place));
    }

    #[test]
    fn the_longest_prefix_decides_on_the_full_name() {
        let rules = |rules: &[&str]| rules.iter().map(|rule| (*rule).to_owned()).collect();
        let naming = Naming {
            prefix: "acme".to_owned(),
            host: "vm".to_owned(),
            allow: rules(&["acme.raft.apply", "acme.same"]),
            block: rules(&["acme.raft", "acme.vm.runtime.heap", "acme.same", "consul.kvs"]),
            ..Naming::default()
        };
        for (name, shown) in [
            ("raft.apply", Some("acme.raft.apply")),
            ("raft.commitTime", None),
            ("kvs.apply", Some("acme.kvs.apply")),
            ("same", None),
        ] {
            assert_eq!(naming.value(name).as_deref(), shown, "{name}");
        }
        assert_eq!(naming.gauge("raft.applied_index").as_deref(), Some("acme.vm.raft.applied_index"));
        assert_eq!(naming.gauge("runtime.heap_objects"), None);
        assert_eq!(Naming { keep_unmatched: false, ..naming }.value("kvs.apply"), None);
    }
}
