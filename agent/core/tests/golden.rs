//! The stored bytes of every command and of a snapshot, pinned.
//!
//! Logs and snapshots outlive the program that wrote them. When a test here
//! fails, old data would no longer be read as it was meant: append instead of
//! changing, or raise the version and keep a reader for the old one. Only then
//! write the files anew with `BLESS=1 cargo nextest run -p agent-core --test golden`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use agent_core::plugin::digest::Digest;
use agent_core::plugin::signature::{PublicKey, Signature};
use agent_core::state::command::{CatalogVerb, KvOp, KvWrite, Register, TxnOp};
use agent_core::state::tables::{
    AutopilotConfig, Check, CheckDefinition, Node, PluginVersion, Service, ServiceAddress, Session, SessionBehavior,
    Status, Weights,
};
use agent_core::state::{Command, Proposal, State, apply, snapshot};

#[test]
fn commands_keep_their_bytes() {
    let commands = commands();
    let lines = commands.iter().map(|(name, command)| (*name, proposal(command.clone()).encode()));
    compare("commands.hex", &text(lines));
}

#[test]
fn pinned_commands_read_back() {
    let pinned = read(&path("commands.hex"));
    for (line, (name, command)) in pinned.lines().zip(commands()) {
        let bytes = bytes(line.strip_prefix(name).expect("the file has the commands in order"));
        assert_eq!(Proposal::decode(&bytes), Ok(proposal(command)), "{name}");
    }
}

#[test]
fn a_snapshot_keeps_its_bytes() {
    let bytes = snapshot::encode(&state());
    compare("snapshot.hex", &text(bytes.chunks(32).map(|chunk| ("", chunk.to_vec()))));
}

#[test]
fn a_pinned_snapshot_reads_back() {
    let pinned: Vec<u8> = read(&path("snapshot.hex")).lines().flat_map(bytes).collect();
    assert_eq!(snapshot::decode(&pinned), Ok(state()));
}

fn proposal(command: Command) -> Proposal {
    Proposal { id: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10, now_ms: 1_700_000_000_123, command }
}

/// Every command and every operation, with every field set to something.
fn commands() -> Vec<(&'static str, Command)> {
    let mut all = vec![
        ("register", Command::Register(Box::new(register()))),
        ("deregister-node", deregister(None, None)),
        ("deregister-service", deregister(Some("web-1"), None)),
        ("deregister-check", deregister(None, Some("c1"))),
        ("session-create", Command::SessionCreate(Box::new(session("s1", SessionBehavior::Delete)))),
        ("session-destroy", Command::SessionDestroy { id: "s1".to_string() }),
        ("tombstone-reap", Command::TombstoneReap { up_to: 300 }),
        ("txn", Command::Txn(txn())),
    ];
    all.extend(kv_ops().into_iter().map(|(name, op)| (name, Command::Kv(op))));
    all.push(("autopilot", autopilot(None)));
    all.push(("autopilot-cas", autopilot(Some(7))));
    all.push(("plugin-chunk", plugin_chunk(b"plugin")));
    all.push(("plugin-set", plugin_set(b"plugin", None, Some(7))));
    all.push(("plugin-set-signed", plugin_set(b"plugin", Some(signature()), None)));
    all.push(("plugin-remove", Command::PluginRemove { name: "redis".to_string() }));
    all
}

fn plugin_chunk(bytes: &[u8]) -> Command {
    Command::PluginChunk { digest: Digest::of(bytes), size: bytes.len() as u64, offset: 0, bytes: bytes.into() }
}

fn plugin_set(bytes: &[u8], signature: Option<Signature>, cas: Option<u64>) -> Command {
    let version = PluginVersion {
        digest: Digest::of(bytes),
        version: "1.2.3".to_string(),
        summary: "Asks a server".to_string(),
        size: bytes.len() as u64,
        signature,
        publish_index: 3,
    };
    Command::PluginSet { name: "redis".to_string(), version: Box::new(version), cas }
}

fn signature() -> Signature {
    Signature { key: PublicKey([1; 32]), halves: [[2; 32], [3; 32]] }
}

fn autopilot(cas: Option<u64>) -> Command {
    let config = AutopilotConfig {
        cleanup_dead_servers: true,
        last_contact_threshold_ns: -5,
        max_trailing_logs: 300,
        min_quorum: 3,
        server_stabilization_time_ns: 10_000_000_000,
        redundancy_zone_tag: "zone".to_string(),
        disable_upgrade_migration: true,
        upgrade_version_tag: "version".to_string(),
        create_index: 3,
        modify_index: 4,
    };
    Command::Autopilot { config: Box::new(config), cas }
}

fn deregister(service_id: Option<&str>, check_id: Option<&str>) -> Command {
    Command::Deregister {
        node: "n1".to_string(),
        service_id: service_id.map(str::to_string),
        check_id: check_id.map(str::to_string),
    }
}

fn kv_ops() -> Vec<(&'static str, KvOp)> {
    let write = || KvWrite { key: "a/b".to_string(), value: b"value".as_slice().into(), flags: 42 };
    let session = || "s1".to_string();
    let key = || "a/b".to_string();
    vec![
        ("kv-set", KvOp::Set(write())),
        ("kv-cas", KvOp::Cas { write: write(), index: 7 }),
        ("kv-lock", KvOp::Lock { write: write(), session: session() }),
        ("kv-unlock", KvOp::Unlock { write: write(), session: session() }),
        ("kv-delete", KvOp::Delete { key: key() }),
        ("kv-delete-cas", KvOp::DeleteCas { key: key(), index: 7 }),
        ("kv-delete-tree", KvOp::DeleteTree { prefix: "a/".to_string() }),
    ]
}

fn txn() -> Vec<TxnOp> {
    let key = || "a/b".to_string();
    let Register { node, service, mut checks, .. } = register();
    let service = service.expect("the registration has a service");
    let check = checks.remove(0);
    vec![
        TxnOp::Kv(KvOp::Delete { key: key() }),
        TxnOp::KvGet { key: key() },
        TxnOp::KvGetOrEmpty { key: key() },
        TxnOp::KvGetTree { prefix: "a/".to_string() },
        TxnOp::KvCheckIndex { key: key(), index: 7 },
        TxnOp::KvCheckSession { key: key(), session: "s1".to_string() },
        TxnOp::KvCheckNotExists { key: key() },
        TxnOp::Node { verb: CatalogVerb::Get, node: node.clone() },
        TxnOp::Node { verb: CatalogVerb::Set, node },
        TxnOp::Service { verb: CatalogVerb::Cas, service },
        TxnOp::Check { verb: CatalogVerb::Delete, check: check.clone() },
        TxnOp::Check { verb: CatalogVerb::DeleteCas, check },
        TxnOp::SessionDelete { id: "s1".to_string() },
    ]
}

fn pair(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_string(), value.to_string())])
}

fn register() -> Register {
    Register {
        node: Node {
            id: "11111111-2222-3333-4444-555555555555".to_string(),
            name: "N1".to_string(),
            address: "10.0.0.1".to_string(),
            tagged_addresses: pair("wan", "192.0.2.1"),
            meta: pair("rack", "7"),
            create_index: 3,
            modify_index: 4,
        },
        skip_node_update: true,
        service: Some(service()),
        checks: vec![check("c1", "web-1"), check("serfHealth", "")],
    }
}

fn service() -> Service {
    let wan = ServiceAddress { address: "192.0.2.2".to_string(), port: 8080 };
    Service {
        node: "N1".to_string(),
        id: "web-1".to_string(),
        name: "Web".to_string(),
        kind: "connect-proxy".to_string(),
        tags: vec!["b".to_string(), "a".to_string()],
        address: "10.0.0.2".to_string(),
        port: 80,
        tagged_addresses: BTreeMap::from([("wan".to_string(), wan)]),
        meta: pair("version", "1"),
        weights: Weights { passing: 5, warning: 2 },
        enable_tag_override: true,
        connect_native: true,
        proxy_json: "{}".to_string(),
        create_index: 3,
        modify_index: 4,
    }
}

fn check(id: &str, service_id: &str) -> Check {
    Check {
        node: "N1".to_string(),
        id: id.to_string(),
        name: "check".to_string(),
        status: Status::Warning,
        notes: "notes".to_string(),
        output: "output".to_string(),
        service_id: service_id.to_string(),
        service_name: "Web".to_string(),
        service_tags: vec!["a".to_string()],
        kind: "http".to_string(),
        definition: CheckDefinition {
            http: "http://localhost/".to_string(),
            tls_server_name: "name".to_string(),
            tls_skip_verify: true,
            header: BTreeMap::from([("X".to_string(), vec!["1".to_string()])]),
            method: "GET".to_string(),
            body: "body".to_string(),
            tcp: "localhost:80".to_string(),
            interval_ms: 10_000,
            timeout_ms: 1_000,
            deregister_critical_service_after_ms: 60_000,
        },
        create_index: 3,
        modify_index: 4,
    }
}

fn session(id: &str, behavior: SessionBehavior) -> Session {
    Session {
        id: id.to_string(),
        name: "lock".to_string(),
        node: "N1".to_string(),
        node_checks: vec!["serfHealth".to_string()],
        service_checks: vec!["c1".to_string()],
        lock_delay_ms: 15_000,
        behavior,
        ttl: "30s".to_string(),
        ttl_ms: 30_000,
        create_index: 3,
        modify_index: 4,
    }
}

/// A state with something in every table.
fn state() -> State {
    let write = |key: &str| KvWrite { key: key.to_string(), value: b"value".as_slice().into(), flags: 42 };
    let lock = |key: &str, session: &str| Command::Kv(KvOp::Lock { write: write(key), session: session.to_string() });
    let commands = [
        Command::Register(Box::new(Register { skip_node_update: false, ..register() })),
        Command::SessionCreate(Box::new(session("s1", SessionBehavior::Release))),
        Command::SessionCreate(Box::new(session("s2", SessionBehavior::Delete))),
        lock("released", "s1"),
        lock("held", "s2"),
        Command::Kv(KvOp::Set(write("gone"))),
        Command::Kv(KvOp::Delete { key: "gone".to_string() }),
        Command::SessionDestroy { id: "s1".to_string() },
        autopilot(None),
        plugin_chunk(b"plugin"),
        plugin_set(b"plugin", Some(signature()), None),
        plugin_chunk(b"upload"),
    ];
    let mut state = State::default();
    for (index, command) in (1..).zip(commands) {
        apply(&mut state, index, &proposal(command));
    }
    state
}

fn text(lines: impl Iterator<Item = (&'static str, Vec<u8>)>) -> String {
    let mut text = String::new();
    for (name, bytes) in lines {
        text.push_str(name);
        if !name.is_empty() {
            text.push(' ');
        }
        for byte in bytes {
            write!(text, "{byte:02x}").expect("a String takes every byte");
        }
        text.push('\n');
    }
    text
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.trim().chars().map(|digit| digit.to_digit(16).expect("hex")).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits make a byte")).collect()
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn read(path: &PathBuf) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("could not read {}: {error}", path.display()))
}

fn compare(name: &str, actual: &str) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path(name), actual).expect("the golden file can be written");
    }
    assert_eq!(actual, read(&path(name)), "stored bytes changed: see the top of tests/golden.rs");
}
