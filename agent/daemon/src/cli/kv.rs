//! `kv get`, `put`, `delete`, `export`, `import`.
//!
//! Owns what these print and how their arguments become requests.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::address::escape_path;
use super::client::Call;
use super::command::{Failure, Invocation, text, too_many};
use super::table;

/// `kv get`.
pub fn get(run: &mut Invocation) -> Result<(), Failure> {
    let key = match run.args() {
        [] => "",
        [key] => key,
        more => return Err(too_many(1, more.len())),
    }
    .to_owned();
    let (keys, recurse) = (run.flags.bool("keys"), run.flags.bool("recurse"));
    if key.is_empty() && !keys && !recurse {
        return Err(Failure::new("Error! Missing KEY argument"));
    }
    let key = key.strip_prefix('/').unwrap_or(&key).to_owned();
    let mut call = Call::new("GET", format!("/v1/kv/{}", escape_path(&key)));
    if keys {
        let separator = run.flags.last("separator").unwrap_or("/");
        call = call.with("keys", "").with("separator", separator);
    } else if recurse {
        call = call.with("recurse", "");
    }
    let entries = read(run, call)?;
    if keys {
        for name in entries.iter().filter_map(Value::as_str) {
            run.line(name);
        }
        return Ok(());
    }
    if !recurse && entries.is_empty() {
        return Err(Failure::new(format!("Error! No key exists at: {key}")));
    }
    print_entries(run, &entries, recurse)
}

fn print_entries(run: &mut Invocation, entries: &[Value], recurse: bool) -> Result<(), Failure> {
    let (detailed, encoded) = (run.flags.bool("detailed"), run.flags.bool("base64"));
    for (at, entry) in entries.iter().enumerate() {
        let value = shown_value(entry, encoded)?;
        if detailed {
            if at > 0 {
                run.line("");
            }
            let shown = detailed_entry(entry, &String::from_utf8_lossy(&value));
            run.line(&shown);
            continue;
        }
        if recurse {
            run.bytes(format!("{}:", text(entry, "Key")).as_bytes());
        }
        run.bytes(&value);
        run.line("");
    }
    Ok(())
}

fn shown_value(entry: &Value, encoded: bool) -> Result<Vec<u8>, Failure> {
    let value = text(entry, "Value");
    if encoded {
        return Ok(value.into_bytes());
    }
    STANDARD.decode(value).map_err(|_| Failure::new("Error! the agent's answer is not base 64"))
}

fn detailed_entry(entry: &Value, value: &str) -> String {
    let session = Some(text(entry, "Session")).filter(|session| !session.is_empty()).unwrap_or_else(|| "-".to_owned());
    let mut rows: Vec<(String, String)> = ["CreateIndex", "Flags", "Key", "LockIndex", "ModifyIndex"]
        .map(|name| (name.to_owned(), text(entry, name)))
        .into();
    rows.push(("Session".to_owned(), session));
    rows.push(("Value".to_owned(), value.to_owned()));
    table::pairs(&rows)
}

/// The entries of a read; none when the key does not exist.
fn read(run: &Invocation, call: Call) -> Result<Vec<Value>, Failure> {
    let failed = |error: String| Failure::new(format!("Error querying Consul agent: {error}"));
    let answer = run.client()?.send(call).map_err(failed)?;
    match answer.status {
        404 => Ok(Vec::new()),
        200 => Ok(answer.json().map_err(failed)?.as_array().cloned().unwrap_or_default()),
        status => Err(failed(format!("Unexpected response code: {status}"))),
    }
}

/// `kv put`.
pub fn put(run: &mut Invocation) -> Result<(), Failure> {
    let (key, data) = match run.args() {
        [] => return Err(Failure::new("Error! Missing KEY argument")),
        [key] => (key.clone(), Vec::new()),
        [key, data] => (key.clone(), data_of(data)?),
        more => return Err(Failure::new(format!("Error! Too many arguments (expected 1 or 2, got {})", more.len()))),
    };
    let flags = &run.flags;
    let session = flags.last("session").unwrap_or_default().to_owned();
    let (cas, acquire, release) = (flags.bool("cas"), flags.bool("acquire"), flags.bool("release"));
    if cas && flags.uint("modify-index") == 0 {
        return Err(Failure::new("Must specify -modify-index with -cas!"));
    }
    if (acquire || release) && session.is_empty() {
        return Err(Failure::new("Error! Missing -session (required with -acquire and -release)"));
    }
    let data = decoded(data, flags.bool("base64"))?;
    if key.starts_with('/') {
        return Err(Failure::new(format!(
            "Error! Failed writing data: Invalid key. Key must not begin with a '/': {key}"
        )));
    }
    let mut call = Call::new("PUT", format!("/v1/kv/{}", escape_path(&key))).body(data);
    if flags.uint("flags") != 0 {
        call = call.with("flags", flags.uint("flags").to_string());
    }
    if cas {
        call = call.with("cas", flags.uint("modify-index").to_string());
    } else if acquire {
        call = call.with("acquire", session);
    } else if release {
        call = call.with("release", session);
    }
    let written = write(run, call).map_err(|error| Failure::new(format!("Error! Failed writing data: {error}")))?;
    let refused = format!("Error! Did not write to {key}: CAS failed");
    let (done, refused) = match (cas, acquire, release) {
        (true, _, _) => (format!("Success! Data written to: {key}"), refused),
        (_, true, _) => (format!("Success! Lock acquired on: {key}"), "Error! Did not acquire lock".to_owned()),
        (_, _, true) => (format!("Success! Lock released on: {key}"), "Error! Did not release lock".to_owned()),
        _ => (format!("Success! Data written to: {key}"), refused),
    };
    if !written {
        return Err(Failure::new(refused));
    }
    run.line(&done);
    Ok(())
}

fn decoded(data: Vec<u8>, encoded: bool) -> Result<Vec<u8>, Failure> {
    if !encoded {
        return Ok(data);
    }
    STANDARD
        .decode(&data)
        .map_err(|error| Failure::new(format!("Error! Cannot base 64 decode data: {}", base64_error(&error))))
}

/// A decoding failure as Go words it.
fn base64_error(error: &base64::DecodeError) -> String {
    let at = match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => *at,
        base64::DecodeError::InvalidLength(length) => *length,
        base64::DecodeError::InvalidPadding => 0,
    };
    format!("illegal base64 data at input byte {at}")
}

/// Sends a write; whether the agent carried it out.
fn write(run: &Invocation, call: Call) -> Result<bool, String> {
    let client = run.client().map_err(|failure| failure.message)?;
    Ok(client.send(call)?.ok()?.body.starts_with(b"true"))
}

/// The data of an argument: `@file`, `-` for standard input, or the text itself.
fn data_of(argument: &str) -> Result<Vec<u8>, Failure> {
    let mut data = Vec::new();
    match argument.strip_prefix('@') {
        Some(path) if !path.is_empty() => {
            let failed =
                |error| format!("Error! Failed to read file: open {path}: {}", super::client::go_io_error(&error));
            data = std::fs::read(path).map_err(|error| Failure::new(failed(error)))?;
        }
        _ if argument == "-" => {
            let read = std::io::stdin().read_to_end(&mut data);
            read.map_err(|error| Failure::new(format!("Error! Failed to read stdin: {error}")))?;
        }
        _ => data = argument.as_bytes().to_vec(),
    }
    Ok(data)
}

/// `kv delete`.
pub fn delete(run: &mut Invocation) -> Result<(), Failure> {
    let key = match run.args() {
        [] => String::new(),
        [key] => key.clone(),
        more => return Err(too_many(1, more.len())),
    };
    let (cas, recurse, index) = (run.flags.bool("cas"), run.flags.bool("recurse"), run.flags.uint("modify-index"));
    let refusal = match (cas, recurse) {
        (_, false) if key.is_empty() => Some("Error! Missing KEY argument"),
        (true, _) if index == 0 => Some("Must specify -modify-index with -cas!"),
        (true, true) => Some("Cannot specify both -cas and -recurse!"),
        (false, _) if index != 0 => Some("Cannot specify -modify-index without -cas!"),
        _ => None,
    };
    if let Some(refusal) = refusal {
        return Err(Failure::new(refusal));
    }
    let key = key.strip_prefix('/').unwrap_or(&key).to_owned();
    let mut call = Call::new("DELETE", format!("/v1/kv/{}", escape_path(&key)));
    if recurse {
        call = call.with("recurse", "");
    } else if cas {
        call = call.with("cas", index.to_string());
    }
    let failed = |error| Failure::new(format!("Error! Did not delete key {key}: {error}"));
    if !write(run, call).map_err(failed)? {
        return Err(failed("CAS failed".to_owned()));
    }
    let what = if recurse { "keys with prefix" } else { "key" };
    run.line(&format!("Success! Deleted {what}: {key}"));
    Ok(())
}

/// `kv export`.
pub fn export(run: &mut Invocation) -> Result<(), Failure> {
    let prefix = match run.args() {
        [] => String::new(),
        [prefix] => prefix.clone(),
        more => return Err(too_many(1, more.len())),
    };
    let prefix = prefix.strip_prefix('/').unwrap_or(&prefix).to_owned();
    let entries = read(run, Call::new("GET", format!("/v1/kv/{}", escape_path(&prefix))).with("recurse", ""))?;
    let exported: Vec<String> = entries
        .iter()
        .map(|entry| {
            let key = Value::String(text(entry, "Key")).to_string();
            format!(
                "\t{{\n\t\t\"key\": {},\n\t\t\"flags\": {},\n\t\t\"value\": \"{}\"\n\t}}",
                go_html(&key),
                text(entry, "Flags"),
                text(entry, "Value")
            )
        })
        .collect();
    run.line(&if exported.is_empty() { "[]".to_owned() } else { format!("[\n{}\n]", exported.join(",\n")) });
    Ok(())
}

/// JSON with the characters escaped that Go's encoder escapes for HTML.
fn go_html(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// `kv import`.
pub fn import(run: &mut Invocation) -> Result<(), Failure> {
    let data = match run.args() {
        [] => return Err(Failure::new("Error! Missing DATA argument")),
        [data] if data.is_empty() => return Err(Failure::new("Error! Empty DATA argument")),
        [data] => data_of(data)?,
        more => return Err(Failure::new(format!("Error! Too many arguments (expected 1, got {})", more.len()))),
    };
    let entries: Vec<Value> = serde_json::from_slice(&data).map_err(|error| {
        let reason = if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() };
        Failure::new(format!("Cannot unmarshal data: {reason}"))
    })?;
    for entry in entries {
        let key = text(&entry, "key");
        let value = STANDARD.decode(text(&entry, "value")).map_err(|error| {
            Failure::new(format!("Error base 64 decoding value for key {key}: {}", base64_error(&error)))
        })?;
        let mut call = Call::new("PUT", format!("/v1/kv/{}", escape_path(&key))).body(value);
        let flags = entry.get("flags").and_then(Value::as_u64).unwrap_or(0);
        if flags != 0 {
            call = call.with("flags", flags.to_string());
        }
        write(run, call).map_err(|error| Failure::new(format!("Error! Failed writing data for key {key}: {error}")))?;
        run.line(&format!("Imported: {key}"));
    }
    Ok(())
}
