//! `operator raft`: the servers that agree on the log, listed and changed through the API.

use serde_json::Value;

use super::client::{Answer, Call};
use super::command::{Failure, Invocation, list, text};
use super::table;
use crate::goflag::quote;

/// `operator raft list-peers`.
pub fn list_peers(run: &mut Invocation) -> Result<(), Failure> {
    let answer = run.client()?.json(Call::new("GET", "/v1/operator/raft/configuration"));
    let answer = answer.map_err(|error| {
        Failure::new(format!("Error getting peers: Failed to retrieve raft configuration: {error}"))
    })?;
    let mut rows = vec![["Node", "ID", "Address", "State", "Voter", "RaftProtocol"].map(str::to_owned).to_vec()];
    for server in answer.get("Servers").map_or(&[][..], list) {
        let protocol = Some(text(server, "ProtocolVersion")).filter(|text| !text.is_empty());
        let leads = server.get("Leader").and_then(Value::as_bool) == Some(true);
        rows.push(vec![
            text(server, "Node"),
            text(server, "ID"),
            text(server, "Address"),
            if leads { "leader" } else { "follower" }.to_owned(),
            text(server, "Voter"),
            protocol.unwrap_or_else(|| "<=1".to_owned()),
        ]);
    }
    run.line(&table::columns(&rows));
    Ok(())
}

/// `operator raft remove-peer`.
pub fn remove_peer(run: &mut Invocation) -> Result<(), Failure> {
    let failed = |reason: &str| Failure::new(format!("Error removing peer: {reason}"));
    let given = |name| run.flags.last(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let (what, peer) = match (given("id"), given("address")) {
        (None, None) => return Err(failed("an address or id is required for the peer to remove")),
        (Some(_), Some(_)) => return Err(failed("cannot give both an address and id")),
        (Some(id), None) => ("id", id),
        (None, Some(address)) => ("address", address),
    };
    let call = Call::new("DELETE", "/v1/operator/raft/peer").with(what, peer.clone());
    run.client()?.send(call).and_then(Answer::ok).map_err(|error| failed(&error))?;
    run.line(&format!("Removed peer with {what} {}", quote(&peer)));
    Ok(())
}

/// `operator raft transfer-leader`.
pub fn transfer_leader(run: &mut Invocation) -> Result<(), Failure> {
    let mut call = Call::new("POST", "/v1/operator/raft/transfer-leader");
    if let Some(id) = run.flags.last("id").filter(|id| !id.is_empty()) {
        call = call.with("id", id);
    }
    let answer = run.client()?.json(call);
    let answer = answer.map_err(|error| Failure::new(format!("Error transferring leadership: {error}")))?;
    if answer.get("Success").and_then(Value::as_bool) != Some(true) {
        return Err(Failure::new("Error transferring leadership: the other server did not take over"));
    }
    run.line("Success");
    Ok(())
}
