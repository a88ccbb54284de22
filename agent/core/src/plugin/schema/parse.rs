//! From a schema's text to rules, or the first thing that is wrong with it.

use super::{Bound, DEPTH_MAX, Rule, SchemaError, TEXT_BYTES_MAX, Type, WEIGHT_MAX, below};
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a compiled pattern.
const PATTERN_BYTES_MAX: usize = 256 << 10;
/// What a pattern weighs: 64 of them may take 16 MiB.
const PATTERN_WEIGHT: usize = 16;

pub(super) fn parse(text: &str) -> Result<Rule, SchemaError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(error("", format!("is longer than {} KiB", TEXT_BYTES_MAX >> 10)));
    }
    if text.trim().is_empty() {
        return Ok(Rule { types: Some([Type::Object].into()), ..Rule::default() });
    }
    let value: Value = serde_json::from_str(text).map_err(|e| error("", format!("is not JSON: {e}")))?;
    let root = Parser { weight: 0 }.rule("", &value, 0)?;
    let allows_objects = root.types.as_ref().is_none_or(|types| types.contains(&Type::Object));
    match allows_objects && !root.never {
        true => Ok(root),
        false => Err(error("/type", "must allow an object, since a config is one".to_owned())),
    }
}

fn error(pointer: &str, reason: String) -> SchemaError {
    SchemaError { pointer: pointer.to_owned(), reason }
}

struct Parser {
    weight: usize,
}

impl Parser {
    fn rule(&mut self, at: &str, value: &Value, depth: usize) -> Result<Rule, SchemaError> {
        self.add(at, 1)?;
        if depth > DEPTH_MAX {
            return Err(error(at, format!("is nested more than {DEPTH_MAX} deep")));
        }
        match value {
            Value::Bool(allowed) => Ok(Rule { never: !allowed, ..Rule::default() }),
            Value::Object(keywords) => self.keywords(at, keywords, depth),
            _ => Err(error(at, "must be an object, true or false".to_owned())),
        }
    }

    fn add(&mut self, at: &str, weight: usize) -> Result<(), SchemaError> {
        self.weight += weight;
        match self.weight > WEIGHT_MAX {
            true => Err(error(
                at,
                format!(
                    "is too much: a schema may hold {WEIGHT_MAX} schemas, values and names, and a pattern counts as {PATTERN_WEIGHT}"
                ),
            )),
            false => Ok(()),
        }
    }

    fn keywords(&mut self, at: &str, keywords: &Map<String, Value>, depth: usize) -> Result<Rule, SchemaError> {
        let mut rule = Rule::default();
        for (keyword, value) in keywords {
            let at = &below(at, keyword);
            match keyword.as_str() {
                "title" | "description" | "default" | "examples" | "$schema" => {}
                "type" => rule.types = Some(types(at, value)?),
                "properties" => rule.properties = self.properties(at, value, depth)?,
                "required" => rule.required = self.names(at, value)?,
                "additionalProperties" => rule.additional = Some(Box::new(self.rule(at, value, depth + 1)?)),
                "items" => rule.items = Some(Box::new(self.rule(at, value, depth + 1)?)),
                "minItems" => rule.min_items = Some(count(at, value)?),
                "maxItems" => rule.max_items = Some(count(at, value)?),
                "enum" => rule.one_of_values = Some(join(rule.one_of_values.take(), self.values(at, value)?)),
                "const" => rule.one_of_values = Some(join(rule.one_of_values.take(), vec![value.clone()])),
                "minimum" => rule.minimum = Some(number(at, value)?),
                "maximum" => rule.maximum = Some(number(at, value)?),
                "exclusiveMinimum" => rule.exclusive_minimum = Some(number(at, value)?),
                "exclusiveMaximum" => rule.exclusive_maximum = Some(number(at, value)?),
                "minLength" => rule.min_length = Some(count(at, value)?),
                "maxLength" => rule.max_length = Some(count(at, value)?),
                "pattern" => rule.pattern = Some(self.pattern(at, value)?),
                "anyOf" => rule.any_of = self.any_of(at, value, depth)?,
                _ => {
                    return Err(error(
                        at,
                        "uses a keyword that is not supported; wit/about.wit lists those that are".into(),
                    ));
                }
            }
        }
        Ok(rule)
    }

    fn properties(&mut self, at: &str, value: &Value, depth: usize) -> Result<BTreeMap<String, Rule>, SchemaError> {
        let Value::Object(properties) = value else {
            return Err(error(at, "must be an object of schemas".to_owned()));
        };
        properties
            .iter()
            .map(|(name, value)| Ok((name.clone(), self.rule(&below(at, name), value, depth + 1)?)))
            .collect()
    }

    fn any_of(&mut self, at: &str, value: &Value, depth: usize) -> Result<Vec<Rule>, SchemaError> {
        let schemas = list(at, value)?.iter().enumerate();
        schemas.map(|(i, value)| self.rule(&below(at, &i.to_string()), value, depth + 1)).collect()
    }

    fn values(&mut self, at: &str, value: &Value) -> Result<Vec<Value>, SchemaError> {
        let values = list(at, value)?;
        self.add(at, values.len())?;
        Ok(values.clone())
    }

    fn names(&mut self, at: &str, value: &Value) -> Result<Vec<String>, SchemaError> {
        let wrong = || error(at, "must be a list of strings".to_owned());
        let names = value.as_array().ok_or_else(wrong)?;
        self.add(at, names.len())?;
        names.iter().map(|name| name.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
    }

    fn pattern(&mut self, at: &str, value: &Value) -> Result<Regex, SchemaError> {
        let text = value.as_str().ok_or_else(|| error(at, "must be a string".to_owned()))?;
        self.add(at, PATTERN_WEIGHT)?;
        let built = RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX).build();
        built.map_err(|why| error(at, format!("is not a pattern that can be used: {why}")))
    }
}

/// Values that both `enum` and `const` allow, where a schema has both.
fn join(before: Option<Vec<Value>>, now: Vec<Value>) -> Vec<Value> {
    match before {
        None => now,
        Some(before) => before.into_iter().filter(|v| now.iter().any(|n| super::check::equal(v, n))).collect(),
    }
}

fn types(at: &str, value: &Value) -> Result<BTreeSet<Type>, SchemaError> {
    let one = |value: &Value| {
        value.as_str().and_then(Type::parse).ok_or_else(|| {
            let words: Vec<&str> = Type::ALL.iter().map(|(_, word, _)| *word).collect();
            error(at, format!("must be one of {}, or a list of them", words.join(", ")))
        })
    };
    match value {
        Value::Array(types) if !types.is_empty() => types.iter().map(one).collect(),
        value => Ok([one(value)?].into()),
    }
}

fn list<'a>(at: &str, value: &'a Value) -> Result<&'a Vec<Value>, SchemaError> {
    match value {
        Value::Array(values) if !values.is_empty() => Ok(values),
        _ => Err(error(at, "must be a list of at least one".to_owned())),
    }
}

fn count(at: &str, value: &Value) -> Result<u64, SchemaError> {
    value.as_u64().ok_or_else(|| error(at, "must be a whole number, not negative".to_owned()))
}

fn number(at: &str, value: &Value) -> Result<Bound, SchemaError> {
    match value {
        Value::Number(number) => Ok(number.clone()),
        _ => Err(error(at, "must be a number".to_owned())),
    }
}
