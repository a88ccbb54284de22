//! `kv get`, `put`, `delete`, `export`, `import`: one file per command.
//!
//! Owns what they share: reads, writes, and where data comes from.

mod delete;
mod get;
mod put;
mod tree;

use std::io::Read;

use serde_json::Value;

use super::client::{Answer, Call, go_io_error};
use super::command::{Failure, Invocation};

pub use delete::delete;
pub use get::get;
pub use put::put;
pub use tree::{export, import};

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

/// Sends a write; whether the agent carried it out.
fn write(run: &Invocation, call: Call) -> Result<bool, String> {
    let client = run.client().map_err(|failure| failure.message)?;
    Ok(client.send(call).and_then(Answer::ok)?.body.starts_with(b"true"))
}

/// The data of an argument: `@file`, `-` for standard input, or the text itself.
fn data_of(argument: &str) -> Result<Vec<u8>, Failure> {
    let mut data = Vec::new();
    match argument.strip_prefix('@') {
        Some(path) => {
            let failed = |error| format!("Error! Failed to read file: open {path}: {}", go_io_error(&error));
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
