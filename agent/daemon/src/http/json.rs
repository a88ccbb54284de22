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
    let mut out = Vec::with_capacity(256);
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

/// A formatter with Go's escapes on top.
struct Go<F>(F);

impl<F: Formatter> Formatter for Go<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
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
    fn pretty_has_four_spaces_and_a_newline() {
        let text = String::from_utf8(encode(&json!({"a": [1], "b": {}}), true)).expect("JSON is UTF-8");
        assert_eq!(text, "{\n    \"a\": [\n        1\n    ],\n    \"b\": {}\n}\n");
    }
}
