//! Holds a value against rules and says what is wrong in words for the person who wrote the value.

use super::{Bound, MESSAGES_MAX, Rule, Type, below};
use serde_json::{Map, Number, Value};
use std::cmp::Ordering;

/// Characters of a value or a list of choices that a message shows.
const SHOWN_MAX: usize = 120;

pub(super) fn check(root: &Rule, value: &Value) -> Result<(), Vec<String>> {
    let mut messages = Vec::new();
    rule(root, "", value, &mut messages);
    if messages.is_empty() { Ok(()) } else { Err(messages) }
}

fn say(messages: &mut Vec<String>, at: &str, what: String) {
    if messages.len() < MESSAGES_MAX {
        let at = if at.is_empty() { "the config" } else { at };
        messages.push(format!("{at}: {what}"));
    }
}

fn rule(rule: &Rule, at: &str, value: &Value, messages: &mut Vec<String>) {
    if messages.len() >= MESSAGES_MAX {
        return;
    }
    if rule.never {
        return say(messages, at, "is not allowed here".to_owned());
    }
    if let Some(types) = &rule.types {
        let is = Type::of(value);
        let fits = types.contains(&is) || (is == Type::Integer && types.contains(&Type::Number));
        if !fits {
            let allowed: Vec<&str> = types.iter().map(|t| t.phrase()).collect();
            return say(messages, at, format!("must be {}, not {}", allowed.join(" or "), is.phrase()));
        }
    }
    if let Some(values) = &rule.one_of_values
        && !values.iter().any(|v| equal(v, value))
    {
        let allowed: Vec<String> = values.iter().map(Value::to_string).collect();
        let allowed = match allowed.as_slice() {
            [one] => shown(one),
            many => format!("one of {}", shown(&many.join(", "))),
        };
        say(messages, at, format!("must be {allowed}, not {}", shown(&value.to_string())));
    }
    match value {
        Value::Number(n) => number(rule, at, n, messages),
        Value::String(s) => string(rule, at, s, messages),
        Value::Array(items) => list(rule, at, items, messages),
        Value::Object(fields) => object(rule, at, fields, messages),
        Value::Null | Value::Bool(_) => {}
    }
    any_of(rule, at, value, messages);
}

fn number(rule: &Rule, at: &str, n: &Number, messages: &mut Vec<String>) {
    let bounds: [(&Option<Bound>, &str, &[Ordering]); 4] = [
        (&rule.minimum, "at least", &[Ordering::Greater, Ordering::Equal]),
        (&rule.maximum, "at most", &[Ordering::Less, Ordering::Equal]),
        (&rule.exclusive_minimum, "more than", &[Ordering::Greater]),
        (&rule.exclusive_maximum, "less than", &[Ordering::Less]),
    ];
    for (bound, words, allowed) in bounds {
        if let Some(bound) = bound
            && !allowed.contains(&compare(n, bound))
        {
            say(messages, at, format!("must be {words} {bound}, not {n}"));
        }
    }
}

fn string(rule: &Rule, at: &str, s: &str, messages: &mut Vec<String>) {
    let length = s.chars().count() as u64;
    if let Some(min) = rule.min_length
        && length < min
    {
        say(messages, at, format!("must have at least {min} characters, not {length}"));
    }
    if let Some(max) = rule.max_length
        && length > max
    {
        say(messages, at, format!("must have at most {max} characters, not {length}"));
    }
    if let Some(pattern) = &rule.pattern
        && !pattern.is_match(s)
    {
        say(messages, at, format!("must match the pattern {}", pattern.as_str()));
    }
}

fn list(rule_: &Rule, at: &str, items: &[Value], messages: &mut Vec<String>) {
    let count = items.len() as u64;
    if let Some(min) = rule_.min_items
        && count < min
    {
        say(messages, at, format!("must have at least {min} items, not {count}"));
    }
    if let Some(max) = rule_.max_items
        && count > max
    {
        say(messages, at, format!("must have at most {max} items, not {count}"));
    }
    if let Some(item) = &rule_.items {
        for (i, value) in items.iter().enumerate() {
            rule(item, &below(at, &i.to_string()), value, messages);
        }
    }
}

fn object(rule_: &Rule, at: &str, fields: &Map<String, Value>, messages: &mut Vec<String>) {
    for name in &rule_.required {
        if !fields.contains_key(name) {
            say(messages, &below(at, name), "is missing".to_owned());
        }
    }
    for (name, value) in fields {
        let at = below(at, name);
        match (rule_.properties.get(name), &rule_.additional) {
            (Some(property), _) => rule(property, &at, value, messages),
            (None, Some(additional)) if additional.never => {
                let known: Vec<&str> = rule_.properties.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "nothing".to_owned() } else { shown(&known.join(", ")) };
                say(messages, &at, format!("is not known; allowed here: {known}"));
            }
            (None, Some(additional)) => rule(additional, &at, value, messages),
            (None, None) => {}
        }
    }
}

fn any_of(rule_: &Rule, at: &str, value: &Value, messages: &mut Vec<String>) {
    let mut why = Vec::new();
    for alternative in &rule_.any_of {
        let mut wrong = Vec::new();
        rule(alternative, at, value, &mut wrong);
        match wrong.into_iter().next() {
            None => return,
            Some(first) => why.push(first),
        }
    }
    if !why.is_empty() {
        why.truncate(4);
        say(messages, at, format!("fits none of the allowed forms ({})", why.join("; or ")));
    }
}

/// Equality as JSON Schema has it: 1 and 1.0 are one number.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare(a, b) == Ordering::Equal,
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}

/// Exact for whole numbers, which f64 is not past 2^53.
fn compare(a: &Number, b: &Number) -> Ordering {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
    }
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
