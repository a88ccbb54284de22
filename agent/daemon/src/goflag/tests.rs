//! Flag notation against what Go accepts and says.

use proptest::prelude::*;

use super::*;

const TABLE: &[FlagSpec] = &[
    FlagSpec::bool("b", "On or off."),
    FlagSpec::value("name", "string", "A name."),
    FlagSpec::value("tag", "value", "A tag. May be given several times.").repeated(),
    FlagSpec::uint("flags", "A number."),
];

fn read(line: &str) -> Result<Parsed, FlagError> {
    parse(TABLE, &line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>())
}

#[test]
fn accepts_every_notation_of_a_value() {
    for line in ["-name x", "--name x", "-name=x", "--name=x", "-name=y -name=x"] {
        assert_eq!(read(line).unwrap().last("name"), Some("x"), "{line}");
    }
}

#[test]
fn accepts_every_notation_of_a_boolean() {
    for (line, on) in [("-b", true), ("--b", true), ("-b=T", true), ("-b=false", false), ("-b=0", false), ("", false)] {
        assert_eq!(read(line).unwrap().bool("b"), on, "{line}");
    }
}

#[test]
fn a_boolean_does_not_eat_the_next_word() {
    assert_eq!(read("-b false").unwrap().positional, ["false"]);
}

#[test]
fn stops_at_the_first_word_and_after_two_dashes() {
    for (line, positional) in [
        ("-b key -name x", vec!["key", "-name", "x"]),
        ("-b -- -name x", vec!["-name", "x"]),
        ("-", vec!["-"]),
        ("- -b", vec!["-", "-b"]),
    ] {
        assert_eq!(read(line).unwrap().positional, positional, "{line}");
    }
}

#[test]
fn keeps_every_value_of_a_repeatable_flag_only() {
    let parsed = read("-tag a -tag=b -name c -name d").unwrap();
    assert_eq!((parsed.all("tag"), parsed.all("name")), (&["a".into(), "b".into()][..], &["d".into()][..]));
}

#[test]
fn a_value_may_look_like_a_flag_or_be_empty() {
    assert_eq!(read("-name -b").unwrap().last("name"), Some("-b"));
    assert_eq!(read("-name=").unwrap().last("name"), Some(""));
    assert_eq!(read("-name=a=b").unwrap().last("name"), Some("a=b"));
}

#[test]
fn mistakes_read_as_in_go() {
    for (line, text) in [
        ("-x", "flag provided but not defined: -x"),
        ("--x=1", "flag provided but not defined: -x"),
        ("-name", "flag needs an argument: -name"),
        ("-b=x", "invalid boolean value \"x\" for -b: parse error"),
        ("-flags=-1", "invalid value \"-1\" for flag -flags: parse error"),
        ("-flags 18446744073709551616", "invalid value \"18446744073709551616\" for flag -flags: value out of range"),
        ("---b", "bad flag syntax: ---b"),
        ("-=b", "bad flag syntax: -=b"),
        ("-h", "flag: help requested"),
    ] {
        assert_eq!(read(line).unwrap_err().to_string(), text, "{line}");
    }
}

#[test]
fn numbers_are_read_with_their_base() {
    for (text, number) in [
        ("0", Ok(0)),
        ("10", Ok(10)),
        ("0x1F", Ok(31)),
        ("010", Ok(8)),
        ("0o17", Ok(15)),
        ("0b11", Ok(3)),
        ("0x1_0", Ok(16)),
        ("1_0", Err("parse error")),
        ("0x", Err("parse error")),
        ("09", Err("parse error")),
        ("+1", Err("parse error")),
        ("", Err("parse error")),
    ] {
        assert_eq!(parse_uint(text), number, "{text}");
    }
}

#[test]
fn help_is_sorted_and_wrapped() {
    let long = "Nine words that fill a line, then more than enough to need another one.";
    let specs = [FlagSpec::value("z", "value", long), FlagSpec::bool("a", "First.")];
    let expected = "Command Options\n\n  -a\n     First.\n\n  -z=<value>\n     Nine words that fill a line, then more than enough to need another\n     one.\n\n";
    assert_eq!(help_section("Command Options", &specs), expected);
}

#[test]
fn usage_after_a_mistake_has_go_s_layout() {
    assert_eq!(
        usage_after_error(TABLE),
        "Usage:\n  -b\tOn or off.\n  -flags uint\n    \tA number.\n  -name string\n    \tA name.\n  -tag value\n    \tA tag. May be given several times.\n"
    );
}

proptest! {
    #[test]
    fn never_panics(args in prop::collection::vec("(--?|---)?[a-z=\\PC]{0,6}", 0..8)) {
        let words = args.len();
        if let Ok(parsed) = parse(TABLE, &args) {
            prop_assert!(parsed.positional.len() <= words);
        }
    }

    #[test]
    fn a_quoted_value_survives_with_either_notation(value in "\\PC*") {
        let inline = parse(TABLE, &[format!("-name={value}")]).unwrap();
        let apart = parse(TABLE, &["-name".to_owned(), value.clone()]).unwrap();
        prop_assert_eq!(inline.last("name"), Some(value.as_str()));
        prop_assert_eq!(apart.last("name"), Some(value.as_str()));
    }

    #[test]
    fn numbers_and_quotes_never_panic(text in "\\PC*") {
        let _ = parse_uint(&text);
        prop_assert!(quote(&text).starts_with('"'));
    }
}

#[test]
fn signed_numbers_and_pairs_are_checked() {
    let table = [FlagSpec::int("port", "A number."), FlagSpec::pair("meta", "Metadata.").repeated()];
    let read = |line: &str| parse(&table, &line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    let parsed = read("-port=-0x10 -meta a=b=c -meta=d=").unwrap();
    assert_eq!(parsed.int("port"), -16);
    assert_eq!(parsed.pairs("meta").collect::<Vec<_>>(), [("a", "b=c"), ("d", "")]);
    for (line, text) in [
        ("-port=x", "invalid value \"x\" for flag -port: parse error"),
        ("-port=9223372036854775808", "invalid value \"9223372036854775808\" for flag -port: value out of range"),
        ("-meta=x", "invalid value \"x\" for flag -meta: Missing \"=\" value in argument: x"),
    ] {
        assert_eq!(read(line).unwrap_err().to_string(), text);
    }
}
