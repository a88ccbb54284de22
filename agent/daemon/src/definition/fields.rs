//! Reads the fields of one JSON object the way Go's decoder and Consul's do together.
//!
//! Names match whatever their case and underscores, `null` means absent unless
//! one asks ([`Fields::is_null`]), unknown names are refused, and a value of another type is refused in the words of
//! Go's decoder, which clients show. Knows no definition in particular.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::duration::nanoseconds;
use super::{DecodeError, Source};

/// The fields of an object, by folded name.
#[derive(Debug)]
pub struct Fields<'a> {
    source: Source,
    owner: &'static str,
    found: BTreeMap<String, (&'a str, &'a Value)>,
}

/// `enable_tag_override`, `EnableTagOverride` and `enabletagoverride` are one name.
fn fold(name: &str) -> String {
    name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
}

/// What Go's decoder calls the type of a value.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl<'a> Fields<'a> {
    /// Opens an object that may hold the fields `known` (canonical names) and no others.
    ///
    /// # Errors
    /// The value is no object, or has a field of another name.
    pub fn open(value: &'a Value, known: &[&str], source: Source, what: &str) -> Result<Self, DecodeError> {
        let known: Vec<String> = known.iter().map(|name| fold(name)).collect();
        Self::open_any(value, source, what)?.refuse_unknown(value, &known)
    }

    /// Opens an object and ignores what nobody asks for. `null` is an empty object.
    ///
    /// # Errors
    /// The value is no object.
    pub fn open_any(value: &'a Value, source: Source, what: &str) -> Result<Self, DecodeError> {
        if value.is_null() {
            return Ok(Fields { source, owner: "", found: BTreeMap::new() });
        }
        let object = as_object(value, source).ok_or_else(|| {
            DecodeError::Shape(format!("json: cannot unmarshal {} into Go value of type {what}", kind_of(value)))
        })?;
        let those = |null: bool| object.iter().filter(move |(_, value)| value.is_null() == null);
        // What is null never hides what another spelling of its name says.
        let found = those(true).chain(those(false)).map(|(name, value)| (fold(name), (name.as_str(), value)));
        Ok(Fields { source, owner: "", found: found.collect() })
    }

    /// Names the Go type that errors speak of, where clients see one.
    pub fn of(self, owner: &'static str) -> Self {
        Fields { owner, ..self }
    }

    /// The refusal of a field whose value is of another type than `go_type`.
    pub fn mismatch(&self, value: &Value, field: &str, go_type: &str) -> DecodeError {
        DecodeError::Shape(match self.source {
            Source::Http => self.mismatch_in_body(value, field, go_type),
            Source::File => self.mismatch_in_file(value, field, go_type),
        })
    }

    fn mismatch_in_body(&self, value: &Value, field: &str, go_type: &str) -> String {
        let shown = match (value, go_type) {
            (Value::Number(number), "int") => format!("number {number}"),
            _ => kind_of(value).to_owned(),
        };
        let owner = self.owner;
        format!("json: cannot unmarshal {shown} into Go struct field {owner}.{field} of type {go_type}")
    }

    /// Names the field as the file does.
    fn mismatch_in_file(&self, value: &Value, field: &str, go_type: &str) -> String {
        let key = self.found.get(&fold(field)).map_or(field, |(key, _)| *key);
        match go_type.starts_with("[]") {
            true => format!("'{key}': source data must be an array or slice, got {}", kind_of(value)),
            false => format!("'{key}' expected type '{go_type}', got unconvertible type '{}'", kind_of(value)),
        }
    }

    fn refuse_unknown(self, value: &Value, known: &[String]) -> Result<Self, DecodeError> {
        let names = as_object(value, self.source).into_iter().flat_map(Map::keys);
        match names.into_iter().find(|name| !known.contains(&fold(name))) {
            None => Ok(self),
            Some(name) => Err(DecodeError::Shape(match self.source {
                Source::Http => format!("json: unknown field {name:?}"),
                Source::File => format!("invalid config key {name}"),
            })),
        }
    }

    /// The raw value of a field.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.found.get(&fold(name)).map(|(_, value)| *value).filter(|value| !value.is_null())
    }

    /// Whether a field is there, with nothing in it.
    pub fn is_null(&self, name: &str) -> bool {
        self.found.get(&fold(name)).is_some_and(|(_, value)| value.is_null())
    }

    /// A string, empty when absent.
    ///
    /// # Errors
    /// It is something else.
    pub fn string(&self, name: &str) -> Result<String, DecodeError> {
        match self.get(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(self.mismatch(other, name, "string")),
        }
    }

    /// A boolean, if present.
    ///
    /// # Errors
    /// It is something else.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, DecodeError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.mismatch(other, name, "bool")),
        }
    }

    /// An integer, zero when absent. A file may write it with a point or an exponent; fractions are cut off there.
    ///
    /// # Errors
    /// It is something else, or does not fit 64 bits.
    pub fn integer(&self, name: &str) -> Result<i64, DecodeError> {
        match (self.get(name), self.source) {
            (None, _) => Ok(0),
            (Some(Value::Number(number)), Source::File) if number.is_f64() => {
                Ok(number.as_f64().map_or(0, |number| number as i64))
            }
            (Some(number @ Value::Number(_)), _) => number.as_i64().ok_or_else(|| self.mismatch(number, name, "int")),
            (Some(other), _) => Err(self.mismatch(other, name, "int")),
        }
    }

    /// An unsigned integer of 64 bits, zero when absent.
    ///
    /// # Errors
    /// It is something else.
    pub fn index(&self, name: &str) -> Result<u64, DecodeError> {
        match self.get(name) {
            None => Ok(0),
            Some(value) => value.as_u64().ok_or_else(|| self.mismatch(value, name, "uint64")),
        }
    }

    /// A consecutive-results counter: an integer that counts as zero when negative.
    ///
    /// # Errors
    /// It is something else.
    pub fn count(&self, name: &str) -> Result<u32, DecodeError> {
        Ok(u32::try_from(self.integer(name)?.max(0)).unwrap_or(u32::MAX))
    }

    /// A list of strings, empty when absent.
    ///
    /// # Errors
    /// It is something else.
    pub fn strings(&self, name: &str) -> Result<Vec<String>, DecodeError> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => self.strings_of(items, name),
            Some(other) => Err(self.mismatch(other, name, "[]string")),
        }
    }

    /// A map of strings, empty when absent.
    ///
    /// # Errors
    /// It is something else.
    pub fn string_map(&self, name: &str) -> Result<BTreeMap<String, String>, DecodeError> {
        let text = |value: &Value| match value {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(text.clone()),
            other => Err(self.mismatch(other, name, "string")),
        };
        self.map(name, "map[string]string")?.map(|(key, value)| Ok((key.clone(), text(value)?))).collect()
    }

    /// Header lines by name, empty when absent.
    ///
    /// # Errors
    /// It is something else.
    pub fn header(&self, name: &str) -> Result<BTreeMap<String, Vec<String>>, DecodeError> {
        let lines = |value: &Value| match value {
            Value::Array(items) => self.strings_of(items, name),
            other => Err(self.mismatch(other, name, "[]string")),
        };
        self.map(name, "map[string][]string")?.map(|(key, value)| Ok((key.clone(), lines(value)?))).collect()
    }

    /// The entries of an object, none when absent.
    ///
    /// # Errors
    /// It is something else.
    pub fn map(
        &self,
        name: &str,
        go_type: &str,
    ) -> Result<impl Iterator<Item = (&'a String, &'a Value)> + use<'a>, DecodeError> {
        let object = match self.get(name) {
            None => None,
            Some(value) => Some(as_object(value, self.source).ok_or_else(|| self.mismatch(value, name, go_type))?),
        };
        Ok(object.into_iter().flat_map(Map::iter))
    }

    /// The items of a list of objects. A file may hold a single object instead.
    ///
    /// # Errors
    /// It is something else.
    pub fn list(&self, name: &str, go_type: &str) -> Result<&'a [Value], DecodeError> {
        match (self.get(name), self.source) {
            (None, _) => Ok(&[]),
            (Some(Value::Array(items)), _) => Ok(items),
            (Some(single @ Value::Object(_)), Source::File) => Ok(std::slice::from_ref(single)),
            (Some(other), _) => Err(self.mismatch(other, name, go_type)),
        }
    }

    fn strings_of(&self, items: &[Value], name: &str) -> Result<Vec<String>, DecodeError> {
        let text = |item: &Value| match item {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(text.clone()),
            other => Err(self.mismatch(other, name, "string")),
        };
        items.iter().map(text).collect()
    }

    /// A duration in nanoseconds, zero when absent.
    ///
    /// # Errors
    /// It is a string that is no duration.
    pub fn duration(&self, name: &str) -> Result<i64, DecodeError> {
        self.get(name).map_or(Ok(0), nanoseconds)
    }
}

/// An object; in files also the only item of a list, which is how HCL reads a block.
fn as_object(value: &Value, source: Source) -> Option<&Map<String, Value>> {
    match (value, source) {
        (Value::Object(object), _) => Some(object),
        (Value::Array(items), Source::File) if items.len() == 1 => items[0].as_object(),
        _ => None,
    }
}
