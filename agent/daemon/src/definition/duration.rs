//! Durations in definitions: Go's notation in a string, or nanoseconds as a number.
//!
//! Signs and zero are kept: whether they make sense is for the caller to say.

use agent_core::duration;
use serde_json::Value;

use super::DecodeError;

/// The nanoseconds a JSON value stands for. What is neither string nor number counts as zero, as in Consul.
pub(super) fn nanoseconds(value: &Value) -> Result<i64, DecodeError> {
    match value {
        Value::String(text) => duration::parse(text).map_err(|error| DecodeError::Shape(error.to_string())),
        Value::Number(number) => Ok(number.as_i64().unwrap_or_else(|| number.as_f64().map_or(0, |n| n as i64))),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Ok(0),
    }
}

/// Milliseconds of a positive duration, rounded up; zero for the rest.
pub fn milliseconds(nanoseconds: i64) -> u64 {
    u64::try_from(nanoseconds).unwrap_or(0).div_ceil(1_000_000)
}
