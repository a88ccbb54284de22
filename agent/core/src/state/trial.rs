//! Tests' way to apply commands one after another and to spell them briefly.

use super::command::{Command, KvOp, KvWrite, Proposal, Register, Reply, TxnOp};
use super::tables::{Check, Index, Node, Service, Session, State, Status, UnixMs};
use super::{apply, invariants};
use crate::watch::Topic;

/// A state with the index and the wall time of its next command.
#[derive(Clone, Debug)]
pub struct Trial {
    pub state: State,
    pub index: Index,
    pub now_ms: UnixMs,
    /// What the latest command touched.
    pub changes: Vec<Topic>,
}

impl Trial {
    /// An empty state whose first command gets index 10.
    pub fn new() -> Self {
        Trial { state: State::default(), index: 9, now_ms: 1_000_000, changes: Vec::new() }
    }

    /// Applies a command at the next index; every invariant must hold after it.
    pub fn apply(&mut self, command: Command) -> Reply {
        self.index += 1;
        let proposal = Proposal { id: u128::from(self.index), now_ms: self.now_ms, command };
        let applied = apply(&mut self.state, self.index, &proposal);
        invariants::check(&self.state).unwrap();
        self.changes = applied.changes;
        applied.reply
    }

    pub fn kv(&mut self, op: KvOp) -> Reply {
        self.apply(Command::Kv(op))
    }

    pub fn set(&mut self, key: &str, value: &str) {
        assert_eq!(self.kv(KvOp::Set(write(key, value))), Reply::Done);
    }

    pub fn lock(&mut self, key: &str, session: &str) -> Reply {
        self.kv(KvOp::Lock { write: write(key, "locked"), session: session.to_string() })
    }

    pub fn unlock(&mut self, key: &str, session: &str) -> Reply {
        self.kv(KvOp::Unlock { write: write(key, "free"), session: session.to_string() })
    }

    pub fn register(&mut self, register: Register) -> Reply {
        self.apply(Command::Register(Box::new(register)))
    }

    /// Registers what must be accepted.
    pub fn add(&mut self, register: Register) {
        assert_eq!(self.register(register), Reply::Done);
    }

    pub fn deregister(&mut self, node: &str, service_id: Option<&str>, check_id: Option<&str>) {
        let owned = |id: &str| id.to_string();
        let (service_id, check_id) = (service_id.map(owned), check_id.map(owned));
        assert_eq!(self.apply(Command::Deregister { node: node.to_string(), service_id, check_id }), Reply::Done);
    }

    pub fn session(&mut self, session: Session) -> Reply {
        self.apply(Command::SessionCreate(Box::new(session)))
    }

    pub fn destroy(&mut self, id: &str) {
        assert_eq!(self.apply(Command::SessionDestroy { id: id.to_string() }), Reply::Done);
    }

    pub fn txn(&mut self, ops: Vec<TxnOp>) -> Reply {
        self.apply(Command::Txn(ops))
    }

    /// Whether the latest command wakes those who wait for `topic`.
    pub fn touched(&self, topic: &Topic) -> bool {
        self.changes.iter().any(|change| change.wakes(topic))
    }
}

pub fn write(key: &str, value: &str) -> KvWrite {
    KvWrite { key: key.to_string(), value: value.as_bytes().into(), flags: 0 }
}

pub fn node(name: &str) -> Node {
    Node { name: name.to_string(), address: "10.0.0.1".to_string(), ..Node::default() }
}

/// A node with an id made of one letter.
pub fn node_with_id(name: &str, letter: char) -> Node {
    Node { id: id(letter), ..node(name) }
}

/// A UUID made of one letter.
pub fn id(letter: char) -> String {
    format!("{}-0000-0000-0000-000000000000", letter.to_string().repeat(8))
}

pub fn service(id: &str, name: &str) -> Service {
    Service { id: id.to_string(), name: name.to_string(), ..Service::default() }
}

pub fn check(id: &str, service_id: &str, status: Status) -> Check {
    Check { id: id.to_string(), name: id.to_string(), service_id: service_id.to_string(), status, ..Check::default() }
}

pub fn session(id: &str, node: &str, checks: &[&str]) -> Session {
    let node_checks = checks.iter().map(|id| (*id).to_string()).collect();
    Session { id: id.to_string(), node: node.to_string(), node_checks, lock_delay_ms: 15_000, ..Session::default() }
}

/// A registration of a node with perhaps a service and checks.
pub fn registration(node: Node, service: Option<Service>, checks: Vec<Check>) -> Register {
    Register { node, skip_node_update: false, service, checks }
}
