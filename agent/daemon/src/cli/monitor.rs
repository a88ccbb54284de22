//! `monitor`: the agent's log as it is written, until one of the two ends.

use std::io::Write;

use super::client::Call;
use super::command::{Failure, Invocation};

/// `monitor`.
pub fn monitor(run: &mut Invocation) -> Result<(), Failure> {
    let level = run.flags.last("log-level").unwrap_or("INFO");
    let mut call = Call::new("GET", "/v1/agent/monitor");
    if !level.is_empty() {
        call = call.with("loglevel", level);
    }
    if run.flags.bool("log-json") {
        call = call.with("logjson", "true");
    }
    let client = run.client()?;
    let out = &mut run.out;
    let streamed = client.stream(call, |bytes| {
        // The reader of a pipe may go away first; the next SIGPIPE or SIGINT ends the command.
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    });
    streamed.map_err(|error| Failure::new(format!("Error starting monitor: {error}")))
}
