//! JSON bodies, refused in the words of Go's decoder.
//!
//! Clients print these texts, and some match on them. Like Go's stream decoder
//! it reads the first value and ignores what follows. The depth of a body is
//! bounded by the parser, its size by the route.

use serde::Deserialize;
use serde_json::Value;

use super::error::ApiError;

/// The JSON value of a request's body.
///
/// # Errors
/// 400 `Request decode failed: ...`.
pub fn request_body(body: &[u8]) -> Result<Value, ApiError> {
    first_value(body).map_err(|reason| ApiError::bad_request(format!("Request decode failed: {reason}")))
}

/// The first JSON value of `body`.
///
/// # Errors
/// What Go's decoder says.
pub fn first_value(body: &[u8]) -> Result<Value, String> {
    // Go replaces what is not UTF-8, serde_json refuses it.
    let text = String::from_utf8_lossy(body);
    if text.trim_ascii().is_empty() {
        return Err("EOF".to_owned());
    }
    let mut decoder = serde_json::Deserializer::from_str(&text);
    Value::deserialize(&mut decoder).map_err(|error| explain(&text, &error))
}

/// Go's text for a syntax error, by the character it happened at and what was expected there.
fn explain(text: &str, error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected EOF".to_owned();
    }
    let line = text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let mut at = error.column().saturating_sub(1).min(line.len());
    while !line.is_char_boundary(at) {
        at -= 1;
    }
    // A line feed counts as the start of the next line.
    let here = if error.column() == 0 { None } else { line[at..].chars().next() };
    let character = here.unwrap_or('\n');
    let reason = error.to_string();
    let context = match () {
        () if reason.starts_with("key must be a string") => "looking for beginning of object key string",
        () if reason.starts_with("trailing comma") && character == '}' => "looking for beginning of object key string",
        () if reason.starts_with("expected `:`") => "after object key",
        () if reason.starts_with("expected `,` or `}`") => "after object key:value pair",
        () if reason.starts_with("expected `,` or `]`") => "after array element",
        () if reason.starts_with("invalid escape") => "in string escape code",
        () if reason.starts_with("control character") => "in string literal",
        () if reason.starts_with("invalid number") => "in numeric literal",
        () if reason.starts_with("recursion limit") => return "exceeded max depth".to_owned(),
        () => "looking for beginning of value",
    };
    let shown = match character {
        '\'' => "'\\''".to_owned(),
        '\n' => "'\\n'".to_owned(),
        other => format!("'{other}'"),
    };
    format!("invalid character {shown} {context}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_errors_read_as_in_go() {
        let cases = [
            ("", "EOF"),
            ("  ", "EOF"),
            ("{", "unexpected EOF"),
            (r#"{"Name":"#, "unexpected EOF"),
            ("x", "invalid character 'x' looking for beginning of value"),
            (r#"{"Name" 1}"#, "invalid character '1' after object key"),
            (r#"{"Name":"a" 1}"#, "invalid character '1' after object key:value pair"),
            (r#"{"Name":"a",}"#, "invalid character '}' looking for beginning of object key string"),
            ("{1:2}", "invalid character '1' looking for beginning of object key string"),
            ("{'a':1}", r"invalid character '\'' looking for beginning of object key string"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("[1 2]", "invalid character '2' after array element"),
            (r#"{"Name":"\x"}"#, "invalid character 'x' in string escape code"),
            ("{\"Name\":\"a\nb\"}", r"invalid character '\n' in string literal"),
        ];
        for (body, text) in cases {
            assert_eq!(first_value(body.as_bytes()).unwrap_err(), text, "{body}");
        }
    }

    #[test]
    fn what_follows_the_first_value_is_ignored() {
        assert_eq!(first_value(b"{} trailing"), Ok(Value::Object(serde_json::Map::new())));
    }

    #[test]
    fn what_is_not_utf8_is_replaced() {
        assert_eq!(first_value(b"\"\xff\""), Ok(Value::String("\u{fffd}".to_owned())));
    }
}
