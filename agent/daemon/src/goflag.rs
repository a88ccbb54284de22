//! Flags in Go's notation: `-flag value`, `--flag=value`, booleans without a value.
//!
//! Owns how a command line is split into flags and positional words, the texts
//! of the mistakes, and the two ways a flag table is printed. It knows no
//! command, reads no environment and prints nothing itself.
//! The notation is that of Go's package `flag`: parsing stops at the first
//! word that is not a flag, or after `--`.

use std::collections::BTreeMap;
use std::fmt;

/// Width of a help line without its indentation, in characters.
const HELP_WIDTH: usize = 67;

/// What a flag expects behind its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing, or `=true`, `=false` and their short forms.
    Bool,
    /// Any text.
    Value,
    /// An unsigned 64-bit number in Go's notation (`10`, `0x0a`, `1_000`).
    Uint,
    /// The same with a sign, in 64 bits.
    Int,
    /// `key=value`.
    Pair,
}

/// One row of a command's flag table.
#[derive(Clone, Copy, Debug)]
pub struct FlagSpec {
    /// The name, without dashes.
    pub name: &'static str,
    /// What follows the name.
    pub takes: Takes,
    /// Whether every occurrence counts; otherwise the last one wins.
    pub repeatable: bool,
    /// What the help calls the value, such as `value` or `string`; unused for booleans.
    pub value_name: &'static str,
    /// One or more sentences for the help.
    pub help: &'static str,
}

impl FlagSpec {
    /// A boolean.
    pub const fn bool(name: &'static str, help: &'static str) -> Self {
        FlagSpec { name, takes: Takes::Bool, repeatable: false, value_name: "", help }
    }

    /// A flag with a text behind it.
    pub const fn value(name: &'static str, value_name: &'static str, help: &'static str) -> Self {
        FlagSpec { name, takes: Takes::Value, repeatable: false, value_name, help }
    }

    /// A flag with an unsigned number behind it.
    pub const fn uint(name: &'static str, help: &'static str) -> Self {
        FlagSpec { name, takes: Takes::Uint, repeatable: false, value_name: "uint", help }
    }

    /// A flag with a number behind it.
    pub const fn int(name: &'static str, help: &'static str) -> Self {
        FlagSpec { name, takes: Takes::Int, repeatable: false, value_name: "int", help }
    }

    /// A flag with `key=value` behind it.
    pub const fn pair(name: &'static str, help: &'static str) -> Self {
        FlagSpec { name, takes: Takes::Pair, repeatable: false, value_name: "key=value", help }
    }

    /// The same flag, given any number of times.
    pub const fn repeated(self) -> Self {
        FlagSpec { repeatable: true, ..self }
    }
}

/// Why a command line was refused. Nothing of it has taken effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagError {
    /// `-h` or `-help`, where the table has no such flag.
    Help,
    /// A dash with nothing usable behind it, such as `---x` or `-=x`.
    BadSyntax(String),
    /// A name that is not in the table.
    Undefined(String),
    /// The last word is a flag that expects a value.
    NeedsArgument(String),
    /// A boolean with a value that is not one.
    InvalidBool {
        /// What was written.
        value: String,
        /// The flag's name.
        name: String,
    },
    /// A value that its flag does not accept.
    InvalidValue {
        /// What was written.
        value: String,
        /// The flag's name.
        name: String,
        /// What is wrong with it, as Go says it: `parse error`, `value out of range`.
        reason: String,
    },
}

impl fmt::Display for FlagError {
    /// The texts of Go's package `flag`, which scripts match on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlagError::Help => f.write_str("flag: help requested"),
            FlagError::BadSyntax(word) => write!(f, "bad flag syntax: {word}"),
            FlagError::Undefined(name) => write!(f, "flag provided but not defined: -{name}"),
            FlagError::NeedsArgument(name) => write!(f, "flag needs an argument: -{name}"),
            FlagError::InvalidBool { value, name } => {
                write!(f, "invalid boolean value {} for -{name}: parse error", quote(value))
            }
            FlagError::InvalidValue { value, name, reason } => {
                write!(f, "invalid value {} for flag -{name}: {reason}", quote(value))
            }
        }
    }
}

impl std::error::Error for FlagError {}

/// What a command line said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    flags: BTreeMap<&'static str, Vec<String>>,
    /// The words after the flags.
    pub positional: Vec<String>,
}

impl Parsed {
    /// The value given last; booleans read `true` or `false`. `None` when the flag is absent.
    pub fn last(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    /// Every value of a repeatable flag in the order given, or the last value of another one.
    pub fn all(&self, name: &str) -> &[String] {
        self.flags.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a boolean is on; absent means off.
    pub fn bool(&self, name: &str) -> bool {
        self.last(name) == Some("true")
    }

    /// The number behind a [`Takes::Uint`] flag; absent means zero.
    pub fn uint(&self, name: &str) -> u64 {
        self.last(name).and_then(|value| parse_uint(value).ok()).unwrap_or(0)
    }

    /// The number behind a [`Takes::Int`] flag; absent means zero.
    pub fn int(&self, name: &str) -> i64 {
        self.last(name).and_then(|value| parse_int(value).ok()).unwrap_or(0)
    }

    /// The halves of every value of a [`Takes::Pair`] flag, in the order given.
    pub fn pairs(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        self.all(name).iter().filter_map(|pair| pair.split_once('='))
    }

    /// Whether the flag was given at all.
    pub fn is_set(&self, name: &str) -> bool {
        self.flags.contains_key(name)
    }
}

/// Splits `args` (without program and command names) by the flag table.
///
/// # Errors
/// The first mistake from the left.
pub fn parse(specs: &[FlagSpec], args: &[String]) -> Result<Parsed, FlagError> {
    split(specs, args, false)
}

/// The same where flags may also stand after other words, up to `--`.
///
/// # Errors
/// As [`parse`].
pub fn parse_anywhere(specs: &[FlagSpec], args: &[String]) -> Result<Parsed, FlagError> {
    split(specs, args, true)
}

fn split(specs: &[FlagSpec], args: &[String], anywhere: bool) -> Result<Parsed, FlagError> {
    let mut parsed = Parsed::default();
    let mut rest = args;
    while let [word, after @ ..] = rest {
        if word == "--" {
            rest = after;
            break;
        }
        if word.len() < 2 || !word.starts_with('-') {
            if !anywhere {
                break;
            }
            parsed.positional.push(word.clone());
            rest = after;
            continue;
        }
        rest = after;
        let (name, inline) = split_flag(word)?;
        let spec = find(specs, name)?;
        let value = match (spec.takes, inline) {
            (Takes::Bool, None) => "true",
            (_, Some(value)) => value,
            (Takes::Value | Takes::Uint | Takes::Int | Takes::Pair, None) => {
                let (value, after) =
                    rest.split_first().ok_or_else(|| FlagError::NeedsArgument(spec.name.to_owned()))?;
                rest = after;
                value
            }
        };
        let value = check(spec, value)?;
        let values = parsed.flags.entry(spec.name).or_default();
        if !spec.repeatable {
            values.clear();
        }
        values.push(value);
    }
    parsed.positional.extend_from_slice(rest);
    Ok(parsed)
}

/// Name and inline value of `-name` or `--name=value`.
fn split_flag(word: &str) -> Result<(&str, Option<&str>), FlagError> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).unwrap_or(word);
    if name.is_empty() || name.starts_with(['-', '=']) {
        return Err(FlagError::BadSyntax(word.to_owned()));
    }
    Ok(match name.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (name, None),
    })
}

fn find<'a>(specs: &'a [FlagSpec], name: &str) -> Result<&'a FlagSpec, FlagError> {
    match specs.iter().find(|spec| spec.name == name) {
        Some(spec) => Ok(spec),
        None if name == "h" || name == "help" => Err(FlagError::Help),
        None => Err(FlagError::Undefined(name.to_owned())),
    }
}

fn check(spec: &FlagSpec, value: &str) -> Result<String, FlagError> {
    let (value, name) = (value.to_owned(), spec.name.to_owned());
    match spec.takes {
        Takes::Value => Ok(value),
        Takes::Bool => match parse_bool(&value) {
            Some(on) => Ok(on.to_string()),
            None => Err(FlagError::InvalidBool { value, name }),
        },
        Takes::Uint => match parse_uint(&value) {
            Ok(_) => Ok(value),
            Err(reason) => Err(FlagError::InvalidValue { value, name, reason: reason.to_owned() }),
        },
        Takes::Int => match parse_int(&value) {
            Ok(_) => Ok(value),
            Err(reason) => Err(FlagError::InvalidValue { value, name, reason: reason.to_owned() }),
        },
        Takes::Pair if value.contains('=') => Ok(value),
        Takes::Pair => {
            let reason = format!("Missing \"=\" value in argument: {value}");
            Err(FlagError::InvalidValue { value, name, reason })
        }
    }
}

/// The words Go's `strconv.ParseBool` takes.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// An unsigned number as Go's `strconv.ParseUint` with base 0 takes it.
///
/// # Errors
/// `parse error` or `value out of range`.
pub fn parse_uint(text: &str) -> Result<u64, &'static str> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // An underscore may stand between digits, and after a base prefix, only when there is a prefix.
    let prefixed = digits.len() < lower.len();
    let bare = digits.replace('_', "");
    let misplaced = bare.len() < digits.len() && (!prefixed || digits.ends_with('_') || digits.contains("__"));
    if bare.is_empty() || misplaced || !bare.chars().all(|digit| digit.is_digit(radix)) {
        return Err("parse error");
    }
    u64::from_str_radix(&bare, radix).map_err(|_| "value out of range")
}

/// A number with an optional sign, otherwise as [`parse_uint`].
///
/// # Errors
/// `parse error` or `value out of range`.
pub fn parse_int(text: &str) -> Result<i64, &'static str> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = i128::from(parse_uint(digits)?);
    i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| "value out of range")
}

/// A text in Go's double quotes (`%q`).
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A flag table as the help shows it: a title, then each flag with its wrapped text, sorted by name.
///
/// Empty when the table is. Ends with a blank line.
pub fn help_section(title: &str, specs: &[FlagSpec]) -> String {
    if specs.is_empty() {
        return String::new();
    }
    let mut text = format!("{title}\n\n");
    for spec in sorted(specs) {
        match spec.takes {
            Takes::Bool => text.push_str(&format!("  -{}\n", spec.name)),
            Takes::Value | Takes::Uint | Takes::Int | Takes::Pair => {
                text.push_str(&format!("  -{}=<{}>\n", spec.name, spec.value_name))
            }
        }
        for line in wrap(spec.help, HELP_WIDTH) {
            text.push_str(&format!("     {line}\n"));
        }
        text.push('\n');
    }
    text
}

/// A flag table as Go prints it under a mistake: `Usage:`, then each flag with its text on one line.
pub fn usage_after_error(specs: &[FlagSpec]) -> String {
    let mut text = String::from("Usage:\n");
    for spec in sorted(specs) {
        let head = match spec.takes {
            Takes::Bool => format!("  -{}", spec.name),
            Takes::Value | Takes::Uint | Takes::Int | Takes::Pair => format!("  -{} {}", spec.name, spec.value_name),
        };
        // Go puts the text of a one-letter boolean on the same line.
        let gap = if head.len() <= 4 { "\t" } else { "\n    \t" };
        text.push_str(&format!("{head}{gap}{}\n", spec.help));
    }
    text
}

fn sorted(specs: &[FlagSpec]) -> Vec<&FlagSpec> {
    let mut sorted: Vec<&FlagSpec> = specs.iter().collect();
    sorted.sort_by_key(|spec| spec.name);
    sorted
}

/// Lines of at most `width` characters, broken at spaces; a longer word gets its own line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests;
