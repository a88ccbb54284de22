//! `monitor`: the agent's log as it is written, until one of the two ends.

use std::io::Write;

use super::client::{Call, Client};
use super::command::{Failure, Invocation};
use super::signals::Signals;

/// What Consul says when the log ends without us.
const ENDED: &str = "\nRemote side ended the monitor! This usually means that the\nremote side has exited or crashed.";

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
    client.wait_for(print_log(run, &client, call))
}

/// Prints until the agent ends it, which is a failure, or a signal asks for the end.
async fn print_log(run: &mut Invocation<'_>, client: &Client, call: Call) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let out = &mut run.out;
    let printing = client.stream(call, |bytes| {
        // The reader of a pipe may go away first; the next signal ends the command.
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    });
    match signals.unless_asked(printing).await {
        Err(_) => Ok(()),
        Ok(Err(error)) => Err(Failure::new(format!("Error starting monitor: {error}"))),
        Ok(Ok(())) => {
            run.line(ENDED);
            Err(Failure::new(""))
        }
    }
}
