//! The part of JSON Schema (draft 2020-12) that `wit/about.wit` lists: parsed strictly, so that nothing a plugin demands goes unchecked.
//!
//! A schema is bounded when it is parsed (size, depth, weight); checking a value costs at most its weight times values. Keywords for people (`title`,
//! `description`, `default`, `examples`, `$schema`) are skipped; any other unknown keyword is an error with its JSON pointer (RFC 6901).

mod check;
mod parse;

use regex::Regex;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Bytes of a schema's text.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// Schemas within schemas.
pub const DEPTH_MAX: usize = 32;
/// What one schema may weigh: each schema in it, itself included, each value of `enum` and each name of `required` one, a pattern sixteen.
pub const WEIGHT_MAX: usize = 1024;
/// Messages of one check.
pub const MESSAGES_MAX: usize = 16;

/// A parsed schema.
#[derive(Clone, Debug)]
pub struct Schema {
    root: Rule,
}

impl Schema {
    /// Parses a schema. The empty text is the schema `{"type": "object"}`: any object will do. A schema whose root allows no object is refused,
    /// since a config always is one.
    pub fn parse(text: &str) -> Result<Schema, SchemaError> {
        parse::parse(text).map(|root| Schema { root })
    }

    /// Checks a config. The messages name the field by its JSON pointer, say what is wrong and what is allowed; at most [`MESSAGES_MAX`].
    pub fn check(&self, value: &Value) -> Result<(), Vec<String>> {
        check::check(&self.root, value)
    }
}

/// Why a schema is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaError {
    /// Where in the schema, as a JSON pointer; empty for the whole.
    pub pointer: String,
    /// What is wrong there.
    pub reason: String,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.as_str() {
            "" => write!(f, "the schema {}", self.reason),
            pointer => write!(f, "the schema at {pointer} {}", self.reason),
        }
    }
}

impl std::error::Error for SchemaError {}

/// One schema: what is absent allows everything.
#[derive(Clone, Debug, Default)]
struct Rule {
    /// The schema `false`.
    never: bool,
    types: Option<BTreeSet<Type>>,
    properties: BTreeMap<String, Rule>,
    required: Vec<String>,
    additional: Option<Box<Rule>>,
    items: Option<Box<Rule>>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    one_of_values: Option<Vec<Value>>,
    minimum: Option<Bound>,
    maximum: Option<Bound>,
    exclusive_minimum: Option<Bound>,
    exclusive_maximum: Option<Bound>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    pattern: Option<Regex>,
    any_of: Vec<Rule>,
}

/// A number of the schema, always finite.
type Bound = serde_json::Number;

/// The types of JSON Schema. A number without fraction is an integer and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Type {
    Array,
    Boolean,
    Integer,
    Null,
    Number,
    Object,
    String,
}

impl Type {
    const ALL: [(Type, &'static str, &'static str); 7] = [
        (Type::Array, "array", "a list"),
        (Type::Boolean, "boolean", "true or false"),
        (Type::Integer, "integer", "a whole number"),
        (Type::Null, "null", "null"),
        (Type::Number, "number", "a number"),
        (Type::Object, "object", "an object"),
        (Type::String, "string", "a string"),
    ];

    fn parse(word: &str) -> Option<Type> {
        Type::ALL.iter().find(|(_, w, _)| *w == word).map(|(t, _, _)| *t)
    }

    /// With its article, for messages.
    fn phrase(self) -> &'static str {
        Type::ALL.iter().find(|(t, _, _)| *t == self).map_or("", |(_, _, phrase)| *phrase)
    }

    /// The narrowest type of a value.
    fn of(value: &Value) -> Type {
        match value {
            Value::Null => Type::Null,
            Value::Bool(_) => Type::Boolean,
            Value::Number(n) if is_whole(n) => Type::Integer,
            Value::Number(_) => Type::Number,
            Value::String(_) => Type::String,
            Value::Array(_) => Type::Array,
            Value::Object(_) => Type::Object,
        }
    }
}

fn is_whole(number: &serde_json::Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|f| f.fract() == 0.0)
}

/// A step deeper in a JSON pointer.
fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests;
