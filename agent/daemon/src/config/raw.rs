//! The configuration as written: one tree of known keys with values of the right kind.
//!
//! [`Document::decode`] checks a file against [`super::schema`] and words its
//! mistakes as Consul does; [`Document::merge`] lays a later one over an
//! earlier one. What a value means, and defaults, belong to [`super::checked`].

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::ConfigError;
use super::schema::{self, Key, Kind, Tier};

/// Known keys with checked kinds; names in lower case, nulls left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Document {
    members: Map<String, Value>,
}

/// What is wrong in one document.
#[derive(Default)]
struct Mistakes {
    /// Values of another kind.
    kinds: Vec<String>,
    /// Unknown keys.
    unknown: Vec<String>,
}

impl Document {
    /// Checks `value`, which `source` held, against the table of keys.
    ///
    /// # Errors
    /// All unknown keys, or all values of a wrong kind, in Consul's words.
    pub(super) fn decode(source: &str, value: Value) -> Result<Document, ConfigError> {
        let mut mistakes = Mistakes::default();
        let Value::Object(members) = value else {
            return Err(ConfigError::new(format!("failed to parse {source}: the document must be an object")));
        };
        let mut members = group("", members, &mut mistakes);
        // A single definition and a list of them mean the same, and definitions of all files add up.
        move_definition(&mut members, "service", "services");
        move_definition(&mut members, "check", "checks");
        move_definition(&mut members, "plugin", "plugins");
        mistakes.into_result(source)?;
        Ok(Document { members })
    }

    /// Sets a value, as flags do. The path must be in the table.
    pub(super) fn set(&mut self, path: &str, value: Value) {
        debug_assert!(schema::key(path).is_some(), "unknown key {path}");
        let mut members = &mut self.members;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                members.insert(name.to_owned(), value);
                return;
            }
            let inner = members.entry(name).or_insert_with(|| Value::Object(Map::new()));
            match inner {
                Value::Object(inner) => members = inner,
                _ => return,
            }
        }
    }

    /// Lays `later` over this document: lists append, objects merge, anything else is replaced.
    pub(super) fn merge(&mut self, later: Document) {
        merge_members(&mut self.members, later.members);
    }

    fn get(&self, path: &str, kind: Kind) -> Option<&Value> {
        debug_assert!(schema::key(path).is_some_and(|key| key.kind == kind), "{path} is not a {kind:?} of the table");
        lookup(&self.members, path)
    }

    /// A text; `None` when it is not set.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.get(path, Kind::Text)?.as_str()
    }

    /// A boolean.
    pub(super) fn bool(&self, path: &str) -> Option<bool> {
        self.get(path, Kind::Bool)?.as_bool()
    }

    /// A whole number.
    pub(super) fn int(&self, path: &str) -> Option<i64> {
        self.get(path, Kind::Int)?.as_i64()
    }

    /// A size in bytes, as it is written; `None` when it is not set or an empty text.
    pub(super) fn size(&self, path: &str) -> Option<&Value> {
        self.get(path, Kind::Size).filter(|value| value.as_str() != Some(""))
    }

    /// A list of texts; empty when it is not set.
    pub(super) fn list(&self, path: &str) -> Vec<String> {
        let items = self.get(path, Kind::List).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }

    /// A map of texts; empty when it is not set.
    pub(super) fn map(&self, path: &str) -> BTreeMap<String, String> {
        let members = self.get(path, Kind::Map).and_then(Value::as_object);
        let pairs = members.into_iter().flatten();
        pairs.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
    }

    /// The definitions under `services` or `checks`.
    pub(super) fn definitions(&self, path: &str) -> Vec<Value> {
        match self.get(path, Kind::Any) {
            Some(Value::Array(items)) => items.clone(),
            Some(one) => vec![one.clone()],
            None => Vec::new(),
        }
    }

    /// One warning for every key that is set to something else than its default and has no effect.
    pub(super) fn ignored(&self) -> Vec<String> {
        let set = schema::all().filter(|(_, key)| key.tier == Tier::Ignored);
        set.filter(|(path, key)| lookup(&self.members, path).is_some_and(|value| !is_default(value, key)))
            .map(|(path, _)| format!("key {path:?} is accepted but not implemented yet: ignored{}", consequence(path)))
            .collect()
    }
}

/// What an operator who relies on a key must know. Nobody should find out about an open door from an intruder.
fn consequence(path: &str) -> &'static str {
    let first = path.split('.').next().unwrap_or(path);
    if path == "acl.enabled" || path == "acl_default_policy" || path == "acl.default_policy" {
        "; ACCESS IS NOT CONTROLLED: everyone who reaches the API may read and write everything"
    } else if matches!(first, "tls" | "verify_incoming" | "verify_incoming_https" | "verify_incoming_rpc") {
        "; TRAFFIC IS NOT PROTECTED by it"
    } else {
        ""
    }
}

fn lookup<'a>(members: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => members.get(path),
        Some((group, rest)) => match members.get(group)? {
            Value::Object(inner) => lookup(inner, rest),
            _ => None,
        },
    }
}

fn is_default(value: &Value, key: &Key) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(bool) => bool.to_string() == key.default,
        Value::Number(number) => number.to_string() == key.default,
        Value::String(text) => text.is_empty() || text == key.default,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

impl Mistakes {
    fn into_result(self, source: &str) -> Result<(), ConfigError> {
        if !self.kinds.is_empty() {
            let mut kinds = self.kinds;
            kinds.sort();
            let lines: String = kinds.iter().map(|line| format!("\n* {line}")).collect();
            let count = kinds.len();
            return Err(ConfigError::new(format!("failed to parse {source}: {count} error(s) decoding:\n{lines}")));
        }
        if !self.unknown.is_empty() {
            let lines: Vec<String> = self.unknown.iter().map(|path| format!("invalid config key {path}")).collect();
            return Err(ConfigError::new(format!("failed to parse {source}: {}", super::error_list(&lines))));
        }
        Ok(())
    }

    fn wrong_kind(&mut self, path: &str, wanted: &str, value: &Value) {
        self.kinds.push(format!("'{path}' expected type '{wanted}', got unconvertible type '{}'", go_type(value)));
    }
}

/// What Go calls the type that a decoded value has.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// The members of the object at `path` that are right; the others go to `mistakes`.
fn group(path: &str, members: Map<String, Value>, mistakes: &mut Mistakes) -> Map<String, Value> {
    let mut known = Map::new();
    for (name, value) in members {
        let name_known = name.to_ascii_lowercase();
        let inner = if path.is_empty() { name_known.clone() } else { format!("{path}.{name_known}") };
        if let Some(key) = schema::key(&inner) {
            if let Some(value) = checked(&inner, key.kind, value, mistakes) {
                known.insert(name_known, value);
            }
        } else if schema::is_group(&inner) {
            if let Some(inner_members) = object(&inner, value, mistakes) {
                known.insert(name_known, Value::Object(group(&inner, inner_members, mistakes)));
            }
        } else {
            mistakes.unknown.push(if path.is_empty() { name } else { format!("{path}.{name}") });
        }
    }
    known
}

/// An object, or the only item of a list of one; `None` for null and after a mistake.
fn object(path: &str, value: Value, mistakes: &mut Mistakes) -> Option<Map<String, Value>> {
    let kind = match only_item(value) {
        Value::Object(members) => return Some(members),
        Value::Null => return None,
        Value::Array(_) => "slice",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
    };
    mistakes.kinds.push(format!("'{path}' expected a map, got '{kind}'"));
    None
}

/// The value in the form its kind is read in; `None` for null and after a mistake.
fn checked(path: &str, kind: Kind, value: Value, mistakes: &mut Mistakes) -> Option<Value> {
    if value.is_null() {
        return None;
    }
    match kind {
        Kind::Text => scalar(path, "string", value, mistakes, |value| value.is_string().then(|| value.clone())),
        Kind::Bool => scalar(path, "bool", value, mistakes, |value| value.is_boolean().then(|| value.clone())),
        Kind::Int => scalar(path, "int", value, mistakes, |value| whole(value).map(Value::from)),
        Kind::Float => scalar(path, "float64", value, mistakes, |value| value.is_number().then(|| value.clone())),
        Kind::Size => scalar(path, "string", value, mistakes, |value| match value {
            Value::String(_) => Some(value.clone()),
            number => whole(number).map(Value::from),
        }),
        Kind::List => list(path, value, mistakes),
        Kind::Map => map(path, value, mistakes),
        Kind::Any => match value {
            Value::Object(_) | Value::Array(_) => Some(value),
            other => {
                mistakes.kinds.push(format!("'{path}' expected a map, got '{}'", go_type(&other)));
                None
            }
        },
    }
}

fn scalar(
    path: &str,
    wanted: &str,
    value: Value,
    mistakes: &mut Mistakes,
    convert: impl Fn(&Value) -> Option<Value>,
) -> Option<Value> {
    let value = only_item(value);
    let converted = convert(&value);
    if converted.is_none() {
        mistakes.wrong_kind(path, wanted, &value);
    }
    converted
}

/// The whole part of a number that fits 64 bits.
fn whole(value: &Value) -> Option<i64> {
    let number = value.as_number()?;
    // Converting from floating point saturates; no key has a sensible value near the ends.
    #[allow(clippy::cast_possible_truncation)]
    number.as_i64().or_else(|| number.as_f64().map(|fraction| fraction as i64))
}

fn list(path: &str, value: Value, mistakes: &mut Mistakes) -> Option<Value> {
    let Value::Array(items) = value else {
        let kind = if value.is_object() { "map" } else { go_type(&value) };
        mistakes.kinds.push(format!("'{path}': source data must be an array or slice, got {kind}"));
        return None;
    };
    for (position, item) in items.iter().enumerate().filter(|(_, item)| !item.is_string()) {
        mistakes.wrong_kind(&format!("{path}[{position}]"), "string", item);
    }
    Some(Value::Array(items))
}

fn map(path: &str, value: Value, mistakes: &mut Mistakes) -> Option<Value> {
    let members = object(path, value, mistakes)?;
    for (name, value) in members.iter().filter(|(_, value)| !value.is_string()) {
        mistakes.wrong_kind(&format!("{path}[{name}]"), "string", value);
    }
    Some(Value::Object(members))
}

/// HCL 1 has no single objects, so a list of one stands for its item everywhere.
fn only_item(value: Value) -> Value {
    match value {
        Value::Array(mut items) if items.len() == 1 => items.pop().unwrap_or(Value::Null),
        other => other,
    }
}

/// Puts what stands under `one` behind what stands under `many`, as a list.
fn move_definition(members: &mut Map<String, Value>, one: &str, many: &str) {
    let items: Vec<Value> = [many, one]
        .into_iter()
        .filter_map(|name| members.remove(name))
        .flat_map(|found| match found {
            Value::Array(items) => items,
            object => vec![object],
        })
        .collect();
    if !items.is_empty() {
        members.insert(many.to_owned(), Value::Array(items));
    }
}

fn merge_members(members: &mut Map<String, Value>, later: Map<String, Value>) {
    for (name, value) in later {
        match (members.get_mut(&name), value) {
            (Some(Value::Object(present)), Value::Object(value)) => merge_members(present, value),
            (Some(Value::Array(present)), Value::Array(value)) => present.extend(value),
            (_, value) => {
                members.insert(name, value);
            }
        }
    }
}
