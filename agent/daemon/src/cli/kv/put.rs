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
    let intent = match (cas, acquire, release) {
        (true, _, _) => Intent::Compare,
        (false, true, _) => Intent::Acquire,
        (false, false, true) => Intent::Release,
        (false, false, false) => Intent::Set,
    };
    call = match intent {
        Intent::Compare => call.with("cas", flags.uint("modify-index").to_string()),
        Intent::Acquire => call.with("acquire", session),
        Intent::Release => call.with("release", session),
        Intent::Set => call,
    };
    let written = write(run, call).map_err(|error| intent.failed(&key, &error))?;
    if !written {
        return Err(intent.refused(&key));
    }
    run.line(&intent.done(&key));
    Ok(())
}

/// What a write is for, which decides the words about it.
enum Intent {
    Set,
    Compare,
    Acquire,
    Release,
}

impl Intent {
    fn failed(&self, key: &str, error: &str) -> Failure {
        Failure::new(match self {
            Intent::Compare => format!("Error! Did not write to {key}: {error}"),
            Intent::Set | Intent::Acquire | Intent::Release => format!("Error! Failed writing data: {error}"),
        })
    }

    fn refused(&self, key: &str) -> Failure {
        Failure::new(match self {
            Intent::Set | Intent::Compare => format!("Error! Did not write to {key}: CAS failed"),
            Intent::Acquire => "Error! Did not acquire lock".to_owned(),
            Intent::Release => "Error! Did not release lock".to_owned(),
        })
    }

    fn done(&self, key: &str) -> String {
        match self {
            Intent::Set | Intent::Compare => format!("Success! Data written to: {key}"),
            Intent::Acquire => format!("Success! Lock acquired on: {key}"),
            Intent::Release => format!("Success! Lock released on: {key}"),
        }
    }
}
