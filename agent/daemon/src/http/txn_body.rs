//! The body of `/v1/txn`: a list of operations, decoded into commands.
//!
//! Decides which transactions only read, by their verbs, as Consul does: an
//! unknown key/value verb counts as reading, an unknown catalog verb as writing.

use std::sync::Arc;

use agent_core::state::command::{CatalogVerb, KvOp, KvWrite, TxnFailure, TxnOp};
use agent_core::state::tables::Node;
use agent_core::state::txn::vet;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::catalog_body::{transacted_check, transacted_service};
use crate::definition::{DecodeError, Fields, Source, kind_of};

/// A decoded transaction.
#[derive(Debug, Default)]
pub struct Body {
    /// What to do. Operations with unknown verbs are left out.
    pub ops: Vec<TxnOp>,
    /// What is wrong whatever the state; nothing is run unless it is empty.
    pub failures: Vec<TxnFailure>,
    /// Whether anything may be written.
    pub writes: bool,
}

/// An operation, or the text that refuses it; and whether it writes.
type Decoded = (Result<TxnOp, String>, bool);

/// Decodes the operations of a body.
///
/// # Errors
/// What Go's decoder says.
pub fn decode_ops(body: &Value) -> Result<Body, DecodeError> {
    let items = match body {
        Value::Null => &[],
        Value::Array(items) => items.as_slice(),
        other => return Err(mismatch(other, "api.TxnOps")),
    };
    let mut decoded = Body::default();
    for item in items.iter().filter(|item| !item.is_null()) {
        let Some((op, writes)) = decode_op(item)? else { continue };
        decoded.writes |= writes;
        let op_index = u32::try_from(decoded.ops.len() + decoded.failures.len()).unwrap_or(u32::MAX);
        match op {
            Ok(op) => decoded.ops.push(op),
            Err(what) => decoded.failures.push(TxnFailure { op_index, what }),
        }
    }
    let malformed = vet(&decoded.ops);
    if decoded.failures.is_empty() {
        decoded.failures = malformed;
    }
    Ok(decoded)
}

fn mismatch(value: &Value, go_type: &str) -> DecodeError {
    DecodeError::Shape(format!("json: cannot unmarshal {} into Go value of type {go_type}", kind_of(value)))
}

/// One operation; `None` for one that says nothing.
fn decode_op(item: &Value) -> Result<Option<Decoded>, DecodeError> {
    let known = ["KV", "Node", "Service", "Check", "Session"];
    let fields = Fields::open(item, &known, Source::Http, "api.TxnOp")?.of("TxnOp");
    if let Some(value) = fields.get("KV") {
        return decode_kv(value).map(Some);
    }
    if let Some(value) = fields.get("Node") {
        return decode_node(value).map(Some);
    }
    if let Some(value) = fields.get("Service") {
        let op = Fields::open(value, &["Verb", "Node", "Service"], Source::Http, "api.ServiceTxnOp")?;
        let mut service = transacted_service(op.get("Service").unwrap_or(&Value::Null))?;
        service.node = op.string("Node")?;
        return Ok(Some(catalog_op(&op, "Service", |verb| TxnOp::Service { verb, service })?));
    }
    if let Some(value) = fields.get("Check") {
        let op = Fields::open(value, &["Verb", "Check"], Source::Http, "api.CheckTxnOp")?;
        let check = transacted_check(op.get("Check").unwrap_or(&Value::Null))?;
        return Ok(Some(catalog_op(&op, "Check", |verb| TxnOp::Check { verb, check })?));
    }
    fields.get("Session").map(decode_session).transpose()
}

fn decode_kv(value: &Value) -> Result<Decoded, DecodeError> {
    let known = ["Verb", "Key", "Value", "Flags", "Index", "Session", "Namespace"];
    let fields = Fields::open(value, &known, Source::Http, "api.KVTxnOp")?.of("KVTxnOp.KV");
    let (key, session, index) = (fields.string("Key")?, fields.string("Session")?, fields.index("Index")?);
    let write = KvWrite { key: key.clone(), value: bytes(&fields)?, flags: fields.index("Flags")? };
    let op = match fields.string("Verb")?.as_str() {
        "set" => TxnOp::Kv(KvOp::Set(write)),
        "cas" => TxnOp::Kv(KvOp::Cas { write, index }),
        "lock" => TxnOp::Kv(KvOp::Lock { write, session }),
        "unlock" => TxnOp::Kv(KvOp::Unlock { write, session }),
        "delete" => TxnOp::Kv(KvOp::Delete { key }),
        "delete-cas" => TxnOp::Kv(KvOp::DeleteCas { key, index }),
        "delete-tree" => TxnOp::Kv(KvOp::DeleteTree { prefix: key }),
        "get" => TxnOp::KvGet { key },
        "get-or-empty" => TxnOp::KvGetOrEmpty { key },
        "get-tree" => TxnOp::KvGetTree { prefix: key },
        "check-index" => TxnOp::KvCheckIndex { key, index },
        "check-session" => TxnOp::KvCheckSession { key, session },
        "check-not-exists" => TxnOp::KvCheckNotExists { key },
        _ if key.is_empty() => return Ok((Err("Must provide key".to_owned()), false)),
        other => return Ok((Err(format!("unknown KV verb {other:?}")), false)),
    };
    let writes = matches!(op, TxnOp::Kv(_));
    Ok((Ok(op), writes))
}

/// A value in base64. Line breaks are skipped, as Go does.
fn bytes(fields: &Fields<'_>) -> Result<Arc<[u8]>, DecodeError> {
    let text = match fields.get("Value") {
        None => return Ok(Arc::from([])),
        Some(Value::String(text)) => text.replace(['\r', '\n'], ""),
        Some(other) => return Err(fields.mismatch(other, "Value", "[]uint8")),
    };
    STANDARD.decode(&text).map(Arc::from).map_err(|error| {
        let at = match error {
            base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
            base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => text.len(),
        };
        DecodeError::Shape(format!("illegal base64 data at input byte {at}"))
    })
}

fn decode_node(value: &Value) -> Result<Decoded, DecodeError> {
    let op = Fields::open(value, &["Verb", "Node"], Source::Http, "api.NodeTxnOp")?;
    let known =
        ["ID", "Node", "Address", "Datacenter", "TaggedAddresses", "Meta", "CreateIndex", "ModifyIndex", "Partition"];
    let empty = Value::Object(serde_json::Map::new());
    let fields = Fields::open(op.get("Node").unwrap_or(&empty), &known, Source::Http, "api.Node")?.of("Node");
    let node = Node {
        id: fields.string("ID")?,
        name: fields.string("Node")?,
        address: fields.string("Address")?,
        tagged_addresses: fields.string_map("TaggedAddresses")?,
        meta: fields.string_map("Meta")?,
        create_index: 0,
        modify_index: fields.index("ModifyIndex")?,
    };
    catalog_op(&op, "Node", |verb| TxnOp::Node { verb, node })
}

fn catalog_op(op: &Fields<'_>, what: &str, make: impl FnOnce(CatalogVerb) -> TxnOp) -> Result<Decoded, DecodeError> {
    let verb = match op.string("Verb")?.as_str() {
        "get" => CatalogVerb::Get,
        "set" => CatalogVerb::Set,
        "cas" => CatalogVerb::Cas,
        "delete" => CatalogVerb::Delete,
        "delete-cas" => CatalogVerb::DeleteCas,
        other => return Ok((Err(format!("unknown {what} verb {other:?}")), true)),
    };
    Ok((Ok(make(verb)), verb != CatalogVerb::Get))
}

fn decode_session(value: &Value) -> Result<Decoded, DecodeError> {
    let op = Fields::open(value, &["Verb", "Session"], Source::Http, "api.SessionTxnOp")?;
    let empty = Value::Object(serde_json::Map::new());
    let session = Fields::open_any(op.get("Session").unwrap_or(&empty), Source::Http, "api.SessionEntry")?;
    let id = session.string("ID")?;
    Ok(match op.string("Verb")?.as_str() {
        "delete" => (Ok(TxnOp::SessionDelete { id }), true),
        other => (Err(format!("unknown Session verb {other:?}")), true),
    })
}
