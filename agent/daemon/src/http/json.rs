//! JSON as Go's encoder writes it.
//!
//! `<`, `>`, `&` and the two Unicode line separators are escaped even inside
//! plain strings, which clients in other languages have been known to compare
//! byte for byte. Pretty output uses four spaces and ends with a newline.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// Serialises `value`; with indentation and a final newline when `pretty`.
///
/// # Panics
/// When a map has keys that are not strings: our views have none.
pub fn encode<T: Serialize + ?Sized>(value: &T, pretty: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let result = match pretty {
        true => value.serialize(&mut Serializer::with_formatter(&mut out, Go(PrettyFormatter::with_indent(b"    ")))),
        false => value.serialize(&mut Serializer::with_formatter(&mut out, Go(CompactFormatter))),
    };
    result.expect("views have string keys, and a Vec takes all that is written");
    if pretty {
        out.push(b'\n');
    }
    out
}

/// Appends a string with its quotes and escapes.
pub fn push_string(text: &str, out: &mut String) {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&');
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&String::from_utf8(encode(text, false)).expect("JSON is UTF-8"));
    }
}

/// Appends a number.
pub fn push_number(number: u64, out: &mut String) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.push_str(str::from_utf8(&digits[at..]).expect("digits are ASCII"));
}

/// Whether there is surely nothing to escape: no `<`, `>` or `&`, and no first byte of a line separator.
///
/// Looks at blocks without leaving them early, which the compiler turns into wide instructions.
fn is_plain(text: &[u8]) -> bool {
    let special = |byte: &u8| matches!(byte, b'<' | b'>' | b'&' | 0xe2);
    let (blocks, rest) = text.as_chunks::<32>();
    blocks.iter().all(|block| !block.iter().fold(false, |found, byte| found | special(byte)))
        && !rest.iter().any(special)
}

/// A formatter with Go's escapes on top.
struct Go<F>(F);

impl<F: Formatter> Formatter for Go<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        if is_plain(fragment.as_bytes()) {
            return writer.write_all(fragment.as_bytes());
        }
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, from) = rest.split_at(at);
            let special = from.chars().next().expect("find stopped at a character");
            writer.write_all(plain.as_bytes())?;
            write!(writer, "\\u{:04x}", u32::from(special))?;
            rest = &from[special.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn gos_escapes_are_written() {
        let text = String::from_utf8(encode("a<b>&\u{2028}\"\u{1}ü", false)).expect("JSON is UTF-8");
        assert_eq!(text, r#""a\u003cb\u003e\u0026\u2028\"\u0001ü""#);
    }

    #[test]
    fn gos_escapes_are_found_wherever_they_are() {
        for length in 0..70 {
            let plain = "x".repeat(length);
            for special in ["<", "\u{2029}", "\u{2020}"] {
                let text =
                    String::from_utf8(encode(&format!("{plain}{special}{plain}"), false)).expect("JSON is UTF-8");
                let escaped = special.replace('<', r"\u003c").replace('\u{2029}', r"\u2029");
                assert_eq!(text, format!("\"{plain}{escaped}{plain}\""));
            }
        }
    }

    #[test]
    fn pretty_has_four_spaces_and_a_newline() {
        let text = String::from_utf8(encode(&json!({"a": [1], "b": {}}), true)).expect("JSON is UTF-8");
        assert_eq!(text, "{\n    \"a\": [\n        1\n    ],\n    \"b\": {}\n}\n");
    }
}
