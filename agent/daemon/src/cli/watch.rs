//! `watch`: prints what is watched, or runs a program whenever it changes.

use crate::watch::{Fields, Plan, Progress, Script};
use serde_json::Value;

use super::client::{Call, Client};
use super::command::{Failure, Invocation};

/// The flags that become fields of a plan as they are.
const TEXTS: [&str; 7] = ["type", "key", "prefix", "service", "state", "name", "token"];

/// `watch`.
pub fn watch(run: &mut Invocation) -> Result<(), Failure> {
    let plan = plan(run)?;
    let script = Script { args: run.args().to_vec(), shell: run.flags.last("shell") != Some("false") };
    let client = run.client()?;
    client
        .json(Call::new("GET", "/v1/agent/self"))
        .map_err(|error| Failure::new(format!("Error querying Consul agent: {error}")))?;
    if script.args.is_empty() {
        let (_, value) = ask(&client, &plan, 0).map_err(Failure::new)?;
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let written =
            serde::Serialize::serialize(&value, &mut serde_json::Serializer::with_formatter(&mut text, formatter));
        written.expect("a JSON value is always JSON");
        run.line(&String::from_utf8_lossy(&text));
        return Ok(());
    }
    follow(run, &client, &plan, &script)
}

fn plan(run: &Invocation) -> Result<Plan, Failure> {
    let mut fields = Fields::default();
    for name in TEXTS {
        if let Some(text) = run.flags.last(name).filter(|text| !text.is_empty()) {
            fields.set(name, text);
        }
    }
    if run.flags.last("type").unwrap_or_default().is_empty() {
        return Err(Failure::new(format!("Watch type must be specified\n\n{}", run.help)));
    }
    let tags = run.flags.all("tag");
    if !tags.is_empty() {
        fields.set("tag", tags.to_vec());
    }
    if let Some(text) = run.flags.last("passingonly").filter(|text| !text.is_empty()) {
        let passing = crate::http::catalog_listing::go_bool(text).ok_or_else(|| {
            let reason = format!("strconv.ParseBool: parsing {text:?}: invalid syntax");
            Failure::new(format!("Failed to parse passingonly flag: {reason}"))
        })?;
        fields.set("passingonly", passing);
    }
    let plan = Plan::take(&mut fields).map_err(Failure::new)?;
    fields.refuse_rest().map_err(Failure::new)?;
    Ok(plan)
}

fn ask(client: &Client, plan: &Plan, index: u64) -> Result<(u64, Value), String> {
    let (path, query) = plan.request(index);
    let call = query.into_iter().fold(Call::new("GET", path), |call, (name, value)| call.with(&name, value));
    let answer = client.send(call)?;
    Ok((answer.index, plan.read(index, answer.status, &answer.body)?))
}

/// Runs the program for every change until it fails.
fn follow(run: &mut Invocation, client: &Client, plan: &Plan, script: &Script) -> Result<(), Failure> {
    let mut progress = Progress::default();
    loop {
        match ask(client, plan, progress.index()) {
            Ok((index, value)) => {
                let Some(news) = progress.answered(index, value) else { continue };
                let input = format!("{news}\n");
                let ran = client.wait_for(script.run(Some(index), input.as_bytes(), false));
                let ran = ran.map_err(|error| Failure::new(format!("Error starting handler: {error}")))?;
                ran.result().map_err(|error| Failure::new(format!("Error executing handler: {error}")))?;
            }
            Err(error) => {
                let retry = progress.failed();
                run.remark(&format!("Watch errored: {error}, retry in {}s", retry.as_secs()));
                client.wait_for(tokio::time::sleep(retry));
            }
        }
    }
}
