//! `plugin list`, `plugin show`, `plugin remove`: what the servers keep.

use agent_core::state::plugin::check_name;
use serde::de::DeserializeOwned;

use super::super::client::{Call, Client};
use super::super::command::{Failure, Invocation};
use super::super::table;
use super::only_word;
use crate::http::plugin_view::{PluginView, VersionView};

/// The digits of a digest that are shown in tables.
const SHORT_DIGITS: usize = 12;

/// `plugin list`.
pub fn list(run: &mut Invocation) -> Result<(), Failure> {
    run.no_args()?;
    let failed = |error| Failure::new(format!("Error listing plugins: {error}"));
    let plugins: Vec<PluginView> = read(&run.client()?, "/v1/plugins").map_err(failed)?;
    let mut rows = vec![["Name", "Version", "Digest", "Size", "Signed", "Summary"].map(str::to_owned).to_vec()];
    rows.extend(plugins.iter().map(|plugin| {
        let signed = if plugin.key.is_empty() { "no" } else { "yes" };
        let cells = [&plugin.name, &or_dash(&plugin.version), short(&plugin.digest), &plugin.size.to_string(), signed];
        cells.into_iter().chain([plugin.summary.as_str()]).map(str::to_owned).collect()
    }));
    if !plugins.is_empty() {
        run.line(&table::columns(&rows));
    }
    Ok(())
}

/// `plugin show`.
pub fn show(run: &mut Invocation) -> Result<(), Failure> {
    let name = name(run)?;
    let client = run.client()?;
    let answer = client.send(Call::new("GET", format!("/v1/plugin/name/{name}")));
    let answer = answer.map_err(|error| failed_to_read(&name, error))?;
    if answer.status == 404 {
        return Err(Failure::new(format!("There is no plugin {name}")));
    }
    let answer = answer.ok().map_err(|error| failed_to_read(&name, error))?;
    let plugin: PluginView =
        serde_json::from_slice(&answer.body).map_err(|error| failed_to_read(&name, error.to_string()))?;
    let pairs = [
        ("Name", plugin.name.clone()),
        ("Version", or_dash(&plugin.version)),
        ("Summary", or_dash(&plugin.summary)),
        ("Digest", plugin.digest.clone()),
        ("Size", plugin.size.to_string()),
        ("Signed by", or_dash(&plugin.key)),
        ("CreateIndex", plugin.create_index.to_string()),
        ("ModifyIndex", plugin.modify_index.to_string()),
    ];
    run.line(&table::pairs(&pairs.map(|(key, value)| (key.to_owned(), value))));
    run.line("");
    let mut rows = vec![["Version", "Size", "Published", "Runs", "Digest"].map(str::to_owned).to_vec()];
    rows.extend(plugin.versions.iter().map(|version| row(version, &plugin.digest)));
    run.line(&table::columns(&rows));
    if plugin.versions.iter().all(|version| version.digest != plugin.digest) {
        run.remark(&format!("The key lictor/plugins/{name} names none of these files: agents keep what they run."));
    }
    Ok(())
}

/// `plugin remove`.
pub fn remove(run: &mut Invocation) -> Result<(), Failure> {
    let name = name(run)?;
    let client = run.client()?;
    let path = format!("/v1/plugin/name/{name}");
    let failed = |error| Failure::new(format!("Error removing plugin {name}: {error}"));
    let answer = client.send(Call::new("GET", path.clone())).map_err(failed)?;
    if answer.status == 404 {
        return Err(Failure::new(format!("There is no plugin {name}")));
    }
    client.send(Call::new("DELETE", path)).and_then(|answer| answer.ok()).map_err(failed)?;
    run.line(&format!("Removed plugin {name}"));
    Ok(())
}

fn row(version: &VersionView, wanted: &str) -> Vec<String> {
    let runs = if version.digest == wanted { "yes" } else { "no" };
    vec![
        or_dash(&version.version),
        version.size.to_string(),
        version.publish_index.to_string(),
        runs.to_owned(),
        version.digest.clone(),
    ]
}

fn name(run: &Invocation) -> Result<String, Failure> {
    let name = only_word(run, "NAME")?;
    check_name(&name).map_err(Failure::new)?;
    Ok(name)
}

fn read<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, String> {
    let answer = client.send(Call::new("GET", path))?.ok()?;
    serde_json::from_slice(&answer.body).map_err(|error| format!("the agent's answer makes no sense: {error}"))
}

fn failed_to_read(name: &str, error: String) -> Failure {
    Failure::new(format!("Error reading plugin {name}: {error}"))
}

fn short(digest: &str) -> &str {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    digits.get(..SHORT_DIGITS).unwrap_or(digits)
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}
