//! `join`: makes the agent join the pool of others.

use super::address::escape_path;
use super::client::{Answer, Call};
use super::command::{Failure, Invocation};

/// `join`.
pub fn join(run: &mut Invocation) -> Result<(), Failure> {
    if run.args().is_empty() {
        return Err(Failure::new(format!("At least one address to join must be specified.\n\n{}", run.help)));
    }
    let client = run.client()?;
    let mut joined = 0;
    for address in run.args().to_vec() {
        let mut call = Call::new("PUT", format!("/v1/agent/join/{}", escape_path(&address)));
        if run.flags.bool("wan") {
            call = call.with("wan", "1");
        }
        match client.send(call).and_then(Answer::ok) {
            Ok(_) => joined += 1,
            Err(error) => run.remark(&format!("Error joining address '{address}': {error}")),
        }
    }
    if joined == 0 {
        return Err(Failure::new("Failed to join any nodes."));
    }
    run.line(&format!("Successfully joined cluster by contacting {joined} nodes."));
    Ok(())
}
