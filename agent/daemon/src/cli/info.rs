//! `info`: the agent's own figures, as it keeps them.
//!
//! Prints whatever families and keys the agent gives; knows none of them.

use serde_json::Value;

use super::client::Call;
use super::command::{Failure, Invocation, text};

/// `info`.
pub fn info(run: &mut Invocation) -> Result<(), Failure> {
    let answer = run.client()?.json(Call::new("GET", "/v1/agent/self"));
    let answer = answer.map_err(|error| Failure::new(format!("Error querying agent: {error}")))?;
    let Some(stats) = answer.get("Stats").and_then(Value::as_object) else {
        return Err(Failure::new("Agent did not return stats"));
    };
    let mut families: Vec<_> = stats.iter().collect();
    families.sort_by_key(|(name, _)| name.as_str());
    for (name, values) in families {
        run.line(&format!("{name}:"));
        let mut lines: Vec<String> = values
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| format!("\t{key} = {}", text(values, key)))
            .collect();
        lines.sort();
        lines.iter().for_each(|line| run.line(line));
    }
    Ok(())
}
