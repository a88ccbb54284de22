//! `watch`: prints what is watched, or runs a program whenever it changes.
//!
//! Goes on through failures of the agent, and ends well when it is asked to end.

use std::time::Duration;

use agent_core::duration;
use serde_json::Value;

use super::client::{Answer, Call, Client};
use super::command::{Failure, Invocation};
use super::signals::{Signals, pass_on};
use crate::env::{Clock, SystemClock};
use crate::telemetry::{Level, log};
use crate::watch::handler::{Ran, feed};
use crate::watch::{Fields, Plan, Progress, Script};

/// The flags that become fields of a plan as they are.
const TEXTS: [&str; 7] = ["type", "key", "prefix", "service", "state", "name", "token"];

/// `watch`.
pub fn watch(run: &mut Invocation) -> Result<(), Failure> {
    let plan = plan(run)?;
    let script = Script { args: run.args().to_vec(), shell: run.flags.last("shell") != Some("false") };
    let client = run.client()?;
    client.wait_for(async {
        let mut signals = Signals::listen()?;
        follow(run, &client, &plan, &script, &mut signals).await
    })
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

/// Prints what is there, or runs the program for every change until it fails. Ends when a signal asks for it.
async fn follow(
    run: &mut Invocation<'_>,
    client: &Client,
    plan: &Plan,
    script: &Script,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let Ok(greeted) = signals.unless_asked(greet(client)).await else { return Ok(()) };
    greeted?;
    let kind = run.flags.last("type").unwrap_or_default().to_owned();
    let mut progress = Progress::default();
    loop {
        let Ok(answer) = signals.unless_asked(ask(client, plan, progress.index())).await else { return Ok(()) };
        match answer {
            Ok((index, value)) => {
                let Some(news) = progress.answered(index, value) else { continue };
                if script.args.is_empty() {
                    run.line(&pretty(news));
                    return Ok(());
                }
                if !hand_over(script, index, news, signals).await? {
                    return Ok(());
                }
            }
            Err(error) => {
                let retry = progress.failed();
                run.remark(errored(&kind, error, retry).trim_end());
                if signals.unless_asked(tokio::time::sleep(retry)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// Sees whether there is an agent at all.
async fn greet(client: &Client) -> Result<(), Failure> {
    let answer = client.answer(Call::new("GET", "/v1/agent/self")).await.and_then(Answer::ok);
    answer.map(drop).map_err(|error| Failure::new(format!("Error querying Consul agent: {error}")))
}

async fn ask(client: &Client, plan: &Plan, index: u64) -> Result<(u64, Value), String> {
    let (path, query) = plan.request(index);
    let call = query.into_iter().fold(Call::new("GET", path), |call, (name, value)| call.with(&name, value));
    let answer = client.answer(call).await?;
    Ok((answer.index, plan.read(index, answer.status, &answer.body)?))
}

/// What went wrong, as Consul logs it.
fn errored(kind: &str, error: String, retry: Duration) -> String {
    let retry_ms = u64::try_from(retry.as_millis()).unwrap_or(u64::MAX);
    let pairs = vec![("type", kind.to_owned()), ("error", error), ("retry", duration::format_ms(retry_ms))];
    log::line(SystemClock.wall_ms(), Level::Error, "watch.watch", "Watch errored", pairs)
}

fn pretty(value: &Value) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let written = serde::Serialize::serialize(value, &mut serde_json::Serializer::with_formatter(&mut text, formatter));
    written.expect("a JSON value is always JSON");
    String::from_utf8_lossy(&text).into_owned()
}

/// Runs the program with the news on its standard input. Returns false when a signal comes first: it is the program's
/// too, which is left to itself then.
async fn hand_over(script: &Script, index: u64, news: &Value, signals: &mut Signals) -> Result<bool, Failure> {
    let input = format!("{news}\n");
    let started = script.start(script.command(), Some(index));
    let mut child = started.map_err(|error| Failure::new(format!("Error starting handler: {error}")))?;
    let status = match signals.unless_asked(feed(&mut child, input.as_bytes())).await {
        Ok(status) => status,
        Err(signal) => {
            pass_on(&child, signal);
            return Ok(false);
        }
    };
    let failed = |error: String| Failure::new(format!("Error executing handler: {error}"));
    let code = status.map_err(|error| failed(error.to_string()))?.code();
    Ran { code, output: String::new() }.result().map_err(failed)?;
    Ok(true)
}
