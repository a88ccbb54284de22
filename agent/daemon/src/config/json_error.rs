//! What is wrong with a JSON text, in the words of Go's decoder.
//!
//! Users know these texts from Consul and scripts match them. Reads nothing but the text and the error about it.

/// The text for `error`, which came from reading `json`.
pub fn in_go_words(json: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    let Some((before, found)) = place(json, error) else {
        return text;
    };
    let expected = match what {
        "expected value" => "looking for beginning of value".to_owned(),
        "expected ident" => literal(before),
        "key must be a string" => "looking for beginning of object key string".to_owned(),
        "trailing comma" if found == '}' => "looking for beginning of object key string".to_owned(),
        "trailing comma" => "looking for beginning of value".to_owned(),
        "trailing characters" => "after top-level value".to_owned(),
        "expected `:`" => "after object key".to_owned(),
        "expected `,` or `}`" => "after object key:value pair".to_owned(),
        "expected `,` or `]`" => "after array element".to_owned(),
        _ => return text,
    };
    format!("invalid character {} {expected}", quoted(found))
}

/// What stands before the character that could not be read, and the character.
fn place<'a>(json: &'a [u8], error: &serde_json::Error) -> Option<(&'a str, char)> {
    let json = std::str::from_utf8(json).ok()?;
    let start: usize = json.split_inclusive('\n').take(error.line().checked_sub(1)?).map(str::len).sum();
    let (before, rest) = json.split_at_checked(start + error.column().checked_sub(1)?)?;
    Some((before, rest.chars().next()?))
}

/// What should have followed the letters of a word such as `true`.
fn literal(before: &str) -> String {
    let begun = before.rsplit(|letter: char| !letter.is_ascii_lowercase()).next().unwrap_or_default();
    let word = match begun.chars().next() {
        Some('t') => "true",
        Some('f') => "false",
        _ => "null",
    };
    let next = word.get(begun.len()..).and_then(|rest| rest.chars().next()).unwrap_or_default();
    format!("in literal {word} (expecting {})", quoted(next))
}

/// A character as Go's decoder quotes it.
fn quoted(found: char) -> String {
    match found {
        '\'' => r"'\''".to_owned(),
        '"' => "'\"'".to_owned(),
        '\n' => r"'\n'".to_owned(),
        '\t' => r"'\t'".to_owned(),
        '\r' => r"'\r'".to_owned(),
        found => format!("'{found}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_character_as_go_does() {
        for (json, expected) in [
            ("[", "unexpected end of JSON input"),
            ("nonsense", "invalid character 'o' in literal null (expecting 'u')"),
            ("{\"a\": }", "invalid character '}' looking for beginning of value"),
            ("{\n\"a\": tru,", "invalid character ',' in literal true (expecting 'e')"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\": 1 \"b\"}", "invalid character '\"' after object key:value pair"),
            ("{a: 1}", "invalid character 'a' looking for beginning of object key string"),
            ("1 x", "invalid character 'x' after top-level value"),
        ] {
            let error = serde_json::from_str::<serde_json::Value>(json).unwrap_err();
            assert_eq!(in_go_words(json.as_bytes(), &error), expected, "{json}");
        }
    }
}
