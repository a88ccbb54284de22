//! Small commands: `info`, `keygen`, `leave`, `maint`, `monitor`, `operator raft list-peers`, `reload`, `version`.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use serde_json::Value;

use super::address::escape_path;
use super::client::Call;
use super::command::{Failure, Invocation, list, text};
use super::table;

/// The Consul release whose interface this one follows.
pub const API_VERSION: &str = "1.8.7";

/// `version`.
pub fn version(run: &mut Invocation) -> Result<(), Failure> {
    match run.flags.last("format").unwrap_or("pretty") {
        "pretty" => run.line(&version_text()),
        "json" => run.line(&format!(
            "{{\n   \"Version\": \"{API_VERSION}\",\n   \"Revision\": \"\",\n   \"Prerelease\": \"\",\n   \"RPC\": {{\n      \"Default\": 2,\n      \"Min\": 2,\n      \"Max\": 3\n   }}\n}}"
        )),
        other => return Err(Failure::new(format!("Unknown format: {other}"))),
    }
    Ok(())
}

/// What `version` and `--version` print: the interface first, because clients read that line, then our own version.
pub fn version_text() -> String {
    format!("Consul v{API_VERSION}\nlictor v{}\n", env!("CARGO_PKG_VERSION"))
}

/// `info`.
pub fn info(run: &mut Invocation) -> Result<(), Failure> {
    let answer = run.client()?.json(Call::new("GET", "/v1/agent/self"));
    let answer = answer.map_err(|error| Failure::new(format!("Error querying agent: {error}")))?;
    let Some(stats) = answer.get("Stats").and_then(Value::as_object) else {
        return Err(Failure::new("Agent did not return stats"));
    };
    let mut families: Vec<_> = stats.iter().collect();
    families.sort_by_key(|(name, _)| name.as_str());
    for (name, values) in families {
        run.line(&format!("{name}:"));
        let mut lines: Vec<String> = values
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| format!("\t{key} = {}", text(values, key)))
            .collect();
        lines.sort();
        lines.iter().for_each(|line| run.line(line));
    }
    Ok(())
}

/// `keygen`.
pub fn keygen(run: &mut Invocation) -> Result<(), Failure> {
    let mut key = [0; 32];
    rand::rng().fill_bytes(&mut key);
    run.line(&STANDARD.encode(key));
    Ok(())
}

/// `reload`.
pub fn reload(run: &mut Invocation) -> Result<(), Failure> {
    tell(run, "/v1/agent/reload", "Error reloading")?;
    run.line("Configuration reload triggered");
    Ok(())
}

/// `leave`.
pub fn leave(run: &mut Invocation) -> Result<(), Failure> {
    let given = run.args().len();
    if given > 0 {
        return Err(super::command::too_many(0, given));
    }
    tell(run, "/v1/agent/leave", "Error leaving")?;
    run.line("Graceful leave complete");
    Ok(())
}

fn tell(run: &Invocation, path: &str, failing: &str) -> Result<(), Failure> {
    let answer = run.client()?.send(Call::new("PUT", path)).and_then(super::client::Answer::ok);
    answer.map(drop).map_err(|error| Failure::new(format!("{failing}: {error}")))
}

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

/// `maint`.
pub fn maint(run: &mut Invocation) -> Result<(), Failure> {
    let (enable, disable) = (run.flags.bool("enable"), run.flags.bool("disable"));
    let reason = run.flags.last("reason").unwrap_or_default().to_owned();
    let service = run.flags.last("service").unwrap_or_default().to_owned();
    if enable && disable {
        return Err(Failure::new("Only one of -enable or -disable may be provided"));
    }
    if !reason.is_empty() && !enable {
        return Err(Failure::new("Reason may only be provided with -enable"));
    }
    if !enable && !disable {
        return if service.is_empty() {
            show_maintenance(run)
        } else {
            Err(Failure::new("Service requires either -enable or -disable"))
        };
    }
    let (what, path) = match service.as_str() {
        "" => ("node", "/v1/agent/maintenance".to_owned()),
        id => ("service", format!("/v1/agent/service/maintenance/{}", escape_path(id))),
    };
    let mut call = Call::new("PUT", path).with("enable", enable.to_string());
    if enable {
        call = call.with("reason", reason);
    }
    let verb = if enable { "enabling" } else { "disabling" };
    let answer = run.client()?.send(call).and_then(super::client::Answer::ok);
    answer.map_err(|error| Failure::new(format!("Error {verb} {what} maintenance: {error}")))?;
    let state = if enable { "enabled" } else { "disabled" };
    run.line(&match service.as_str() {
        "" => format!("Node maintenance is now {state}"),
        id => format!("Service maintenance is now {state} for {}", crate::goflag::quote(id)),
    });
    Ok(())
}

fn show_maintenance(run: &mut Invocation) -> Result<(), Failure> {
    let client = run.client()?;
    let own = client.json(Call::new("GET", "/v1/agent/self"));
    let own = own.map_err(|error| Failure::new(format!("Error querying Consul agent: {error}")))?;
    let checks = client.json(Call::new("GET", "/v1/agent/checks"));
    let checks = checks.map_err(|error| Failure::new(format!("Error getting checks: {error}")))?;
    let node = own.get("Config").map(|config| text(config, "NodeName")).unwrap_or_default();
    for check in checks.as_object().into_iter().flatten().map(|(_, check)| check) {
        let (id, reason) = (text(check, "CheckID"), text(check, "Notes"));
        if id == "_node_maintenance" {
            run.line(&format!("Node:\n  Name:   {node}\n  Reason: {reason}\n"));
        } else if let Some(service) = id.strip_prefix("_service_maintenance:") {
            run.line(&format!("Service:\n  ID:     {service}\n  Reason: {reason}\n"));
        }
    }
    Ok(())
}

/// `monitor`.
pub fn monitor(run: &mut Invocation) -> Result<(), Failure> {
    let mut call = Call::new("GET", "/v1/agent/monitor");
    if let Some(level) = run.flags.last("log-level").filter(|level| !level.is_empty()) {
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
