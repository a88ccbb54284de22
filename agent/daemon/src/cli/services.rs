//! `services register` and `services deregister`, by flags or from definition files.
//!
//! Sends definitions as they are written; the agent checks their fields.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::address::escape_path;
use super::client::{Answer, Call};
use super::command::{Failure, Invocation, text};
use crate::{config, goflag};

/// `services register`.
pub fn register(run: &mut Invocation) -> Result<(), Failure> {
    let name = run.flags.last("name").unwrap_or_default().to_owned();
    if run.args().is_empty() && name.is_empty() {
        return Err(Failure::new("Service registration requires at least one argument or flags."));
    }
    if !run.args().is_empty() && !name.is_empty() {
        return Err(Failure::new("Service registration requires arguments or -id, not both."));
    }
    let services = if name.is_empty() { from_files(run)? } else { vec![from_flags(run, &name)?] };
    let client = run.client()?;
    for service in services {
        let name = text(&service, "name");
        let call = Call::new("PUT", "/v1/agent/service/register").body(service.to_string().into_bytes());
        client
            .send(call)
            .and_then(Answer::ok)
            .map_err(|error| Failure::new(format!("Error registering service {}: {error}", goflag::quote(&name))))?;
        run.line(&format!("Registered service: {name}"));
    }
    Ok(())
}

fn from_flags(run: &Invocation, name: &str) -> Result<Value, Failure> {
    let flag = |name: &str| run.flags.last(name).unwrap_or_default();
    let meta: Map<String, Value> = run.flags.pairs("meta").map(|(key, value)| (key.to_owned(), json!(value))).collect();
    let mut tagged = Map::new();
    for (key, address) in run.flags.pairs("tagged-address") {
        let (host, port) =
            host_and_port(address).map_err(|reason| Failure::new(format!("Invalid Tagged Address: {reason}")))?;
        tagged.insert(key.to_owned(), json!({ "Address": host, "Port": port }));
    }
    Ok(json!({
        "kind": flag("kind"), "id": flag("id"), "name": name, "address": flag("address"),
        "port": run.flags.int("port"), "tags": run.flags.all("tag"), "meta": meta, "tagged_addresses": tagged,
    }))
}

/// The halves of `host:port`; the texts of mistakes are Go's.
fn host_and_port(address: &str) -> Result<(&str, i64), String> {
    let (host, port) = address.rsplit_once(':').ok_or_else(|| format!("address {address}: missing port in address"))?;
    let number = port.parse().map_err(|_| {
        let quoted = goflag::quote(port);
        format!("strconv.Atoi: parsing {quoted}: invalid syntax")
    })?;
    Ok((host.trim_matches(['[', ']']), number))
}

/// `services deregister`.
pub fn deregister(run: &mut Invocation) -> Result<(), Failure> {
    let id = run.flags.last("id").unwrap_or_default().to_owned();
    if run.args().is_empty() && id.is_empty() {
        return Err(Failure::new("Service deregistration requires at least one argument or -id."));
    }
    if !run.args().is_empty() && !id.is_empty() {
        return Err(Failure::new("Service deregistration requires arguments or -id, not both."));
    }
    // The name is for the text of a failure, and unknown when there is only an id.
    let named: Vec<(String, String)> = if id.is_empty() {
        from_files(run)?.iter().map(|service| (id_of(service), text(service, "name"))).collect()
    } else {
        vec![(id, String::new())]
    };
    let client = run.client()?;
    for (id, name) in named {
        let call = Call::new("PUT", format!("/v1/agent/service/deregister/{}", escape_path(&id)));
        client
            .send(call)
            .and_then(Answer::ok)
            .map_err(|error| Failure::new(format!("Error registering service {}: {error}", goflag::quote(&name))))?;
        run.line(&format!("Deregistered service: {id}"));
    }
    Ok(())
}

fn id_of(service: &Value) -> String {
    Some(text(service, "id")).filter(|id| !id.is_empty()).unwrap_or_else(|| text(service, "name"))
}

/// Every service defined in the files and folders given. Files that are passed over are named.
fn from_files(run: &mut Invocation) -> Result<Vec<Value>, Failure> {
    let paths: Vec<PathBuf> = run.args().iter().map(PathBuf::from).collect();
    let (services, warnings) =
        config::service_definitions(&paths).map_err(|error| Failure::new(format!("Error: {error}")))?;
    for warning in warnings {
        run.remark(&warning);
    }
    Ok(services.into_iter().map(for_the_api).collect())
}

/// A definition of a file as the API takes it: what files call the id of a check has another name there.
fn for_the_api(mut service: Value) -> Value {
    for name in ["check", "checks"] {
        let checks: &mut [Value] = match service.get_mut(name) {
            Some(Value::Array(checks)) => checks,
            Some(check) => std::slice::from_mut(check),
            None => &mut [],
        };
        for check in checks.iter_mut().filter_map(Value::as_object_mut) {
            if let Some(id) = check.remove("id") {
                check.insert("check_id".to_owned(), id);
            }
        }
    }
    service
}
