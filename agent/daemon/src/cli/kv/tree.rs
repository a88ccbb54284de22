//! `kv export` and `kv import`: subtrees as JSON.
//!
//! The format is Consul's: a list of objects with key, flags and the value in base 64.

use serde_json::Value;

use super::{data_of, read, write};
use crate::cli::address::escape_path;
use crate::cli::base64;
use crate::cli::client::Call;
use crate::cli::command::{Failure, Invocation, text, too_many};
use crate::config::json_error;
use crate::definition::kind_of;

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
    for Entry { key, flags, value } in entries(&data)? {
        let value = base64::decode(value.as_bytes())
            .map_err(|error| Failure::new(format!("Error base 64 decoding value for key {key}: {error}")))?;
        let mut call = Call::new("PUT", format!("/v1/kv/{}", escape_path(&key))).body(value);
        if flags != 0 {
            call = call.with("flags", flags.to_string());
        }
        write(run, call).map_err(|error| Failure::new(format!("Error! Failed writing data for key {key}: {error}")))?;
        run.line(&format!("Imported: {key}"));
    }
    Ok(())
}

/// A key in an exported tree.
#[derive(Default)]
struct Entry {
    key: String,
    flags: u64,
    value: String,
}

/// Every entry of an exported tree. All are read before the first is written, so a mistake changes nothing.
fn entries(data: &[u8]) -> Result<Vec<Entry>, Failure> {
    let unreadable = |reason: String| Failure::new(format!("Cannot unmarshal data: {reason}"));
    let tree: Value =
        serde_json::from_slice(data).map_err(|error| unreadable(json_error::in_go_words(data, &error)))?;
    match &tree {
        Value::Null => Ok(Vec::new()),
        Value::Array(entries) => entries.iter().map(|value| entry(value).map_err(unreadable)).collect(),
        other => {
            Err(unreadable(format!("json: cannot unmarshal {} into Go value of type []*impexp.Entry", kind_of(other))))
        }
    }
}

fn entry(value: &Value) -> Result<Entry, String> {
    let members = value
        .as_object()
        .ok_or_else(|| format!("json: cannot unmarshal {} into Go value of type impexp.Entry", kind_of(value)))?;
    let mut entry = Entry::default();
    for (name, value) in members {
        let wrong = |field: &str, wanted: &str| {
            let found = if value.is_number() && wanted == "uint64" {
                format!("number {value}")
            } else {
                kind_of(value).to_owned()
            };
            format!("json: cannot unmarshal {found} into Go struct field Entry.{field} of type {wanted}")
        };
        // Names match whatever their case, and null leaves a field as it is, as with Go's decoder.
        match (name.to_lowercase().as_str(), value) {
            (_, Value::Null) => {}
            ("key", value) => entry.key = value.as_str().ok_or_else(|| wrong("key", "string"))?.to_owned(),
            ("flags", value) => entry.flags = value.as_u64().ok_or_else(|| wrong("flags", "uint64"))?,
            ("value", value) => entry.value = value.as_str().ok_or_else(|| wrong("value", "string"))?.to_owned(),
            _ => {}
        }
    }
    Ok(entry)
}
