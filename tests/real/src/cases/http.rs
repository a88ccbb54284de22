//! HTTP stories: steps of a request and what must come back.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::http::Response;

/// One request of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path with its query, as sent.
    pub path: String,
    /// The body.
    pub body: Vec<u8>,
}

/// Tells the story in `file` to whoever `send` asks, and returns what differs from the recorded answers.
///
/// # Panics
/// When the file is no story.
pub async fn replay(file: &Path, mut send: impl AsyncFnMut(Request) -> Response) -> Vec<String> {
    let text = fs::read(file).expect("the story is readable");
    let story: Value = serde_json::from_slice(&text).expect("a story is JSON");
    let mut kept = BTreeMap::new();
    let mut differences = Vec::new();
    for (number, step) in story["steps"].as_array().expect("a story has steps").iter().enumerate() {
        let response = send(request(step, &kept)).await;
        if let Err(difference) = compare(step, &response, &mut kept) {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            differences.push(format!("{name}: step {number}: {step}\n  but {difference}"));
        }
    }
    differences
}

/// What earlier steps kept, by name.
type Kept = BTreeMap<String, String>;

fn fill(text: &str, kept: &Kept) -> String {
    kept.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

fn request(step: &Value, kept: &Kept) -> Request {
    let (method, path) = step["do"].as_str().and_then(|act| act.split_once(' ')).expect("a method and a path");
    let body = match (step.get("body"), step.get("text")) {
        (Some(json), _) => json.to_string(),
        (None, Some(text)) => text.as_str().expect("a text is a string").to_owned(),
        (None, None) => String::new(),
    };
    Request { method: method.to_owned(), path: fill(path, kept), body: fill(&body, kept).into_bytes() }
}

/// Compares one answer, and keeps what later steps need of it.
fn compare(step: &Value, response: &Response, kept: &mut Kept) -> Result<(), String> {
    let text = response.text();
    if step["status"] != response.status {
        return Err(format!("status {} with {text:?}", response.status));
    }
    for (name, expected) in headers(step) {
        let got = response.header(&name);
        if got.is_none() || (expected != "*" && got != Some(expected.as_str())) {
            return Err(format!("header {name} is {got:?}"));
        }
    }
    if let Some(expected) = step["says"].as_str()
        && fill(expected, kept) != text.trim_end_matches('\n')
    {
        return Err(format!("body {text:?}"));
    }
    let Some(expected) = step.get("answers") else { return Ok(()) };
    let got: Value = serde_json::from_str(&text).map_err(|error| format!("{error} in {text:?}"))?;
    if !matches(expected, &got, kept) {
        return Err(format!("body {got}"));
    }
    for (name, pointer) in step["keep"].as_object().into_iter().flatten() {
        let value = match pointer.as_str().and_then(|pointer| got.pointer(pointer)) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return Err(format!("no {pointer} in {got}")),
        };
        kept.insert(name.clone(), value);
    }
    Ok(())
}

/// The headers a step asks for, those that its other fields imply included.
fn headers(step: &Value) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    let mut expect = |name: &str, value: &str| drop(headers.insert(name.to_owned(), value.to_owned()));
    if step.get("answers").is_some() {
        expect("content-type", "application/json");
    } else if step["says"].as_str().is_some_and(|text| !text.is_empty()) {
        expect("content-type", "text/plain; charset=utf-8");
    }
    if step["indexed"] == true {
        expect("x-consul-index", "*");
        expect("x-consul-knownleader", "true");
        expect("x-consul-lastcontact", "0");
    }
    for (name, value) in step["headers"].as_object().into_iter().flatten() {
        expect(name, value.as_str().expect("a header is text"));
    }
    headers
}

/// Equal, but for `"*"`, which is anything, and `${names}`, which stand for what was kept.
fn matches(expected: &Value, got: &Value, kept: &Kept) -> bool {
    match (expected, got) {
        (Value::String(any), _) if any == "*" => true,
        (Value::String(text), _) => got.as_str() == Some(&fill(text, kept)),
        (Value::Array(expected), Value::Array(got)) => {
            expected.len() == got.len() && expected.iter().zip(got).all(|(expected, got)| matches(expected, got, kept))
        }
        (Value::Object(expected), Value::Object(got)) => {
            let same = |(name, expected)| got.get(name).is_some_and(|got| matches(expected, got, kept));
            expected.len() == got.len() && expected.iter().all(same)
        }
        _ => expected == got,
    }
}
