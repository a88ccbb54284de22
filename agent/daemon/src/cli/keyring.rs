//! `keyring`: lists and changes the keys that gossip is sealed with.

use serde_json::{Value, json};

use super::client::{Answer, Call};
use super::command::{Failure, Invocation, list, text};

/// The flag, method and remark of each action that changes keys.
const CHANGES: [(&str, &str, &str); 3] = [
    ("install", "POST", "==> Installing new gossip encryption key..."),
    ("use", "PUT", "==> Changing primary gossip encryption key..."),
    ("remove", "DELETE", "==> Removing gossip encryption key..."),
];

/// The flag, field and remark of each action that lists keys.
const LISTS: [(&str, &str, &str); 2] = [
    ("list", "Keys", "==> Gathering installed encryption keys..."),
    ("list-primary", "PrimaryKeys", "==> Gathering installed primary encryption keys..."),
];

/// `keyring`.
pub fn keyring(run: &mut Invocation) -> Result<(), Failure> {
    let given = |name: &str| run.flags.last(name).is_some_and(|text| !text.is_empty());
    let changes: Vec<_> = CHANGES.into_iter().filter(|(flag, ..)| given(flag)).collect();
    let lists: Vec<_> = LISTS.into_iter().filter(|(flag, ..)| run.flags.bool(flag)).collect();
    let local_only = run.flags.bool("local-only");
    match (&changes[..], &lists[..]) {
        ([], []) => return Err(Failure::new(run.help)),
        ([_], []) | ([], [_]) => {}
        _ => return Err(Failure::new("Only a single action is allowed")),
    }
    if local_only && lists.is_empty() {
        return Err(Failure::new("Invalid use of local-only: local-only can only be set for list requests"));
    }
    let factor = run.flags.last("relay-factor").unwrap_or("0").to_owned();
    if !matches!(factor.parse(), Ok(0..=5_u8)) {
        return Err(Failure::new("Error parsing relay factor: Relay factor must be in range: [0, 5]"));
    }
    let with_relays = |call: Call| if factor == "0" { call } else { call.with("relay-factor", factor.clone()) };
    let client = run.client()?;
    let failed = |error: String| Failure::new(format!("error: {error}"));
    if let [(flag, method, remark)] = changes[..] {
        run.line(remark);
        let body = json!({ "Key": run.flags.last(flag).unwrap_or_default() }).to_string();
        let call = with_relays(Call::new(method, "/v1/operator/keyring").body(body.into_bytes()));
        return client.send(call).and_then(Answer::ok).map(|_| ()).map_err(failed);
    }
    let [(_, field, remark)] = lists[..] else { return Ok(()) };
    run.line(remark);
    let mut call = with_relays(Call::new("GET", "/v1/operator/keyring"));
    if local_only {
        call = call.with("local-only", "true");
    }
    let answer = client.json(call).map_err(failed)?;
    for ring in list(&answer) {
        show(run, ring, field);
    }
    Ok(())
}

/// One pool: its name, what members had to say, and for every key how many have it.
fn show(run: &mut Invocation, ring: &Value, field: &str) {
    let is_wan = ring.get("WAN").and_then(Value::as_bool) == Some(true);
    let datacenter = text(ring, "Datacenter");
    let pool = if is_wan { "WAN".to_owned() } else { format!("{datacenter} (LAN)") };
    run.line(&format!("\n{pool}:"));
    for (node, message) in ring.get("Messages").and_then(Value::as_object).into_iter().flatten() {
        run.line(&format!("  ===> {node}: {}", message.as_str().unwrap_or_default()));
    }
    let nodes = text(ring, "NumNodes");
    for (key, count) in ring.get(field).and_then(Value::as_object).into_iter().flatten() {
        run.line(&format!("  {key} [{count}/{nodes}]"));
    }
}
