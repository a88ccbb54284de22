//! Go's literals, as far as clients see them: quoted strings and integers.
//!
//! The filter language takes its string syntax and its error texts from Go's
//! `strconv`. Nothing here knows about filters.

use std::num::IntErrorKind;

/// `text` as Go's `%q` prints it.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if c.is_control() && (c as u32) < 0x80 => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The text of a literal with its quotes, as Go's `strconv.Unquote` reads it: double quotes with escapes, or backticks.
pub(super) fn unquote(literal: &str) -> Option<String> {
    let quote = literal.chars().next()?;
    let body = literal.get(1..literal.len().checked_sub(1)?)?;
    if quote == '`' {
        return Some(body.replace('\r', ""));
    }
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\n' => return None,
            '\\' => rest = unescape(rest, &mut out)?,
            _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    // Byte escapes may spell something that is not UTF-8; it can't equal any name we hold.
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// Reads what follows a backslash and returns what is left.
fn unescape<'t>(text: &'t str, out: &mut Vec<u8>) -> Option<&'t str> {
    let kind = text.chars().next()?;
    let rest = &text[kind.len_utf8()..];
    let simple = match kind {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        '"' => b'"',
        'x' => return numeric(rest, 2, 16, out, true),
        'u' => return numeric(rest, 4, 16, out, false),
        'U' => return numeric(rest, 8, 16, out, false),
        '0'..='7' => return numeric(text, 3, 8, out, true),
        _ => return None,
    };
    out.push(simple);
    Some(rest)
}

fn numeric<'t>(text: &'t str, digits: usize, radix: u32, out: &mut Vec<u8>, byte: bool) -> Option<&'t str> {
    let number = text.get(..digits)?;
    if !number.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = u32::from_str_radix(number, radix).ok()?;
    if byte {
        out.push(u8::try_from(value).ok()?);
    } else {
        out.extend_from_slice(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(&text[digits..])
}

/// An integer as Go's `strconv.ParseInt(text, 0, 64)` reads it: optional sign, `0x`, `0o`, `0b` or a leading zero for
/// the base, underscores between digits.
///
/// # Errors
/// Go's words for what is wrong.
pub(super) fn parse_int(text: &str) -> Result<i64, &'static str> {
    const SYNTAX: &str = "invalid syntax";
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => ("-", &text[1..]),
        Some(b'+') => ("", &text[1..]),
        _ => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = if let Some(body) = lower.strip_prefix("0x") {
        (16, body)
    } else if let Some(body) = lower.strip_prefix("0b") {
        (2, body)
    } else if let Some(body) = lower.strip_prefix("0o") {
        (8, body)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    // An underscore stands between digits, or between the base and the first digit.
    let based = body.len() < lower.len();
    let misplaced = body.ends_with('_') || body.contains("__") || (body.starts_with('_') && !based);
    let plain = body.replace('_', "");
    if misplaced || plain.is_empty() || plain.starts_with(['+', '-']) {
        return Err(SYNTAX);
    }
    i64::from_str_radix(&format!("{sign}{plain}"), radix).map_err(|error| match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => SYNTAX,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_read_as_go_reads_them() {
        for (text, expected) in [
            ("80", Ok(80)),
            ("-5", Ok(-5)),
            ("+80", Ok(80)),
            ("0x50", Ok(80)),
            ("0X_50", Ok(80)),
            ("0o120", Ok(80)),
            ("0b1010000", Ok(80)),
            ("0120", Ok(80)),
            ("8_0", Ok(80)),
            ("0", Ok(0)),
            ("-0", Ok(0)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err("value out of range")),
            ("", Err("invalid syntax")),
            (" 80", Err("invalid syntax")),
            ("_80", Err("invalid syntax")),
            ("80_", Err("invalid syntax")),
            ("8__0", Err("invalid syntax")),
            ("0x", Err("invalid syntax")),
            ("--5", Err("invalid syntax")),
            ("09", Err("invalid syntax")),
        ] {
            assert_eq!(parse_int(text), expected, "{text:?}");
        }
    }

    #[test]
    fn strings_read_as_go_reads_them() {
        for (literal, expected) in [
            (r#""n1""#, Some("n1")),
            (r#""\x6e1""#, Some("n1")),
            (r#""\1561""#, Some("n1")),
            (r#""\u00e9""#, Some("é")),
            (r#""a\nb""#, Some("a\nb")),
            (r"`a\n`", Some(r"a\n")),
            (r#""\q""#, None),
            (r#""n\""#, None),
            ("\"a\nb\"", None),
            (r#""\ud800""#, None),
            (r#""\400""#, None),
        ] {
            assert_eq!(unquote(literal).as_deref(), expected, "{literal}");
        }
    }
}
