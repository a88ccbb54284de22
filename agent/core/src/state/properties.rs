//! Random commands against what must hold whatever happens.
//!
//! - keys and values are those of a plain map;
//! - every invariant of [`super::invariants`] holds after every command;
//! - no query's index is zero or goes back;
//! - when what a query answers changes, its index moves and a touched topic
//!   wakes those who wait for it: no change is missed;
//! - a snapshot reads back as the state it was taken of, and damage never panics.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::catalog::{CheckState, SERF_HEALTH};
use super::command::{CatalogVerb, Command, KvOp, KvWrite, Proposal, Register, Reply, TxnOp};
use super::tables::{Check, Index, Node, PluginVersion, Service, Session, SessionBehavior, State, Status};
use super::trial::Trial;
use super::{Answer, plugin, snapshot, trial};
use crate::plugin::digest::Digest;
use crate::watch::Topic;

const KEYS: [&str; 6] = ["a", "a/b", "a/b/c", "a/c", "ab", "b"];
const PREFIXES: [&str; 6] = ["", "a", "a/", "a/b", "c", "b"];
const NODES: [&str; 3] = ["n1", "N1", "n2"];
const SERVICES: [&str; 3] = ["web", "WEB", "db"];
const PLUGINS: [&str; 2] = ["p", "q"];
const SESSIONS: [&str; 2] = ["s1", "s2"];
const CHECKS: [&str; 3] = [SERF_HEALTH, "c1", "c2"];

fn kv_write() -> impl Strategy<Value = KvWrite> {
    (prop::sample::select(&KEYS[..]), 0..3u8, 0..2u64).prop_map(|(key, value, flags)| KvWrite {
        key: key.to_string(),
        value: [value].into(),
        flags,
    })
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_string)
}

/// An index that is often that of a record.
fn index() -> impl Strategy<Value = Index> {
    prop_oneof![Just(0), 10..40u64]
}

fn kv_op() -> impl Strategy<Value = KvOp> {
    prop_oneof![
        4 => kv_write().prop_map(KvOp::Set),
        2 => (kv_write(), index()).prop_map(|(write, index)| KvOp::Cas { write, index }),
        3 => (kv_write(), one_of(&SESSIONS)).prop_map(|(write, session)| KvOp::Lock { write, session }),
        1 => (kv_write(), one_of(&SESSIONS)).prop_map(|(write, session)| KvOp::Unlock { write, session }),
        2 => one_of(&KEYS).prop_map(|key| KvOp::Delete { key }),
        1 => (one_of(&KEYS), index()).prop_map(|(key, index)| KvOp::DeleteCas { key, index }),
        1 => one_of(&PREFIXES).prop_map(|prefix| KvOp::DeleteTree { prefix }),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    (one_of(&NODES), prop::option::of(prop::sample::select(vec!['x', 'y'])), 0..2u8, any::<bool>()).prop_map(
        |(name, letter, address, rack)| Node {
            name,
            id: letter.map(trial::id).unwrap_or_default(),
            address: format!("10.0.0.{address}"),
            meta: if rack { BTreeMap::from([("rack".to_string(), "1".to_string())]) } else { BTreeMap::new() },
            ..Node::default()
        },
    )
}

fn service() -> impl Strategy<Value = Service> {
    (one_of(&NODES), one_of(&["i1", "i2"]), one_of(&SERVICES), 0..2u16, any::<bool>()).prop_map(
        |(node, id, name, port, tagged)| Service {
            node,
            id,
            name,
            port,
            tags: if tagged { vec!["Red".to_string()] } else { Vec::new() },
            ..Service::default()
        },
    )
}

fn check() -> impl Strategy<Value = Check> {
    let status = prop::sample::select(vec![Status::Passing, Status::Warning, Status::Critical]);
    (one_of(&NODES), one_of(&CHECKS), one_of(&["", "i1", "i2"]), status)
        .prop_map(|(node, id, service_id, status)| Check { node, id, service_id, status, ..Check::default() })
}

fn register() -> impl Strategy<Value = Register> {
    (node(), any::<bool>(), prop::option::of(service()), prop::collection::vec(check(), 0..3)).prop_map(
        |(node, skip_node_update, service, checks)| Register {
            checks: checks.into_iter().map(|check| Check { node: String::new(), ..check }).collect(),
            node,
            skip_node_update,
            service,
        },
    )
}

fn session() -> impl Strategy<Value = Session> {
    (one_of(&SESSIONS), one_of(&NODES), prop::option::of(one_of(&CHECKS)), any::<bool>()).prop_map(
        |(id, node, check, delete)| Session {
            id,
            node,
            node_checks: check.into_iter().collect(),
            lock_delay_ms: if delete { 0 } else { 2_000 },
            behavior: if delete { SessionBehavior::Delete } else { SessionBehavior::Release },
            ..Session::default()
        },
    )
}

fn txn_op() -> impl Strategy<Value = TxnOp> {
    let verb = || {
        use CatalogVerb::{Cas, Delete, DeleteCas, Get, Set};
        prop::sample::select(vec![Get, Set, Set, Cas, Delete, DeleteCas])
    };
    prop_oneof![
        6 => kv_op().prop_map(TxnOp::Kv),
        1 => one_of(&PREFIXES[1..]).prop_map(|prefix| TxnOp::KvGetTree { prefix }),
        1 => one_of(&KEYS).prop_map(|key| TxnOp::KvGetOrEmpty { key }),
        1 => (verb(), node()).prop_map(|(verb, node)| TxnOp::Node { verb, node }),
        1 => (verb(), service()).prop_map(|(verb, service)| TxnOp::Service { verb, service }),
        1 => (verb(), check()).prop_map(|(verb, check)| TxnOp::Check { verb, check }),
        1 => one_of(&SESSIONS).prop_map(|id| TxnOp::SessionDelete { id }),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let gone = (prop::option::of(one_of(&["i1", "i2"])), prop::option::of(one_of(&CHECKS)));
    prop_oneof![
        6 => register().prop_map(|register| Command::Register(Box::new(register))),
        3 => (one_of(&NODES), gone).prop_map(|(node, (service_id, check_id))| Command::Deregister { node, service_id, check_id }),
        8 => kv_op().prop_map(Command::Kv),
        4 => session().prop_map(|session| Command::SessionCreate(Box::new(session))),
        1 => one_of(&SESSIONS).prop_map(|id| Command::SessionDestroy { id }),
        3 => prop::collection::vec(txn_op(), 0..4).prop_map(Command::Txn),
        1 => index().prop_map(|up_to| Command::TombstoneReap { up_to }),
        1 => prop::option::of(index())
            .prop_map(|cas| Command::Autopilot { config: Box::default(), cas }),
        4 => plugin_command(),
    ]
}

/// Files of one letter. Now and then one is not what it should be, or is a piece of a longer one.
fn plugin_command() -> impl Strategy<Value = Command> {
    let letter = || prop::sample::select(vec![b'a', b'b', b'c', b'd', b'e']);
    let chunk = |(named, sent, size): (u8, Option<u8>, u64)| Command::PluginChunk {
        digest: Digest::of(&[named]),
        size,
        offset: 0,
        bytes: [sent.unwrap_or(named)].into(),
    };
    let set = |(name, letter, cas): (String, u8, Option<Index>)| {
        let digest = Digest::of(&[letter]);
        let (version, summary) = ("1".to_string(), String::new());
        let version = PluginVersion { digest, version, summary, size: 0, signature: None, publish_index: 0 };
        Command::PluginSet { name, version: Box::new(version), cas }
    };
    let wanted = |(name, letter): (String, u8)| {
        let value = Digest::of(&[letter]).to_string().as_bytes().into();
        Command::Kv(KvOp::Set(KvWrite { key: plugin::key(&name), value, flags: 0 }))
    };
    let key = |name: String| Command::Kv(KvOp::Delete { key: plugin::key(&name) });
    prop_oneof![
        6 => (letter(), prop::option::weighted(0.1, letter()), prop_oneof![9 => Just(1), 1 => Just(2)]).prop_map(chunk),
        6 => (one_of(&PLUGINS), letter(), prop::option::weighted(0.1, index())).prop_map(set),
        2 => (one_of(&PLUGINS), letter()).prop_map(wanted),
        1 => one_of(&PLUGINS).prop_map(key),
        2 => one_of(&PLUGINS).prop_map(|name| Command::PluginRemove { name }),
    ]
}

/// What a query answers, in a form that can be compared.
struct Seen {
    index: Index,
    value: String,
}

fn seen<T: std::fmt::Debug>(answer: Answer<T>) -> Seen {
    Seen { index: answer.index, value: format!("{:?}", answer.value) }
}

/// Every query worth asking of a state, with the topics that those who ask it wait for.
fn queries(state: &State) -> Vec<(String, Vec<Topic>, Seen)> {
    let mut all = Vec::new();
    let mut ask = |what: String, topic: Topic, seen: Seen| all.push((what, vec![topic], seen));
    for key in KEYS {
        ask(format!("kv_get {key}"), Topic::KvKey(key.to_string()), seen(state.kv_get(key)));
    }
    for prefix in PREFIXES {
        let topic = Topic::KvPrefix(prefix.to_string());
        ask(format!("kv_list {prefix}"), topic.clone(), seen(state.kv_list(prefix)));
        ask(format!("kv_keys {prefix}"), topic, seen(state.kv_keys(prefix, "/")));
    }
    for name in ["n1", "n2", &trial::id('x'), &trial::id('y')] {
        ask(format!("node {name}"), Topic::node(name), seen(state.node(name)));
        ask(format!("node_services {name}"), Topic::node_services(name), seen(state.node_services(name)));
        ask(format!("node_checks {name}"), Topic::node(name), seen(state.node_checks(name)));
        ask(format!("node_sessions {name}"), Topic::Sessions, seen(state.node_sessions(name)));
    }
    for meta in [BTreeMap::new(), BTreeMap::from([("rack".to_string(), "1".to_string())])] {
        ask(format!("node_list {meta:?}"), Topic::Nodes, seen(state.node_list(&meta)));
        ask(format!("service_list {meta:?}"), Topic::Services, seen(state.service_list(&meta)));
    }
    for name in SERVICES {
        let topic = Topic::service(name);
        let tags = ["red".to_string()];
        ask(format!("service_instances {name}"), topic.clone(), seen(state.service_instances(name, &tags)));
        ask(format!("health_instances {name}"), topic.clone(), seen(state.health_instances(name, &[])));
        ask(format!("service_checks {name}"), topic, seen(state.service_checks(name)));
    }
    for wanted in [CheckState::Any, CheckState::Only(Status::Critical)] {
        ask(format!("checks {wanted:?}"), Topic::Checks, seen(state.checks_in_state(wanted)));
    }
    for id in SESSIONS {
        ask(format!("session {id}"), Topic::Session(id.to_string()), seen(state.session(id)));
    }
    ask("session_list".to_string(), Topic::Sessions, seen(state.session_list()));
    for name in PLUGINS {
        let topics = vec![Topic::Plugin(name.to_string()), Topic::KvKey(plugin::key(name))];
        all.push((format!("plugin {name}"), topics, seen(state.plugin(name))));
    }
    let topics = vec![Topic::Plugins, Topic::KvPrefix(plugin::KEY_PREFIX.to_string())];
    all.push(("plugin_list".to_string(), topics, seen(state.plugin_list())));
    all
}

proptest! {
    #[test]
    fn no_change_is_missed_and_no_index_goes_back(commands in prop::collection::vec(command(), 1..40)) {
        let mut trial = Trial::new();
        let mut before = queries(&trial.state);
        for command in commands {
            trial.now_ms += 500;
            let told = format!("{command:?}");
            let reply = trial.apply(command);
            let after = queries(&trial.state);
            for ((what, topics, old), (_, _, new)) in before.iter().zip(&after) {
                prop_assert!(old.index > 0 && new.index >= old.index, "{what}: {} then {} by {told}", old.index, new.index);
                prop_assert!(new.index <= trial.index, "{what}: {} is in the future", new.index);
                if old.value != new.value {
                    prop_assert!(new.index > old.index, "{what}: changed at {} by {told}", new.index);
                    prop_assert!(topics.iter().any(|topic| trial.touched(topic)), "{what}: nobody is woken by {told}");
                }
            }
            if matches!(reply, Reply::Refused(_) | Reply::TxnRefused(_)) {
                prop_assert!(trial.changes.is_empty(), "{told} was refused and touched {:?}", trial.changes);
            }
            before = after;
        }
        prop_assert_eq!(snapshot::decode(&snapshot::encode(&trial.state)), Ok(trial.state));
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_but_never_panic(
        command in command(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut trial = Trial::new();
        trial.apply(command.clone());
        let proposal = Proposal { id: 1, now_ms: 2, command };
        for mut bytes in [proposal.encode(), snapshot::encode(&trial.state)] {
            for (at, byte) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            let _ = (Proposal::decode(&bytes), snapshot::decode(&bytes));
        }
    }

    #[test]
    fn keys_and_values_are_those_of_a_map(ops in prop::collection::vec(kv_op(), 1..60)) {
        let mut trial = Trial::new();
        let mut model: BTreeMap<String, (KvWrite, Index)> = BTreeMap::new();
        for op in ops {
            let reply = trial.kv(op.clone());
            let expected = model_apply(&mut model, trial.index, op);
            prop_assert_eq!(reply, expected);
            let entries = trial.state.kv.values().map(|entry| (
                KvWrite { key: entry.key.clone(), value: entry.value.clone(), flags: entry.flags },
                entry.modify_index,
            ));
            prop_assert_eq!(entries.collect::<Vec<_>>(), model.values().cloned().collect::<Vec<_>>());
        }
    }
}

/// The same operation on a plain map. There are no sessions here, so that locks are refused.
fn model_apply(model: &mut BTreeMap<String, (KvWrite, Index)>, now: Index, op: KvOp) -> Reply {
    let modified = |model: &BTreeMap<String, (KvWrite, Index)>, key: &str| model.get(key).map(|(_, index)| *index);
    let put = |model: &mut BTreeMap<String, (KvWrite, Index)>, write: KvWrite| {
        if model.get(&write.key).is_none_or(|(known, _)| *known != write) {
            model.insert(write.key.clone(), (write, now));
        }
    };
    match op {
        KvOp::Set(write) => put(model, write),
        KvOp::Cas { write, index } => {
            let fits = modified(model, &write.key).unwrap_or(0) == index;
            if fits {
                put(model, write);
            }
            return Reply::Bool(fits);
        }
        KvOp::Lock { session, .. } => return Reply::Refused(super::Refusal::InvalidSession(session)),
        KvOp::Unlock { .. } => return Reply::Bool(false),
        KvOp::Delete { key } => {
            model.remove(&key);
        }
        KvOp::DeleteCas { key, index } => {
            let fits = modified(model, &key).is_none_or(|modified| modified == index);
            if fits {
                model.remove(&key);
            }
            return Reply::Bool(fits);
        }
        KvOp::DeleteTree { prefix } => model.retain(|key, _| !key.starts_with(&prefix)),
    }
    Reply::Done
}
