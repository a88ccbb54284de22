//! `leave`: makes the agent leave the cluster and end.

use super::client::{Answer, Call};
use super::command::{Failure, Invocation};

/// `leave`.
pub fn leave(run: &mut Invocation) -> Result<(), Failure> {
    if !run.args().is_empty() {
        let given = run.args().join(" ");
        return Err(Failure::new(format!("Error found unexpected args: [{given}]\n{}", run.help)));
    }
    let left = run.client()?.send(Call::new("PUT", "/v1/agent/leave")).and_then(Answer::ok);
    left.map_err(|error| Failure::new(format!("Error leaving: {error}")))?;
    run.line("Graceful leave complete");
    Ok(())
}
