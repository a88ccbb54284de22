//! `plugin`: plugins as people handle them: files here, and what the servers keep.
//!
//! Owns what the sub-commands share. Sending is in [`push`], keys and signatures
//! in [`sign`], what is there in [`show`].

pub mod compile;
pub mod new;
pub mod push;
mod read_api;
pub mod rows;
pub mod run;
pub mod show;
pub mod sign;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use agent_core::plugin::signature::Signature;
use agent_core::state::plugin::FILE_BYTES_MAX;
use agent_wasm::{Host, HostSettings, LogLine, Plugin, PluginLog, SystemLookup};

use super::client::go_io_error;
use super::command::{Failure, Invocation};
use crate::checks::TlsConnector;
use crate::plugin::trust::{SIG_FILE_BYTES_MAX, parse_sig_file};

/// The only word of a command, which stands for `what`.
fn only_word(run: &Invocation, what: &str) -> Result<String, Failure> {
    match run.args() {
        [] => Err(Failure::new(format!("Missing {what} argument"))),
        [word] => Ok(word.clone()),
        words => Err(super::command::too_many(1, words.len())),
    }
}

/// A plugin's file.
fn read_plugin(path: &str) -> Result<Vec<u8>, Failure> {
    let bytes = read(path, FILE_BYTES_MAX)?;
    if bytes.is_empty() {
        return Err(Failure::new(format!("{path} is empty")));
    }
    Ok(bytes)
}

/// A `.sig` file.
fn read_signature(path: &str) -> Result<Signature, Failure> {
    let bytes = read(path, SIG_FILE_BYTES_MAX)?;
    parse_sig_file(&String::from_utf8_lossy(&bytes)).map_err(|reason| Failure::new(format!("{path}: {reason}")))
}

/// A file of at most `bytes_max` bytes.
fn read(path: &str, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("open {path}: {}", go_io_error(&error)));
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Failure::new(format!("{path} has more than {bytes_max} bytes, which is the most it may have")));
    }
    Ok(bytes)
}

/// Memory that a command gives to one run at most, in bytes.
const MEMORY_BYTES_MAX: u64 = 2 << 30;

/// Loads a plugin in this process. Whoever names a file to a command wants it run, also when it was compiled ahead.
async fn load(component: Vec<u8>) -> Result<Plugin, String> {
    let settings = HostSettings {
        cache: None,
        memory_bytes_max: MEMORY_BYTES_MAX,
        http_tls: TlsConnector::default().client_config().await?,
        log: Arc::new(StandardError),
        lookup: Arc::new(SystemLookup),
    };
    let host = Host::new(settings).map_err(|error| error.to_string())?;
    host.load_trusted(component).await.map_err(|error| error.to_string())
}

/// Shows the lines of a plugin as they come.
struct StandardError;

impl PluginLog for StandardError {
    fn line(&self, line: &LogLine<'_>) {
        eprintln!("{:?}: {}", line.level, line.message);
    }
}
