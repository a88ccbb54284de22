//! HCL 1 and JSON documents as one tree of [`serde_json::Value`].
//!
//! Consul's configuration files and ACL rules are written in HCL version 1,
//! which HCL 2 parsers refuse in practice (several attributes on one line,
//! quoted keys, octal numbers), so the language is read here. This module only
//! knows the notation: which keys exist and what they mean is the reader's.
//!
//! A block is an object; the labels of a block are objects around it
//! (`service "web" {}` is `{"service": {"web": {}}}`). A key written several
//! times becomes an array when its values are objects or arrays, else the last
//! one stays. A reader that expects one object should also take an array of one.

mod lexer;
mod parser;

use std::fmt;

use serde_json::Value;

/// The longest document in bytes.
pub const SIZE_BYTES_MAX: usize = 8 << 20;

/// How deep objects, labels and arrays may nest.
pub const DEPTH_MAX: usize = 64;

/// Where and why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1; 0 when no place can be named.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => out.write_str(&self.message),
            line => write!(out, "At {line}:{}: {}", self.column, self.message),
        }
    }
}

impl std::error::Error for ParseError {}

/// Reads a document that is HCL, or JSON when its first character is `{`. An empty document is an empty object.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse(text: &str) -> Result<Value, ParseError> {
    if text.trim_start().starts_with('{') {
        return parse_json(text);
    }
    check_size(text)?;
    parser::document(text)
}

/// Reads a JSON document, which must be an object. An empty document is an empty object.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse_json(text: &str) -> Result<Value, ParseError> {
    check_size(text)?;
    if text.trim().is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| ParseError {
        line: error.line(),
        column: error.column(),
        message: format!("invalid JSON: {error}"),
    })?;
    match value {
        Value::Object(_) if depth(&value) <= DEPTH_MAX => Ok(value),
        Value::Object(_) => Err(without_place(format!("nested more than {DEPTH_MAX} deep"))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(without_place("the document must be a JSON object".to_owned()))
        }
    }
}

fn check_size(text: &str) -> Result<(), ParseError> {
    match text.len() {
        0..=SIZE_BYTES_MAX => Ok(()),
        size => Err(without_place(format!("{size} bytes are more than the {SIZE_BYTES_MAX} allowed"))),
    }
}

fn without_place(message: String) -> ParseError {
    ParseError { line: 0, column: 0, message }
}

/// Levels of nesting; bounded because `serde_json` refuses more than 128.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

#[cfg(test)]
mod tests;
