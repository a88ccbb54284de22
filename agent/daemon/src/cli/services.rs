//! `services register` and `services deregister`, by flags or from definition files.
//!
//! Sends definitions as they are written; the agent checks their fields.

use std::path::Path;

use agent_core::hcl;
use serde_json::{Map, Value, json};

use super::address::escape_path;
use super::client::{Answer, Call, go_io_error};
use super::command::{Failure, Invocation, text};

/// `services register`.
pub fn register(run: &mut Invocation) -> Result<(), Failure> {
    let name = run.flags.last("name").unwrap_or_default().to_owned();
    if run.args().is_empty() && name.is_empty() {
        return Err(Failure::new("Service registration requires at least one argument or flags."));
    }
    if !run.args().is_empty() && !name.is_empty() {
        return Err(Failure::new("Service registration requires arguments or -id, not both."));
    }
    let services = if name.is_empty() { from_files(run.args())? } else { vec![from_flags(run, &name)?] };
    let client = run.client()?;
    for service in services {
        let name = text(&service, "name");
        let call = Call::new("PUT", "/v1/agent/service/register").body(service.to_string().into_bytes());
        client.send(call).and_then(Answer::ok).map_err(|error| {
            Failure::new(format!("Error registering service {}: {error}", crate::goflag::quote(&name)))
        })?;
        run.line(&format!("Registered service: {name}"));
    }
    Ok(())
}

fn from_flags(run: &Invocation, name: &str) -> Result<Value, Failure> {
    let flag = |name: &str| run.flags.last(name).unwrap_or_default();
    let port: i64 = match flag("port") {
        "" => 0,
        port => {
            port.parse().map_err(|_| Failure::new(format!("invalid value \"{port}\" for flag -port: parse error")))?
        }
    };
    let mut meta = Map::new();
    for pair in run.flags.all("meta") {
        let (key, value) = super::split_pair("meta", pair)?;
        meta.insert(key.to_owned(), json!(value));
    }
    let mut tagged = Map::new();
    for pair in run.flags.all("tagged-address") {
        let (key, address) = super::split_pair("tagged-address", pair)?;
        let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        let (host, port) = parts.ok_or_else(|| {
            Failure::new(format!("Invalid Tagged Address: address {address}: missing port in address"))
        })?;
        tagged.insert(key.to_owned(), json!({ "Address": host.trim_matches(['[', ']']), "Port": port }));
    }
    Ok(json!({
        "kind": flag("kind"), "id": flag("id"), "name": name, "address": flag("address"), "port": port,
        "tags": run.flags.all("tag"), "meta": meta, "tagged_addresses": tagged,
    }))
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
    let ids = if id.is_empty() {
        from_files(run.args())?
            .iter()
            .map(|service| {
                Some(text(service, "id")).filter(|id| !id.is_empty()).unwrap_or_else(|| text(service, "name"))
            })
            .collect()
    } else {
        vec![id]
    };
    let client = run.client()?;
    for id in ids {
        let call = Call::new("PUT", format!("/v1/agent/service/deregister/{}", escape_path(&id)));
        client.send(call).and_then(Answer::ok).map_err(|error| {
            Failure::new(format!("Error registering service {}: {error}", crate::goflag::quote(&id)))
        })?;
        run.line(&format!("Deregistered service: {id}"));
    }
    Ok(())
}

/// Every service defined in the files and in the `.hcl` and `.json` files of the directories.
fn from_files(paths: &[String]) -> Result<Vec<Value>, Failure> {
    let mut services = Vec::new();
    for path in paths {
        let failed = |error: std::io::Error| {
            Failure::new(format!("Error: config: Open failed on {path}. open {path}: {}", go_io_error(&error)))
        };
        if Path::new(path).is_dir() {
            let entries = std::fs::read_dir(path).map_err(failed)?;
            let mut files: Vec<String> =
                entries.flatten().map(|entry| entry.path().to_string_lossy().into_owned()).collect();
            files.retain(|file| file.ends_with(".json") || file.ends_with(".hcl"));
            files.sort();
            for file in files {
                services.extend(definitions(&file, &std::fs::read_to_string(&file).map_err(failed)?)?);
            }
        } else {
            services.extend(definitions(path, &std::fs::read_to_string(path).map_err(failed)?)?);
        }
    }
    Ok(services)
}

fn definitions(path: &str, content: &str) -> Result<Vec<Value>, Failure> {
    let parsed = if path.ends_with(".json") { hcl::parse_json(content) } else { hcl::parse(content) };
    let document = parsed.map_err(|error| Failure::new(format!("Error: failed to parse {path}: {error}")))?;
    let mut found = Vec::new();
    for key in ["service", "services"] {
        match document.get(key) {
            Some(Value::Array(several)) => found.extend(several.iter().cloned()),
            Some(one) if one.is_object() => found.push(one.clone()),
            _ => {}
        }
    }
    Ok(found)
}
