//! Transactions: what they answer, what they refuse and in which words.

use crate::state::command::CatalogVerb::{Cas, Delete, DeleteCas, Get, Set};
use crate::state::command::{KvOp, Reply, TxnFailure, TxnOp, TxnResult};
use crate::state::tables::Status::Passing;
use crate::state::tables::{Check, Node, Service};
use crate::state::trial::{Trial, check, id, node, node_with_id, registration, service, session, write};

const UNKNOWN: &str = "11111111-1111-1111-1111-111111111111";

/// Node `tn` (index 10) with service `web1`, check `c1`, session `s` (11), key `b` (12), key `held` by `s` (13).
fn world() -> Trial {
    let mut trial = Trial::new();
    let checks = vec![check("c1", "web1", Passing), check("serfHealth", "", Passing)];
    trial.add(registration(node_with_id("tn", 'a'), Some(service("web1", "web")), checks));
    trial.session(session("s", "tn", &[]));
    trial.set("b", "2");
    trial.lock("held", "s");
    trial
}

fn key(text: &str) -> String {
    text.to_string()
}

fn set(name: &str, value: &str) -> TxnOp {
    TxnOp::Kv(KvOp::Set(write(name, value)))
}

fn service_on(node: &str, record: Service) -> Service {
    Service { node: node.to_string(), ..record }
}

fn check_on(node: &str, record: Check) -> Check {
    Check { node: node.to_string(), ..record }
}

/// The keys with their values that a transaction answered; other records by name.
fn told(reply: Reply) -> Vec<String> {
    let Reply::Txn(results) = reply else { panic!("{reply:?}") };
    let tell = |result: &TxnResult| match result {
        TxnResult::Kv(entry) => format!("{}={}", entry.key, String::from_utf8_lossy(&entry.value)),
        TxnResult::Node(node) => node.name.clone(),
        TxnResult::Service(service) => service.id.clone(),
        TxnResult::Check(check) => check.id.clone(),
    };
    results.iter().map(tell).collect()
}

#[test]
fn writes_answer_without_value_and_deletions_nothing() {
    let mut trial = world();
    let reply = trial.txn(vec![
        set("a", "1"),
        TxnOp::KvGet { key: key("a") },
        TxnOp::KvGetTree { prefix: key("a") },
        TxnOp::Kv(KvOp::Delete { key: key("a") }),
        TxnOp::KvGetTree { prefix: key("a") },
        TxnOp::KvGetOrEmpty { key: key("a") },
        TxnOp::KvCheckNotExists { key: key("a") },
        TxnOp::KvCheckIndex { key: key("b"), index: 12 },
        TxnOp::KvCheckSession { key: key("held"), session: key("s") },
        TxnOp::Kv(KvOp::Cas { write: write("n", "new"), index: 0 }),
        TxnOp::Kv(KvOp::DeleteTree { prefix: key("n") }),
    ]);
    assert_eq!(told(reply), ["a=", "a=1", "a=1", "a=", "b=", "held=", "n="]);
}

#[test]
fn one_failure_undoes_everything() {
    let mut trial = world();
    let before = trial.state.clone();
    let reply = trial.txn(vec![set("a", "1"), TxnOp::KvGet { key: key("none") }]);
    let failure = TxnFailure { op_index: 1, what: "key \"none\" doesn't exist".to_string() };
    assert_eq!(reply, Reply::TxnRefused(vec![failure]));
    assert_eq!((&trial.state.kv, trial.changes.len()), (&before.kv, 0));
}

#[test]
fn every_failure_is_reported_in_consuls_words() {
    let kv = |op| TxnOp::Kv(op);
    let (b, none) = (|| write("b", "x"), || write("none", "x"));
    let cases = [
        (TxnOp::KvGet { key: key("none") }, "key \"none\" doesn't exist"),
        (
            TxnOp::KvCheckIndex { key: key("b"), index: 3 },
            "failed index check for key \"b\", current modify index 12 != 3",
        ),
        (TxnOp::KvCheckIndex { key: key("none"), index: 3 }, "failed to check index, key \"none\" doesn't exist"),
        (
            TxnOp::KvCheckSession { key: key("b"), session: key("x") },
            "failed session check for key \"b\", current session \"\" != \"x\"",
        ),
        (
            TxnOp::KvCheckSession { key: key("none"), session: key("x") },
            "failed to check session, key \"none\" doesn't exist",
        ),
        (TxnOp::KvCheckNotExists { key: key("b") }, "key \"b\" exists"),
        (kv(KvOp::Cas { write: b(), index: 3 }), "failed to set key \"b\", index is stale"),
        (kv(KvOp::Cas { write: b(), index: 0 }), "failed to set key \"b\", index is stale"),
        (kv(KvOp::Cas { write: none(), index: 3 }), "failed to set key \"none\", index is stale"),
        (kv(KvOp::DeleteCas { key: key("b"), index: 3 }), "failed to delete key \"b\", index is stale"),
        (kv(KvOp::Lock { write: b(), session: key("") }), "missing session"),
        (
            kv(KvOp::Lock { write: b(), session: key("nosuch") }),
            "failed session lookup: index error: UUID must be 36 characters",
        ),
        (
            kv(KvOp::Lock { write: b(), session: key(UNKNOWN) }),
            "invalid session \"11111111-1111-1111-1111-111111111111\"",
        ),
        (
            kv(KvOp::Unlock { write: b(), session: key("s") }),
            "failed to unlock key \"b\", lock isn't held, or is held by another session",
        ),
    ];
    let (ops, expected): (Vec<TxnOp>, Vec<&str>) = cases.into_iter().unzip();
    let Reply::TxnRefused(failures) = world().txn(ops) else { panic!("must be refused") };
    let told: Vec<&str> = failures.iter().map(|failure| failure.what.as_str()).collect();
    assert_eq!(told, expected);
    assert!(failures.iter().zip(0..).all(|(failure, op_index)| failure.op_index == op_index));
}

#[test]
fn locks_of_others_and_lock_delays_refuse() {
    let mut trial = world();
    trial.session(session("t", "tn", &[]));
    let lock = || vec![TxnOp::Kv(KvOp::Lock { write: write("held", "x"), session: key("t") })];
    let refused = |what: &str| Reply::TxnRefused(vec![TxnFailure { op_index: 0, what: what.to_string() }]);
    assert_eq!(trial.txn(lock()), refused("failed to lock key \"held\", lock is already held"));
    trial.destroy("s");
    assert_eq!(trial.txn(lock()), refused("failed to lock key \"held\" due to lock delay"));
}

#[test]
fn catalog_failures_are_reported_in_consuls_words() {
    let at = 3;
    let named = |name: &str| Node { modify_index: at, ..node(name) };
    let web = |node: &str, id: &str| service_on(node, Service { modify_index: at, ..service(id, "web") });
    let on =
        |node: &str, id: &str, service: &str| check_on(node, Check { modify_index: at, ..check(id, service, Passing) });
    let n = |verb, node| TxnOp::Node { verb, node };
    let s = |verb, service| TxnOp::Service { verb, service };
    let c = |verb, check| TxnOp::Check { verb, check };
    let cases = [
        (n(Get, node("nope")), "node \"nope\" doesn't exist"),
        (n(Get, Node { id: UNKNOWN.into(), ..Node::default() }), "node \"\" doesn't exist"),
        (n(Cas, named("tn")), "failed to set node \"tn\", index is stale"),
        (n(Cas, named("nope")), "failed to set node \"nope\", index is stale"),
        (n(DeleteCas, named("tn")), "failed to delete node \"tn\", index is stale"),
        (n(DeleteCas, named("nope")), "failed to delete node \"nope\", index is stale"),
        (
            n(Set, node_with_id("tn", 'b')),
            "Error while renaming Node ID: \"bbbbbbbb-0000-0000-0000-000000000000\": Node name tn is reserved by node \
             aaaaaaaa-0000-0000-0000-000000000000 with name tn (10.0.0.1)",
        ),
        (s(Get, web("tn", "nope")), "service \"nope\" on node \"tn\" doesn't exist"),
        (s(Get, web("nope", "web1")), "service \"web1\" on node \"nope\" doesn't exist"),
        (s(Set, web("nope", "web1")), "Missing node registration"),
        (s(Cas, web("tn", "web1")), "failed to set service \"web1\" on node \"tn\", index is stale"),
        (s(DeleteCas, web("tn", "nope")), "failed to delete service \"nope\" on node \"tn\", index is stale"),
        (c(Get, on("tn", "nope", "")), "check \"nope\" on node \"tn\" doesn't exist"),
        (c(Set, on("nope", "c1", "")), "Missing node registration"),
        (c(Set, on("tn", "c2", "nope")), "Missing service registration"),
        (c(Set, Check { node: key("tn"), ..Check::default() }), "failed inserting check: object missing primary index"),
        (c(Cas, on("tn", "c1", "web1")), "failed to set check \"c1\" on node \"tn\", index is stale"),
        (c(DeleteCas, on("tn", "nope", "")), "failed to delete check \"nope\" on node \"tn\", index is stale"),
    ];
    let (ops, expected): (Vec<TxnOp>, Vec<&str>) = cases.into_iter().unzip();
    let Reply::TxnRefused(failures) = world().txn(ops) else { panic!("must be refused") };
    let told: Vec<&str> = failures.iter().map(|failure| failure.what.as_str()).collect();
    assert_eq!(told, expected);
}

#[test]
fn malformed_operations_are_reported_alone_and_before_anything_is_tried() {
    let cases = [
        (TxnOp::KvGet { key: key("none") }, None),
        (set("", "1"), Some("Must provide key")),
        (TxnOp::KvGetTree { prefix: key("") }, Some("Must provide key")),
        (TxnOp::Kv(KvOp::DeleteTree { prefix: key("") }), None),
        (TxnOp::Node { verb: Set, node: node("") }, Some("Must provide node")),
        (TxnOp::Node { verb: Delete, node: node_with_id("", 'a') }, Some("Must provide node")),
        (
            TxnOp::Node { verb: Set, node: Node { id: key("zz"), ..node("x") } },
            Some("Bad node ID: uuid string is wrong length"),
        ),
        (
            TxnOp::Service { verb: Delete, service: service_on("tn", service("web1", "")) },
            Some("Must provide service name with ID"),
        ),
        (TxnOp::Service { verb: Get, service: service_on("tn", service("web1", "")) }, None),
    ];
    let (ops, faults): (Vec<TxnOp>, Vec<Option<&str>>) = cases.into_iter().unzip();
    let expected =
        (0..).zip(faults).filter_map(|(op_index, fault)| Some(TxnFailure { op_index, what: fault?.to_string() }));
    assert_eq!(world().txn(ops), Reply::TxnRefused(expected.collect()));
}

#[test]
fn catalog_records_are_read_written_and_removed() {
    let mut trial = world();
    let reply = trial.txn(vec![
        TxnOp::Node { verb: Get, node: Node { id: id('a'), ..Node::default() } },
        TxnOp::Node { verb: Cas, node: Node { modify_index: 0, ..node("new") } },
        TxnOp::Service { verb: Set, service: service_on("new", service("", "wobble")) },
        TxnOp::Check { verb: Set, check: check_on("new", Check { name: key("wobble"), ..Check::default() }) },
        TxnOp::Service { verb: Get, service: service_on("tn", service("web1", "")) },
        TxnOp::Check { verb: Delete, check: check_on("tn", check("c1", "", Passing)) },
        TxnOp::Service {
            verb: DeleteCas,
            service: service_on("tn", Service { modify_index: 10, ..service("web1", "web") }),
        },
        TxnOp::SessionDelete { id: key("s") },
        TxnOp::Node { verb: Delete, node: node("TN") },
        TxnOp::Node { verb: Delete, node: node("nope") },
    ]);
    assert_eq!(told(reply), ["tn", "new", "wobble", "wobble", "web1"]);
    assert_eq!(trial.state.nodes.keys().collect::<Vec<_>>(), ["new"]);
    assert!(trial.state.sessions.is_empty());
}
