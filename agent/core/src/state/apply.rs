//! How a proposal changes the state: one match over every command.
//!
//! A proposal that appears twice in the log (its proposer gave up waiting and
//! tried again) is applied twice, as in Consul; this is the place to drop the
//! second by its id if that is ever wanted.

use super::command::{Applied, Command, KvOp, Proposal, Refusal, Reply};
use super::kv::KvOutcome;
use super::tables::{Index, State};
use super::write::Write;

/// Applies `proposal` at log index `index`. A pure function of its arguments.
///
/// A refused command changes nothing but [`State::index`]. `changes` come in
/// the order of [`crate::watch::Topic`], each once.
pub fn apply(state: &mut State, index: Index, proposal: &Proposal) -> Applied {
    state.index = index;
    let mut write = Write::new(state, index, proposal.now_ms);
    let reply = run(&mut write, &proposal.command);
    Applied { index, reply, changes: write.touched.into_iter().collect() }
}

fn run(write: &mut Write<'_>, command: &Command) -> Reply {
    match command {
        Command::Register(register) => done_or_refused(write.register_whole(register)),
        Command::Deregister { node, service_id, check_id } => {
            write.deregister(node, service_id.as_deref(), check_id.as_deref());
            Reply::Done
        }
        Command::Kv(op) => kv_reply(write, op),
        Command::SessionCreate(session) => done_or_refused(write.session_create(session)),
        Command::SessionDestroy { id } => {
            write.session_end(id);
            Reply::Done
        }
        Command::Txn(ops) => match super::txn::run(write, ops) {
            Ok(results) => Reply::Txn(results),
            Err(failures) => Reply::TxnRefused(failures),
        },
        Command::TombstoneReap { up_to } => {
            write.reap(*up_to);
            Reply::Done
        }
        Command::Autopilot { config, cas } => write.autopilot(config, *cas),
        Command::PluginChunk { digest, size, offset, bytes } => {
            done_or_refused(write.plugin_chunk(digest, *size, *offset, bytes))
        }
        Command::PluginSet { name, version, cas } => match write.plugin_set(name, version, *cas) {
            Ok(written) => cas.map_or(Reply::Done, |_| Reply::Bool(written)),
            Err(refusal) => Reply::Refused(refusal),
        },
        Command::PluginRemove { name } => {
            write.plugin_remove(name);
            Reply::Done
        }
    }
}

fn done_or_refused(outcome: Result<(), Refusal>) -> Reply {
    match outcome {
        Ok(()) => Reply::Done,
        Err(refusal) => Reply::Refused(refusal),
    }
}

fn kv_reply(write: &mut Write<'_>, op: &KvOp) -> Reply {
    let outcome = match write.kv(op) {
        Ok(outcome) => outcome,
        Err(refusal) => return Reply::Refused(refusal),
    };
    let happened = matches!(outcome, KvOutcome::Done);
    match op {
        KvOp::Set(_) | KvOp::Delete { .. } | KvOp::DeleteTree { .. } => Reply::Done,
        KvOp::Cas { .. } | KvOp::Lock { .. } | KvOp::Unlock { .. } | KvOp::DeleteCas { .. } => Reply::Bool(happened),
    }
}
