//! A check that requests a URL and compares a value in the JSON of the answer. It never follows redirects.

use std::collections::BTreeMap;
use std::time::Duration;

use lictor_plugin::{Context, Outcome, Result, Thresholds, bail, http};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Config {
    url: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    #[serde(default = "ok")]
    status: u16,
    pointer: Option<String>,
    equals: Option<Value>,
    not_equals: Option<Value>,
    #[serde(flatten)]
    thresholds: Thresholds,
    #[serde(default = "ten")]
    timeout_seconds: u64,
}

fn get() -> String {
    "GET".into()
}

fn ok() -> u16 {
    200
}

fn ten() -> u64 {
    10
}

lictor_plugin::check! {
    summary: "Requests a URL, and compares a value in its JSON.",
    schema: include_str!("../config.schema.json"),
    wants: { urls: ["the URL it requests"] },
    run: run,
}

fn run(config: Config) -> Result<Outcome> {
    let mut request =
        http::Request::new(&config.method, &config.url).timeout(Duration::from_secs(config.timeout_seconds));
    for (name, value) in &config.headers {
        request = request.header(name, value);
    }
    let answer = request.body(config.body.clone()).send()?;
    if answer.status != config.status {
        bail!("{} answered {}, not {}: {}", config.url, answer.status, config.status, start_of(&answer.text()));
    }
    let Some(pointer) = &config.pointer else {
        return Ok(Outcome::passing(format!("{} answered {}", config.url, answer.status)));
    };
    let document: Value =
        serde_json::from_slice(&answer.body).with_context(|| format!("{} did not answer JSON", config.url))?;
    judge(&config, pointer, &document)
}

/// Compares the value that `pointer` (RFC 6901) leads to with what the config demands of it.
fn judge(config: &Config, pointer: &str, document: &Value) -> Result<Outcome> {
    let value = document.pointer(pointer).with_context(|| format!("there is no {pointer} in the answer"))?;
    let shown = start_of(&value.to_string());
    if let Some(wanted) = config.equals.as_ref().filter(|wanted| !same(wanted, value)) {
        bail!("{pointer} is {shown}, not {wanted}");
    }
    if config.not_equals.as_ref().is_some_and(|unwanted| same(unwanted, value)) {
        bail!("{pointer} is {shown}");
    }
    let Thresholds { warning_above, critical_above, warning_below, critical_below } = config.thresholds;
    let limited = [warning_above, critical_above, warning_below, critical_below].iter().any(Option::is_some);
    match value.as_f64() {
        Some(number) => Ok(config.thresholds.outcome(pointer, number).gauge("value", number)),
        None if limited => bail!("{pointer} is {shown}, which is no number"),
        None => Ok(Outcome::passing(format!("{pointer} is {shown}"))),
    }
}

/// Numbers are the same by value: 3 and 3.0, as different servers write it.
fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

fn start_of(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use lictor_plugin::Status;

    use super::*;

    #[test]
    fn values_are_compared() {
        let document = serde_json::json!({"queue": {"depth": 7, "state": "idle"}});
        let cases = [
            (r#"{"pointer": "/queue/depth", "warning_above": 5}"#, Ok(Status::Warning)),
            (r#"{"pointer": "/queue/depth", "equals": 7.0}"#, Ok(Status::Passing)),
            (r#"{"pointer": "/queue/state", "equals": "idle"}"#, Ok(Status::Passing)),
            (r#"{"pointer": "/queue/state", "not_equals": "idle"}"#, Err("/queue/state is \"idle\"")),
            (
                r#"{"pointer": "/queue/state", "critical_above": 1}"#,
                Err("/queue/state is \"idle\", which is no number"),
            ),
            (r#"{"pointer": "/nothing"}"#, Err("there is no /nothing in the answer")),
        ];
        for (config, expected) in cases {
            let mut fields: Value = serde_json::from_str(config).expect("a config");
            fields["url"] = "http://a/".into();
            let config: Config = serde_json::from_value(fields).expect("a config");
            let pointer = config.pointer.clone().expect("a pointer");
            let found =
                judge(&config, &pointer, &document).map(|outcome| outcome.status).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{pointer}");
        }
    }
}
