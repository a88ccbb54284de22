//! Durations in definitions: Go's notation in a string, or nanoseconds as a number.
//!
//! Signs and zero are kept: whether they make sense is for the caller to say.

use serde_json::Value;

use super::DecodeError;

const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("\u{b5}s", 1e3),
    ("\u{3bc}s", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// The nanoseconds a JSON value stands for. What is neither string nor number counts as zero, as in Consul.
pub(super) fn nanoseconds(value: &Value) -> Result<i64, DecodeError> {
    match value {
        Value::String(text) => parse(text),
        Value::Number(number) => Ok(number.as_i64().unwrap_or_else(|| number.as_f64().map_or(0, |n| n as i64))),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Ok(0),
    }
}

/// Milliseconds of a positive duration, rounded up; zero for the rest.
pub fn milliseconds(nanoseconds: i64) -> u64 {
    u64::try_from(nanoseconds).unwrap_or(0).div_ceil(1_000_000)
}

/// The nanoseconds of a duration in Go's notation.
pub(crate) fn parse(text: &str) -> Result<i64, DecodeError> {
    let fail = |what: &str| Err(DecodeError::Shape(format!("time: {what} duration {text:?}")));
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return fail("invalid");
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let Ok(amount) = rest[..digits].parse::<f64>() else {
            return fail("invalid");
        };
        rest = &rest[digits..];
        let unit_len = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        if unit_len == 0 {
            return fail("missing unit in");
        }
        let unit = &rest[..unit_len];
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(DecodeError::Shape(format!("time: unknown unit {unit:?} in duration {text:?}")));
        };
        total += amount * scale;
        rest = &rest[unit_len..];
    }
    if total > i64::MAX as f64 {
        return fail("invalid");
    }
    Ok((sign * total) as i64)
}
