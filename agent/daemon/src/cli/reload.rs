//! `reload`: makes the agent read its configuration again.

use super::client::{Answer, Call};
use super::command::{Failure, Invocation};

/// `reload`.
pub fn reload(run: &mut Invocation) -> Result<(), Failure> {
    let reloaded = run.client()?.send(Call::new("PUT", "/v1/agent/reload")).and_then(Answer::ok);
    reloaded.map_err(|error| Failure::new(format!("Error reloading: {error}")))?;
    run.line("Configuration reload triggered");
    Ok(())
}
