//! `version`: whose interface this is, and which lictor.

use super::command::{Failure, Invocation};

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
