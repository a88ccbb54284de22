//! `kv get`: prints a value, a subtree or names.
//!
//! Only how entries look is decided here; which there are is the agent's answer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::read;
use crate::cli::address::escape_path;
use crate::cli::client::Call;
use crate::cli::command::{Failure, Invocation, text, too_many};
use crate::cli::table;

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
