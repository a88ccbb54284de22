//! The filter language of `?filter=` (go-bexpr as Consul 1.8 speaks it).
//!
//! [`parser`] reads the text, [`schema`] says which selectors each family of
//! records has and which operators they take, [`record`] reads them off the
//! records of [`crate::state::tables`]; here an expression is checked against
//! its family and evaluated. Error texts are Consul's. Knows nothing of HTTP.
//!
//! Text comes from outside: its length, its nesting and the size of its
//! regular expressions are bounded.

mod parser;
mod quote;
mod record;
mod schema;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use regex::{Regex, RegexBuilder};

use crate::state::tables::ServiceAddress;

pub use record::{HealthRow, InstanceRow, NodeRow};
pub use schema::Family;

use parser::{Expression, Match, Operator};
use quote::quoted;
use schema::Shape;

/// The longest filter accepted, in bytes.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;

/// How deep parentheses and `not` may nest.
pub const DEPTH_MAX: usize = 64;

/// The largest compiled regular expression, in bytes.
pub const REGEX_BYTES_MAX: usize = 1 << 20;

/// Why a filter was refused. `Display` gives Consul's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// The text is no expression.
    Malformed(String),
    /// It is one, and does not fit the records: what most of Consul's endpoints say before they look at any, and
    /// `/v1/agent/checks` when it looks at the first.
    Unfit(String),
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (FilterError::Malformed(reason) | FilterError::Unfit(reason)) = self;
        write!(f, "Failed to create boolean expression evaluator: {reason}")
    }
}

impl std::error::Error for FilterError {}

/// A record that can be filtered.
pub trait Selectable {
    /// What the selector `path` names in this record. The path is one the record's [`Family`] has.
    fn select(&self, path: &[String]) -> Value<'_>;
}

/// What a selector found.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A string.
    Text(Cow<'a, str>),
    /// A number.
    Int(i64),
    /// A boolean.
    Bool(bool),
    /// A list of strings.
    Texts(&'a [String]),
    /// A map of strings.
    TextMap(&'a BTreeMap<String, String>),
    /// A map of addresses.
    AddressMap(&'a BTreeMap<String, ServiceAddress>),
    /// A list of records, of which only the length matters.
    Count(usize),
    /// The same selector on each record of a list: any of them may match.
    Each(Vec<Value<'a>>),
    /// A field that is not set: empty, zero or false.
    Unset,
    /// A key that the map does not have.
    Missing,
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(Cow::Borrowed(text))
    }
}

/// A filter that was checked against a family of records.
#[derive(Clone, Debug)]
pub struct Filter {
    root: Option<Test>,
}

#[derive(Clone, Debug)]
enum Test {
    Not(Box<Test>),
    All(Vec<Test>),
    Any(Vec<Test>),
    Field { path: Vec<String>, operator: Operator, operand: Operand },
}

#[derive(Clone, Debug)]
enum Operand {
    None,
    Text(String),
    Int(i64),
    Bool(bool),
    Pattern(Regex),
}

impl Filter {
    /// Reads `text` and checks it against `family`. An empty text matches everything.
    ///
    /// # Errors
    /// The text does not parse, names a selector the family does not have, uses an operator or a value that does not
    /// fit the selector, or is larger than the limits of this module. The text of the error is Consul's.
    pub fn compile(family: Family, text: &str) -> Result<Filter, FilterError> {
        if text.is_empty() {
            return Ok(Filter { root: None });
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(FilterError::Malformed(format!("the expression is longer than {TEXT_BYTES_MAX} bytes")));
        }
        let expression = parser::parse(text).map_err(FilterError::Malformed)?;
        check(expression, family.shape()).map(|root| Filter { root: Some(root) }).map_err(FilterError::Unfit)
    }

    /// Whether there is nothing to check.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Whether `record`, of the family the filter was compiled for, passes.
    pub fn matches(&self, record: &dyn Selectable) -> bool {
        self.root.as_ref().is_none_or(|test| test.passes(record))
    }
}

fn check(expression: Expression, shape: &Shape) -> Result<Test, String> {
    let all = |list: Vec<Expression>| list.into_iter().map(|one| check(one, shape)).collect::<Result<Vec<_>, _>>();
    Ok(match expression {
        Expression::Not(inner) => Test::Not(Box::new(check(*inner, shape)?)),
        Expression::All(list) => Test::All(all(list)?),
        Expression::Any(list) => Test::Any(all(list)?),
        Expression::Match(found) => check_match(found, shape)?,
    })
}

fn check_match(found: Match, shape: &Shape) -> Result<Test, String> {
    let Match { path, operator, value } = found;
    let selector = path.join(".");
    let leaf =
        shape.resolve(&path).map_err(|known| format!("Selector {} is not valid", quoted(&path[..known].join("."))))?;
    if !leaf.takes(operator) {
        return Err(format!("Invalid match operator {} for selector {}", quoted(operator.name()), quoted(&selector)));
    }
    let operand = match operator {
        Operator::IsEmpty | Operator::IsNotEmpty => Operand::None,
        Operator::Matches | Operator::NotMatches => Operand::Pattern(compile_regex(&value)?),
        Operator::Equal | Operator::NotEqual | Operator::In | Operator::NotIn => coerce(leaf, value, &selector)?,
    };
    Ok(Test::Field { path, operator, operand })
}

fn coerce(leaf: &Shape, value: String, selector: &str) -> Result<Operand, String> {
    let refuse = |function: &str, why: &str| {
        let value = quoted(&value);
        format!(
            "Failed to coerce value {value} for selector {}: strconv.{function}: parsing {value}: {why}",
            quoted(selector)
        )
    };
    match leaf {
        Shape::Int => quote::parse_int(&value).map(Operand::Int).map_err(|why| refuse("ParseInt", why)),
        Shape::Bool => match value.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Operand::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Operand::Bool(false)),
            _ => Err(refuse("ParseBool", "invalid syntax")),
        },
        Shape::Text | Shape::Texts | Shape::Map(_) | Shape::Record(_) | Shape::Records(_) => Ok(Operand::Text(value)),
    }
}

fn compile_regex(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).nest_limit(DEPTH_MAX as u32).build().map_err(|error| {
        // The crate draws a picture over several lines; the last one says what is wrong.
        let picture = error.to_string();
        let why = picture.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("Failed to compile regular expression {}: error parsing regexp: {why}: `{pattern}`", quoted(pattern))
    })
}

impl Test {
    fn passes(&self, record: &dyn Selectable) -> bool {
        match self {
            Test::Not(inner) => !inner.passes(record),
            Test::All(list) => list.iter().all(|test| test.passes(record)),
            Test::Any(list) => list.iter().any(|test| test.passes(record)),
            Test::Field { path, operator, operand } => value_passes(&record.select(path), *operator, operand),
        }
    }
}

fn value_passes(value: &Value<'_>, operator: Operator, operand: &Operand) -> bool {
    match value {
        Value::Each(values) => return values.iter().any(|value| value_passes(value, operator, operand)),
        Value::Missing => return operator.holds_for_missing_key(),
        Value::Text(_)
        | Value::Int(_)
        | Value::Bool(_)
        | Value::Texts(_)
        | Value::TextMap(_)
        | Value::AddressMap(_)
        | Value::Count(_)
        | Value::Unset => {}
    }
    match operator {
        Operator::Equal => equals(value, operand),
        Operator::NotEqual => !equals(value, operand),
        Operator::In => contains(value, operand),
        Operator::NotIn => !contains(value, operand),
        Operator::IsEmpty => is_empty(value),
        Operator::IsNotEmpty => !is_empty(value),
        Operator::Matches => is_match(value, operand),
        Operator::NotMatches => !is_match(value, operand),
    }
}

fn equals(value: &Value<'_>, operand: &Operand) -> bool {
    match (value, operand) {
        (Value::Text(text), Operand::Text(wanted)) => text == wanted,
        (Value::Int(number), Operand::Int(wanted)) => number == wanted,
        (Value::Bool(flag), Operand::Bool(wanted)) => flag == wanted,
        (Value::Unset, Operand::Text(wanted)) => wanted.is_empty(),
        (Value::Unset, Operand::Int(wanted)) => *wanted == 0,
        (Value::Unset, Operand::Bool(wanted)) => !wanted,
        _ => false,
    }
}

fn contains(value: &Value<'_>, operand: &Operand) -> bool {
    let Operand::Text(wanted) = operand else { return false };
    match value {
        Value::Text(text) => text.contains(wanted.as_str()),
        Value::Texts(list) => list.contains(wanted),
        Value::TextMap(map) => map.contains_key(wanted),
        Value::AddressMap(map) => map.contains_key(wanted),
        Value::Unset => wanted.is_empty(),
        Value::Int(_) | Value::Bool(_) | Value::Count(_) | Value::Each(_) | Value::Missing => false,
    }
}

fn is_empty(value: &Value<'_>) -> bool {
    match value {
        Value::Texts(list) => list.is_empty(),
        Value::TextMap(map) => map.is_empty(),
        Value::AddressMap(map) => map.is_empty(),
        Value::Count(count) => *count == 0,
        Value::Unset => true,
        Value::Text(_) | Value::Int(_) | Value::Bool(_) | Value::Each(_) | Value::Missing => false,
    }
}

fn is_match(value: &Value<'_>, operand: &Operand) -> bool {
    let Operand::Pattern(pattern) = operand else { return false };
    match value {
        Value::Text(text) => pattern.is_match(text),
        Value::Unset => pattern.is_match(""),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
