//! `force-leave`: makes a failed member count as left.

use super::address::escape_path;
use super::client::{Answer, Call};
use super::command::{Failure, Invocation};

/// `force-leave`.
pub fn force_leave(run: &mut Invocation) -> Result<(), Failure> {
    let [name] = run.args() else {
        return Err(Failure::new(format!("A single node name must be specified to force leave.\n\n{}", run.help)));
    };
    let mut call = Call::new("PUT", format!("/v1/agent/force-leave/{}", escape_path(name)));
    if run.flags.bool("prune") {
        call = call.with("prune", "1");
    }
    let left = run.client()?.send(call).and_then(Answer::ok);
    left.map(|_| ()).map_err(|error| Failure::new(format!("Error force leaving: {error}")))
}
