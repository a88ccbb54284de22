//! `maint`: maintenance of the node or of a service, begun, ended or shown.
//!
//! Which checks mean maintenance is told by their ids alone.

use super::address::escape_path;
use super::client::{Answer, Call};
use super::command::{Failure, Invocation, text};

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
    switch(run, enable, &service, reason)
}

fn switch(run: &mut Invocation, enable: bool, service: &str, reason: String) -> Result<(), Failure> {
    let (what, path) = match service {
        "" => ("node", "/v1/agent/maintenance".to_owned()),
        id => ("service", format!("/v1/agent/service/maintenance/{}", escape_path(id))),
    };
    let mut call = Call::new("PUT", path).with("enable", enable.to_string());
    if enable {
        call = call.with("reason", reason);
    }
    let verb = if enable { "enabling" } else { "disabling" };
    let answer = run.client()?.send(call).and_then(Answer::ok);
    answer.map_err(|error| Failure::new(format!("Error {verb} {what} maintenance: {error}")))?;
    let state = if enable { "enabled" } else { "disabled" };
    run.line(&match service {
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
