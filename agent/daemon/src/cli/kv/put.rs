//! `kv put`: writes a key, by comparison or under a lock if asked.

use super::{data_of, write};
use crate::cli::address::escape_path;
use crate::cli::base64;
use crate::cli::client::Call;
use crate::cli::command::{Failure, Invocation};

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
    let data = if flags.bool("base64") {
        base64::decode(&data).map_err(|error| Failure::new(format!("Error! Cannot base 64 decode data: {error}")))?
    } else {
        data
    };
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
    let intent = Intent { cas, acquire, release };
    let written = write(run, call).map_err(|error| intent.failed(&key, &error))?;
    if !written {
        return Err(intent.refused(&key));
    }
    run.line(&intent.done(&key));
    Ok(())
}

/// What a write is for, which decides the words about it. The first that is set counts.
struct Intent {
    cas: bool,
    acquire: bool,
    release: bool,
}

impl Intent {
    fn failed(&self, key: &str, error: &str) -> Failure {
        Failure::new(match self.cas {
            true => format!("Error! Did not write to {key}: {error}"),
            false => format!("Error! Failed writing data: {error}"),
        })
    }

    fn refused(&self, key: &str) -> Failure {
        Failure::new(match self {
            Intent { cas: false, acquire: true, .. } => "Error! Did not acquire lock".to_owned(),
            Intent { cas: false, release: true, .. } => "Error! Did not release lock".to_owned(),
            _ => format!("Error! Did not write to {key}: CAS failed"),
        })
    }

    fn done(&self, key: &str) -> String {
        match self {
            Intent { cas: false, acquire: true, .. } => format!("Success! Lock acquired on: {key}"),
            Intent { cas: false, release: true, .. } => format!("Success! Lock released on: {key}"),
            _ => format!("Success! Data written to: {key}"),
        }
    }
}
