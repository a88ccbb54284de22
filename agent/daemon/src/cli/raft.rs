//! `operator raft list-peers`: the servers that agree on the log, as a table.

use serde_json::Value;

use super::client::Call;
use super::command::{Failure, Invocation, list, text};
use super::table;

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
