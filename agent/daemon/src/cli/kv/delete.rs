//! `kv delete`: removes a key, or everything under a prefix.

use super::write;
use crate::cli::address::escape_path;
use crate::cli::client::Call;
use crate::cli::command::{Failure, Invocation, too_many};

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
    let failed = |error: String| match (recurse, cas) {
        (true, _) => Failure::new(format!("Error! Did not delete prefix {key}: {error}")),
        (false, true) => Failure::new(format!("Error! Did not delete key {key}: {error}")),
        (false, false) => Failure::new(format!("Error deleting key {key}: {error}")),
    };
    if !write(run, call).map_err(failed)? {
        return Err(Failure::new(format!("Error! Did not delete key {key}: CAS failed")));
    }
    let what = if recurse { "keys with prefix" } else { "key" };
    run.line(&format!("Success! Deleted {what}: {key}"));
    Ok(())
}
