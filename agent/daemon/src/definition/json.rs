//! Reads the first JSON value of a request body, refusing in the words of Go's decoder.
//!
//! Go ignores what follows the first value, and so do its clients' habits.

use serde_json::Value;

use super::DecodeError;

/// The first JSON value of `body`.
///
/// # Errors
/// [`DecodeError::Shape`]: it is empty, cut off, or no JSON.
pub fn parse_json(body: &[u8]) -> Result<Value, DecodeError> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let shape = |reason: String| Err(DecodeError::Shape(reason));
    match values.next() {
        None => shape("EOF".to_owned()),
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) if error.is_eof() => shape("unexpected EOF".to_owned()),
        Some(Err(error)) => shape(in_gos_words(body, &error)),
    }
}

fn in_gos_words(body: &[u8], error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = [
        ("key must be a string", "looking for beginning of object key string"),
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("expected `:`", "after object key"),
        ("trailing comma", "looking for beginning of value"),
        ("expected value", "looking for beginning of value"),
    ];
    let Some((_, place)) = place.iter().find(|(ours, _)| text.starts_with(ours)) else {
        return text;
    };
    let line = body.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    match line.get(error.column().saturating_sub(1)) {
        Some(b'\'') => format!("invalid character '\\'' {place}"),
        Some(byte) => format!("invalid character '{}' {place}", char::from(*byte)),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn faults_are_worded_as_go_words_them() {
        let cases = [
            ("", "EOF"),
            ("{", "unexpected EOF"),
            (r#"{"Name":"a" "x"}"#, "invalid character '\"' after object key:value pair"),
            (r#"{"Name":"a", x}"#, "invalid character 'x' looking for beginning of object key string"),
            (r#"{Name:"a"}"#, "invalid character 'N' looking for beginning of object key string"),
            ("hello", "invalid character 'h' looking for beginning of value"),
        ];
        for (body, expected) in cases {
            assert_eq!(parse_json(body.as_bytes()), Err(DecodeError::Shape(expected.to_owned())), "{body}");
        }
    }

    #[test]
    fn what_follows_the_first_value_is_ignored() {
        assert_eq!(parse_json(br#"{"a":1} trailing"#), Ok(json!({"a": 1})));
    }
}
