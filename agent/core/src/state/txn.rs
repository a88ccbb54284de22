//! Transactions: all operations or none.
//!
//! Operations run in order on a draft of the state, each seeing what those
//! before it did. Every operation that fails is reported, not only the first;
//! one failure throws the draft away. Texts are Consul's: clients match them.

use std::sync::Arc;

use super::command::{CatalogVerb, KvOp, Refusal, TxnFailure, TxnOp, TxnResult};
use super::kv::KvOutcome;
use super::tables::{Check, Index, KvEntry, Node, Service, fold};
use super::write::Write;

/// The length of a UUID in text form.
const UUID_TEXT_BYTES: usize = 36;

/// Runs a transaction: what it read and wrote, or what refused it.
pub(super) fn run(write: &mut Write<'_>, ops: &[TxnOp]) -> Result<Vec<TxnResult>, Vec<TxnFailure>> {
    let malformed = vet(ops);
    if !malformed.is_empty() {
        return Err(malformed);
    }
    write.all_or_nothing(|draft| {
        let mut results = Vec::new();
        let mut failures = Vec::new();
        for (op_index, op) in ops.iter().enumerate() {
            if let Err(what) = draft.txn_op(op, &mut results) {
                failures.push(failure(op_index, what));
            }
        }
        if failures.is_empty() { Ok(results) } else { Err(failures) }
    })
}

/// What is wrong with operations whatever the state. Consul reports these alone, before it tries anything.
pub fn vet(ops: &[TxnOp]) -> Vec<TxnFailure> {
    let faults = ops.iter().enumerate().filter_map(|(op_index, op)| Some(failure(op_index, fault(op)?.to_string())));
    faults.collect()
}

fn failure(op_index: usize, what: String) -> TxnFailure {
    TxnFailure { op_index: u32::try_from(op_index).unwrap_or(u32::MAX), what }
}

fn fault(op: &TxnOp) -> Option<&'static str> {
    match op {
        TxnOp::Kv(KvOp::DeleteTree { .. }) | TxnOp::Check { .. } | TxnOp::SessionDelete { .. } => None,
        TxnOp::Kv(op) => key_of(op).is_empty().then_some("Must provide key"),
        TxnOp::KvGet { key }
        | TxnOp::KvGetOrEmpty { key }
        | TxnOp::KvGetTree { prefix: key }
        | TxnOp::KvCheckIndex { key, .. }
        | TxnOp::KvCheckSession { key, .. }
        | TxnOp::KvCheckNotExists { key } => key.is_empty().then_some("Must provide key"),
        TxnOp::Node { verb: CatalogVerb::Get, .. } | TxnOp::Service { verb: CatalogVerb::Get, .. } => None,
        TxnOp::Node { node, .. } if node.name.is_empty() => Some("Must provide node"),
        TxnOp::Node { node, .. } => (!node.id.is_empty() && node.id.len() != UUID_TEXT_BYTES)
            .then_some("Bad node ID: uuid string is wrong length"),
        TxnOp::Service { service, .. } => {
            (!service.id.is_empty() && service.name.is_empty()).then_some("Must provide service name with ID")
        }
    }
}

fn key_of(op: &KvOp) -> &str {
    match op {
        KvOp::Set(write) | KvOp::Cas { write, .. } | KvOp::Lock { write, .. } | KvOp::Unlock { write, .. } => {
            &write.key
        }
        KvOp::Delete { key } | KvOp::DeleteCas { key, .. } | KvOp::DeleteTree { prefix: key } => key,
    }
}

impl Write<'_> {
    fn txn_op(&mut self, op: &TxnOp, results: &mut Vec<TxnResult>) -> Result<(), String> {
        match op {
            TxnOp::Kv(op) => results.extend(self.txn_kv(op)?.map(TxnResult::Kv)),
            TxnOp::KvGet { key } => {
                let entry = self.state.kv.get(key).ok_or_else(|| format!("key {key:?} doesn't exist"))?;
                results.push(TxnResult::Kv(entry.clone()));
            }
            TxnOp::KvGetOrEmpty { key } => {
                let absent = || Arc::new(KvEntry { key: key.clone(), ..KvEntry::default() });
                results.push(TxnResult::Kv(self.state.kv.get(key).cloned().unwrap_or_else(absent)));
            }
            TxnOp::KvGetTree { prefix } => {
                results.extend(self.state.kv.under(prefix).map(|entry| TxnResult::Kv(entry.clone())));
            }
            TxnOp::KvCheckIndex { key, index } => results.push(TxnResult::Kv(self.txn_check_index(key, *index)?)),
            TxnOp::KvCheckSession { key, session } => {
                results.push(TxnResult::Kv(self.txn_check_session(key, session)?))
            }
            TxnOp::KvCheckNotExists { key } => {
                if self.state.kv.contains_key(key) {
                    return Err(format!("key {key:?} exists"));
                }
            }
            TxnOp::Node { verb, node } => results.extend(self.txn_node(*verb, node)?.map(TxnResult::Node)),
            TxnOp::Service { verb, service } => {
                results.extend(self.txn_service(*verb, service)?.map(TxnResult::Service))
            }
            TxnOp::Check { verb, check } => results.extend(self.txn_check(*verb, check)?.map(TxnResult::Check)),
            TxnOp::SessionDelete { id } => self.session_end(id),
        }
        Ok(())
    }

    /// A write answers the entry it leaves, without its value; a deletion nothing.
    fn txn_kv(&mut self, op: &KvOp) -> Result<Option<Arc<KvEntry>>, String> {
        let key = key_of(op);
        let outcome = self.kv(op).map_err(text)?;
        let verb = match op {
            KvOp::Set(_) | KvOp::Cas { .. } => "set",
            KvOp::Lock { .. } => "lock",
            KvOp::Unlock { .. } => "unlock",
            KvOp::Delete { .. } | KvOp::DeleteCas { .. } | KvOp::DeleteTree { .. } => "delete",
        };
        match outcome {
            KvOutcome::Done if verb == "delete" => Ok(None),
            KvOutcome::Done => Ok(self.state.kv.get(key).map(|entry| without_value(entry))),
            KvOutcome::StaleIndex => Err(format!("failed to {verb} key {key:?}, index is stale")),
            KvOutcome::LockHeld => Err(format!("failed to lock key {key:?}, lock is already held")),
            KvOutcome::LockDelay => Err(format!("failed to lock key {key:?} due to lock delay")),
            KvOutcome::NotHolder => {
                Err(format!("failed to unlock key {key:?}, lock isn't held, or is held by another session"))
            }
        }
    }

    fn txn_check_index(&self, key: &str, index: Index) -> Result<Arc<KvEntry>, String> {
        match self.state.kv.get(key) {
            None => Err(format!("failed to check index, key {key:?} doesn't exist")),
            Some(entry) if entry.modify_index != index => Err(format!(
                "failed index check for key {key:?}, current modify index {} != {index}",
                entry.modify_index
            )),
            Some(entry) => Ok(without_value(entry)),
        }
    }

    fn txn_check_session(&self, key: &str, session: &str) -> Result<Arc<KvEntry>, String> {
        match self.state.kv.get(key) {
            None => Err(format!("failed to check session, key {key:?} doesn't exist")),
            Some(entry) if entry.session != session => {
                Err(format!("failed session check for key {key:?}, current session {:?} != {session:?}", entry.session))
            }
            Some(entry) => Ok(without_value(entry)),
        }
    }

    fn txn_node(&mut self, verb: CatalogVerb, node: &Node) -> Result<Option<Arc<Node>>, String> {
        let name = fold(&node.name);
        let what = format!("node {:?}", node.name);
        let at = self.state.nodes.get(&name).map(|existing| existing.modify_index);
        if !guard(verb, &what, at, node.modify_index)? {
            self.node_remove(&name);
            return Ok(None);
        }
        if verb == CatalogVerb::Get {
            let wanted =
                if node.id.is_empty() { Some(name) } else { self.state.node_ids.get(&fold(&node.id)).cloned() };
            let found = wanted.and_then(|name| self.state.nodes.get(&name).cloned());
            return found.map(Some).ok_or_else(|| format!("{what} doesn't exist"));
        }
        self.node_put(node).map_err(text)?;
        Ok(self.state.nodes.get(&name).cloned())
    }

    fn txn_service(&mut self, verb: CatalogVerb, service: &Service) -> Result<Option<Arc<Service>>, String> {
        let id = if service.id.is_empty() { &service.name } else { &service.id };
        let key = (fold(&service.node), id.clone());
        let what = format!("service {id:?} on node {:?}", service.node);
        let at = self.state.services.get(&key).map(|existing| existing.modify_index);
        if !guard(verb, &what, at, service.modify_index)? {
            self.service_remove(&key.0, id);
            return Ok(None);
        }
        if verb != CatalogVerb::Get {
            self.service_put(service).map_err(text)?;
        }
        self.state.services.get(&key).cloned().map(Some).ok_or_else(|| format!("{what} doesn't exist"))
    }

    fn txn_check(&mut self, verb: CatalogVerb, check: &Check) -> Result<Option<Arc<Check>>, String> {
        let id = if check.id.is_empty() { &check.name } else { &check.id };
        let key = (fold(&check.node), id.clone());
        let what = format!("check {id:?} on node {:?}", check.node);
        let at = self.state.checks.get(&key).map(|existing| existing.modify_index);
        if !guard(verb, &what, at, check.modify_index)? {
            self.check_remove(&key.0, id);
            return Ok(None);
        }
        if verb != CatalogVerb::Get {
            self.check_put(check).map_err(text)?;
        }
        self.state.checks.get(&key).cloned().map(Some).ok_or_else(|| format!("{what} doesn't exist"))
    }
}

/// Checks the index of a conditional verb against that of the record, if there is one.
/// Returns whether the record stays (`false`: the verb removes it).
fn guard(verb: CatalogVerb, what: &str, at: Option<Index>, wanted: Index) -> Result<bool, String> {
    match verb {
        CatalogVerb::Get | CatalogVerb::Set => Ok(true),
        CatalogVerb::Cas if at.unwrap_or(0) == wanted => Ok(true),
        CatalogVerb::Cas => Err(format!("failed to set {what}, index is stale")),
        CatalogVerb::Delete => Ok(false),
        CatalogVerb::DeleteCas if at == Some(wanted) => Ok(false),
        CatalogVerb::DeleteCas => Err(format!("failed to delete {what}, index is stale")),
    }
}

fn without_value(entry: &KvEntry) -> Arc<KvEntry> {
    Arc::new(KvEntry { value: Arc::from([]), ..entry.clone() })
}

fn text(refusal: Refusal) -> String {
    refusal.to_string()
}

#[cfg(test)]
mod tests;
