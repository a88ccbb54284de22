//! `event`: fires a user event.

use super::address::escape_path;
use super::client::Call;
use super::command::{Failure, Invocation, text};

/// `event`.
pub fn event(run: &mut Invocation) -> Result<(), Failure> {
    let flag = |name: &str| run.flags.last(name).unwrap_or_default().to_owned();
    let name = flag("name");
    let payload = match run.args() {
        [] => String::new(),
        [payload] => payload.clone(),
        _ => return Err(Failure::new(format!("Too many command line arguments.\n\n{}", run.help))),
    };
    if name.is_empty() {
        return Err(Failure::new(format!("Event name must be specified\n\n{}", run.help)));
    }
    for what in ["node", "service", "tag"] {
        let pattern = flag(what);
        regex::Regex::new(&pattern).map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            let reason = last.strip_prefix("error: ").unwrap_or(last);
            Failure::new(format!("Failed to compile {what} filter regexp: error parsing regexp: {reason}: `{pattern}`"))
        })?;
    }
    if !flag("tag").is_empty() && flag("service").is_empty() {
        return Err(Failure::new("Cannot provide tag filter without service filter."));
    }
    let mut call = Call::new("PUT", format!("/v1/event/fire/{}", escape_path(&name))).body(payload.into_bytes());
    for what in ["node", "service", "tag"] {
        let pattern = flag(what);
        if !pattern.is_empty() {
            call = call.with(what, pattern);
        }
    }
    let client = run.client()?;
    client
        .json(Call::new("GET", "/v1/agent/self"))
        .map_err(|error| Failure::new(format!("Error querying Consul agent: {error}")))?;
    let fired = client.json(call).map_err(|error| Failure::new(format!("Error firing event: {error}")))?;
    run.line(&format!("Event ID: {}", text(&fired, "ID")));
    Ok(())
}
