//! What the language accepts, told as pairs of a text and its JSON.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn accepted(text: &str) -> Value {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

#[test]
fn documents_that_consul_accepts() {
    for (text, expected) in [
        ("", json!({})),
        ("# only a comment", json!({})),
        ("ports { http = 8500 dns = 8600 }", json!({"ports": {"http": 8500, "dns": 8600}})),
        ("ports = { http = 1, dns = 2, }, server=true", json!({"ports": {"http": 1, "dns": 2}, "server": true})),
        (r#""data_dir" = "/x" "ports" { "http" = 1 }"#, json!({"data_dir": "/x", "ports": {"http": 1}})),
        (r#"service "web" { port = 80 }"#, json!({"service": {"web": {"port": 80}}})),
        (r#"key_prefix "" { policy = "read" }"#, json!({"key_prefix": {"": {"policy": "read"}}})),
        ("a = 0x1F90 b = 010 c = -5 d = 1.5e3 e = .5", json!({"a": 8080, "b": 8, "c": -5, "d": 1500.0, "e": 0.5})),
        ("a = -0X10 b = -9223372036854775808", json!({"a": -16, "b": i64::MIN})),
        (r#"a = "\x41\u00e9\101\n\"\\""#, json!({"a": "AéA\n\"\\"})),
        (
            r#"a = "x${b("c")}y" b = "{{ GetInterfaceIP \"eth0\" }}""#,
            json!({"a": "x${b(\"c\")}y", "b": "{{ GetInterfaceIP \"eth0\" }}"}),
        ),
        ("/* x */ // y\n# z\nserver /* a */ = true", json!({"server": true})),
        ("a = [\"x\", 1, [true,], {b = 1},]", json!({"a": ["x", 1, [true], {"b": 1}]})),
        ("a.b = 1 c-d = 2", json!({"a.b": 1, "c-d": 2})),
        (r#"{"a": {"b": [1, null]}}"#, json!({"a": {"b": [1, null]}})),
    ] {
        assert_eq!(accepted(text), expected, "{text}");
    }
}

#[test]
fn repeated_keys_fold_as_in_hcl_1() {
    for (text, expected) in [
        ("a {b=1} a {b=2} a {b=3}", json!({"a": [{"b": 1}, {"b": 2}, {"b": 3}]})),
        ("a = [{b=1}] a {b=2}", json!({"a": [{"b": 1}, {"b": 2}]})),
        ("a {b=1} a = [{b=2}]", json!({"a": [{"b": 1}, {"b": 2}]})),
        ("a = [1] a = [2]", json!({"a": [1, 2]})),
        ("a = 1 a = 2", json!({"a": 2})),
        ("s \"x\" {} s \"y\" {}", json!({"s": [{"x": {}}, {"y": {}}]})),
    ] {
        assert_eq!(accepted(text), expected, "{text}");
    }
}

#[test]
fn heredocs_keep_their_lines() {
    for (text, expected) in [
        ("a = <<EOF\nx ${y} %{z}\n  \"q\"\nEOF\nb = 1", json!({"a": "x ${y} %{z}\n  \"q\"\n", "b": 1})),
        ("a = <<-EOF\n  x\n    y\n  EOF\n", json!({"a": "x\n  y\n"})),
        ("a = <<-EOF\n  x\ny\n  EOF\n", json!({"a": "  x\ny\n"})),
        ("a = [<<E\nx\nE\n, \"b\"]", json!({"a": ["x\n", "b"]})),
    ] {
        assert_eq!(accepted(text), expected, "{text}");
    }
}

#[test]
fn errors_name_the_place() {
    for (text, expected) in [
        ("a = [\"a\" \"b\"]", "At 1:10: error parsing list, expected comma or list end, got: STRING"),
        ("\na = foo", "At 2:5: Unknown token: 2:5 IDENT foo"),
        ("a = true false", "At 1:10: expected a key, got: BOOL"),
        ("a = 'x'", "At 1:5: illegal char"),
        ("a = \"x\ny\"", "At 1:7: literal not terminated"),
        ("a = \"\\q\"", "At 1:6: illegal escape in a string"),
        ("a {\n b = 1", "At 2:7: expected a key, got: EOF"),
        ("a", "At 1:2: key 'a' expected start of object ('{') or assignment ('=')"),
        ("a = 09", "At 1:5: malformed number \"09\""),
        ("a = 99999999999999999999", "At 1:5: malformed number \"99999999999999999999\""),
        ("a = --5", "At 1:5: malformed number \"--5\""),
        ("a = 0X-8", "At 1:5: malformed number \"0X-8\""),
        ("a = 9223372036854775808", "At 1:5: malformed number \"9223372036854775808\""),
        (
            "a = -0X-80000000000000000000000000000000",
            "At 1:5: malformed number \"-0X-80000000000000000000000000000000\"",
        ),
        ("a = <<EOF\nx", "At 1:5: heredoc not terminated"),
        ("/* x", "At 1:1: comment not terminated"),
    ] {
        assert_eq!(refused(text), expected);
    }
}

#[test]
fn nesting_and_size_are_bounded() {
    for text in [
        "a = ".to_owned() + &"[".repeat(100_000),
        "a {".repeat(100_000),
        "a ".to_owned() + &"b ".repeat(100_000) + "{}",
        "{\"a\":".repeat(100) + "1" + &"}".repeat(100),
    ] {
        assert!(parse(&text).is_err());
    }
    assert!(parse(&"#".repeat(SIZE_BYTES_MAX + 1)).is_err());
}

#[test]
fn json_must_be_an_object() {
    assert!(parse_json("[]").is_err());
    assert_eq!(parse_json(" "), Ok(json!({})));
}

proptest! {
    #[test]
    fn no_text_panics(text in r#"([a-c"{}\[\]=,<\-0xX9.\\u$\n #/*é]|EOF|<<E\n){0,40}"#) {
        let _ = parse(&text);
    }
}
