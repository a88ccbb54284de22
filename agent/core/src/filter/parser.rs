//! Reads the text of a filter.
//!
//! The grammar is a PEG, and clients see how far it got: a refusal names the
//! position furthest right and everything that could have stood there. So the
//! functions below follow the grammar rule by rule and note every terminal
//! that did not match, also in branches that were given up. Parsing takes time
//! linear in the text (alternatives that start alike share their start).
//!
//! ```text
//! or       = and { _ "or" _ and }          not      = "not" _ not / group
//! and      = not { _ "and" _ not }         group    = "(" [_] or [_] ")" / match
//! match    = selector op value / selector _ "is" _ ["not" _] "empty" / value _ ["not" _] "in" _ selector
//! op       = [_] ("==" / "!=") [_] / _ ["not" _] ("contains" / "matches") _
//! selector = name { "." name / "[" [_] string [_] "]" }
//! value    = selector / number / string
//! ```

use std::collections::BTreeSet;

use super::DEPTH_MAX;
use super::quote::unquote;

/// What a text says.
#[derive(Debug, PartialEq)]
pub(super) enum Expression {
    Not(Box<Expression>),
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Match(Match),
}

/// A comparison.
#[derive(Debug, PartialEq)]
pub(super) struct Match {
    pub path: Vec<String>,
    pub operator: Operator,
    /// Empty for the operators that take none.
    pub value: String,
}

/// How a comparison compares. `contains` is `in` with the sides swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    In,
    NotIn,
    IsEmpty,
    IsNotEmpty,
    Matches,
    NotMatches,
}

impl Operator {
    /// Consul's name for it in error texts.
    pub(super) fn name(self) -> &'static str {
        match self {
            Operator::Equal => "Equal",
            Operator::NotEqual => "Not Equal",
            Operator::In => "In",
            Operator::NotIn => "Not In",
            Operator::IsEmpty => "Is Empty",
            Operator::IsNotEmpty => "Is Not Empty",
            Operator::Matches => "Matches",
            Operator::NotMatches => "Not Matches",
        }
    }

    /// Consul's answer when a map lacks the key. That `matches` then passes is its behaviour, not an oversight here.
    pub(super) fn holds_for_missing_key(self) -> bool {
        match self {
            Operator::Equal | Operator::In | Operator::IsNotEmpty => false,
            Operator::NotEqual | Operator::NotIn | Operator::IsEmpty | Operator::Matches | Operator::NotMatches => true,
        }
    }
}

/// Reads a whole text.
///
/// # Errors
/// Consul's description of what is wrong and where.
pub(super) fn parse(text: &str) -> Result<Expression, String> {
    let mut parser = Parser { text, furthest: 0, expected: BTreeSet::new(), errors: Vec::new(), depth: 0 };
    let start = parser.optional_space(0);
    let found = parser.or(start).and_then(|(expression, at)| {
        let at = parser.optional_space(at);
        parser.end(at).then_some(expression)
    });
    match found {
        Some(expression) if parser.errors.is_empty() => Ok(expression),
        Some(_) | None => Err(parser.failure()),
    }
}

const SPACE: &str = r"[ \t\r\n]";

struct Parser<'t> {
    text: &'t str,
    /// The position furthest right where a terminal did not match, and those terminals.
    furthest: usize,
    expected: BTreeSet<&'static str>,
    /// What rules refused by themselves. They stand even if another branch would match.
    errors: Vec<String>,
    depth: usize,
}

type Found<T> = Option<(T, usize)>;

impl Parser<'_> {
    fn or(&mut self, at: usize) -> Found<Expression> {
        self.depth += 1;
        let found = if self.depth > DEPTH_MAX {
            self.refuse(at, None, &format!("the expression is nested deeper than {DEPTH_MAX} levels"));
            None
        } else {
            self.joined(at, r#""or""#, Self::and, Expression::Any)
        };
        self.depth -= 1;
        found
    }

    fn and(&mut self, at: usize) -> Found<Expression> {
        self.joined(at, r#""and""#, Self::not, Expression::All)
    }

    /// One or more of what `rule` reads, with `word` between them.
    fn joined(
        &mut self,
        at: usize,
        word: &'static str,
        rule: fn(&mut Self, usize) -> Found<Expression>,
        wrap: fn(Vec<Expression>) -> Expression,
    ) -> Found<Expression> {
        let (first, mut at) = rule(self, at)?;
        let mut list = vec![first];
        while let Some((next, after)) = self.words(at, &[word], true).and_then(|after| rule(self, after)) {
            list.push(next);
            at = after;
        }
        let only = if list.len() == 1 { list.pop() } else { None };
        Some((only.unwrap_or_else(|| wrap(list)), at))
    }

    fn not(&mut self, start: usize) -> Found<Expression> {
        // Several `not` in a row are a loop, so that the stack does not depend on the text.
        let mut at = start;
        let mut starts = vec![start];
        while let Some(after) = self.literal(at, r#""not""#).and_then(|at| self.space(at)) {
            at = after;
            starts.push(at);
            if starts.len() > DEPTH_MAX {
                self.refuse(at, None, &format!("the expression is nested deeper than {DEPTH_MAX} levels"));
                return None;
            }
        }
        // `not` may also be a selector: give the words back one by one.
        while let Some(start) = starts.pop() {
            if let Some((mut expression, after)) = self.group(start) {
                for _ in &starts {
                    expression = Expression::Not(Box::new(expression));
                }
                return Some((expression, after));
            }
        }
        None
    }

    fn group(&mut self, at: usize) -> Found<Expression> {
        let Some(inside) = self.literal(at, r#""(""#) else { return self.comparison(at) };
        let inside = self.optional_space(inside);
        let (expression, after) = self.or(inside)?;
        let after = self.optional_space(after);
        let Some(end) = self.literal(after, r#"")""#) else {
            self.refuse(after, Some("grouping"), "Unmatched parentheses");
            return None;
        };
        Some((expression, end))
    }

    fn comparison(&mut self, at: usize) -> Found<Expression> {
        let selected = self.selector(at);
        if let Some((path, after)) = &selected {
            if let Some((operator, after)) = self.infix(*after)
                && let Some((value, after)) = self.value(after)
            {
                return Some((matching(path.clone(), operator, value), after));
            }
            if let Some((operator, after)) = self.suffix(*after) {
                return Some((matching(path.clone(), operator, String::new()), after));
            }
        }
        let (value, after) = match selected {
            Some((path, after)) => (path.join("."), after),
            None => self.number(at).or_else(|| self.string(at))?,
        };
        let (operator, after) = self.membership(after)?;
        let Some((path, end)) = self.selector(after) else {
            self.refuse(after, Some("match"), "Invalid selector");
            return None;
        };
        Some((matching(path, operator, value), end))
    }

    /// An operator between a selector and a value.
    fn infix(&mut self, at: usize) -> Found<Operator> {
        for (literal, operator) in [(r#""==""#, Operator::Equal), (r#""!=""#, Operator::NotEqual)] {
            let spaced = self.optional_space(at);
            if let Some(after) = self.literal(spaced, literal) {
                return Some((operator, self.optional_space(after)));
            }
        }
        for (words, operator) in [
            (&[r#""contains""#][..], Operator::In),
            (&[r#""not""#, r#""contains""#], Operator::NotIn),
            (&[r#""matches""#], Operator::Matches),
            (&[r#""not""#, r#""matches""#], Operator::NotMatches),
        ] {
            if let Some(after) = self.words(at, words, true) {
                return Some((operator, after));
            }
        }
        None
    }

    /// An operator that needs no value.
    fn suffix(&mut self, at: usize) -> Found<Operator> {
        if let Some(after) = self.words(at, &[r#""is""#, r#""empty""#], false) {
            return Some((Operator::IsEmpty, after));
        }
        self.words(at, &[r#""is""#, r#""not""#, r#""empty""#], false).map(|after| (Operator::IsNotEmpty, after))
    }

    /// An operator between a value and a selector.
    fn membership(&mut self, at: usize) -> Found<Operator> {
        if let Some(after) = self.words(at, &[r#""in""#], true) {
            return Some((Operator::In, after));
        }
        self.words(at, &[r#""not""#, r#""in""#], true).map(|after| (Operator::NotIn, after))
    }

    /// Words with space before each, and after the last one if `trailing`.
    fn words(&mut self, at: usize, words: &[&'static str], trailing: bool) -> Option<usize> {
        let mut at = at;
        for word in words {
            let spaced = self.space(at)?;
            at = self.literal(spaced, word)?;
        }
        if trailing { self.space(at) } else { Some(at) }
    }

    fn value(&mut self, at: usize) -> Found<String> {
        if let Some((path, after)) = self.selector(at) {
            return Some((path.join("."), after));
        }
        self.number(at).or_else(|| self.string(at))
    }

    fn selector(&mut self, at: usize) -> Found<Vec<String>> {
        let (first, mut at) = self.name(at)?;
        let mut path = vec![first];
        loop {
            let next = match self.literal(at, r#"".""#) {
                Some(after) => self.name(after),
                None => self.index(at),
            };
            let Some((part, after)) = next else { return Some((path, at)) };
            path.push(part);
            at = after;
        }
    }

    fn name(&mut self, at: usize) -> Found<String> {
        let mut end = self.class(at, "[a-zA-Z]", |c| c.is_ascii_alphabetic())?;
        while let Some(after) = self.class(end, "[a-zA-Z0-9_]", |c| c.is_ascii_alphanumeric() || c == '_') {
            end = after;
        }
        Some((self.text[at..end].to_owned(), end))
    }

    fn index(&mut self, at: usize) -> Found<String> {
        let open = self.literal(at, r#""[""#)?;
        let open = self.optional_space(open);
        let Some((key, after)) = self.string(open) else {
            self.refuse(open, Some("index"), "Invalid index");
            return None;
        };
        let after = self.optional_space(after);
        let Some(end) = self.literal(after, r#""]""#) else {
            self.refuse(after, Some("index"), "Unclosed index expression");
            return None;
        };
        Some((key, end))
    }

    fn number(&mut self, start: usize) -> Found<String> {
        let digit = |c: char| c.is_ascii_digit();
        let at = self.literal(start, r#""-""#).unwrap_or(start);
        let mut end = match self.literal(at, r#""0""#) {
            Some(after) => after,
            None => {
                let mut end = self.class(at, "[1-9]", |c| ('1'..='9').contains(&c))?;
                while let Some(after) = self.class(end, "[0-9]", digit) {
                    end = after;
                }
                end
            }
        };
        if let Some(mut after) = self.literal(end, r#"".""#).and_then(|dot| self.class(dot, "[0-9]", digit)) {
            while let Some(next) = self.class(after, "[0-9]", digit) {
                after = next;
            }
            end = after;
        }
        // A number ends where something else may begin, else it was no number.
        if self.space(end).is_none() && !self.end(end) && self.literal(end, r#"")""#).is_none() {
            self.refuse(end, Some("number"), "Invalid number literal");
            return None;
        }
        Some((self.text[start..end].to_owned(), end))
    }

    fn string(&mut self, at: usize) -> Found<String> {
        let (quote, open) = match self.literal(at, "\"`\"") {
            Some(open) => ('`', open),
            None => ('"', self.literal(at, "\"\\\"\"")?),
        };
        let Some(length) = self.text[open..].find(quote) else {
            self.refuse(self.text.len(), Some("string"), "Unterminated string literal");
            return None;
        };
        let end = open + length + 1;
        // A bad escape is refused, but the literal still ends where it ends.
        let value = unquote(&self.text[at..end]).unwrap_or_else(|| {
            self.refuse(at, Some("string"), "invalid syntax");
            String::new()
        });
        Some((value, end))
    }

    fn space(&mut self, at: usize) -> Option<usize> {
        let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
        let mut end = self.class(at, SPACE, blank)?;
        while let Some(after) = self.class(end, SPACE, blank) {
            end = after;
        }
        Some(end)
    }

    fn optional_space(&mut self, at: usize) -> usize {
        self.space(at).unwrap_or(at)
    }

    /// Matches a literal, given in quotes as it is shown in errors.
    fn literal(&mut self, at: usize, shown: &'static str) -> Option<usize> {
        let literal = match shown {
            "\"\\\"\"" => "\"",
            _ => &shown[1..shown.len() - 1],
        };
        if self.text[at..].starts_with(literal) {
            return Some(at + literal.len());
        }
        self.wanted(at, shown);
        None
    }

    fn class(&mut self, at: usize, shown: &'static str, member: impl Fn(char) -> bool) -> Option<usize> {
        match self.text[at..].chars().next() {
            Some(c) if member(c) => Some(at + c.len_utf8()),
            _ => {
                self.wanted(at, shown);
                None
            }
        }
    }

    fn end(&mut self, at: usize) -> bool {
        if at < self.text.len() {
            self.wanted(at, "EOF");
        }
        at == self.text.len()
    }

    fn wanted(&mut self, at: usize, shown: &'static str) {
        if at > self.furthest {
            self.furthest = at;
            self.expected.clear();
        }
        if at == self.furthest {
            self.expected.insert(shown);
        }
    }

    fn refuse(&mut self, at: usize, rule: Option<&str>, why: &str) {
        let rule = rule.map(|rule| format!("rule \"{rule}\": ")).unwrap_or_default();
        let text = format!("{}: {rule}{why}", self.position(at));
        if !self.errors.contains(&text) {
            self.errors.push(text);
        }
    }

    fn failure(mut self) -> String {
        if !self.errors.is_empty() {
            return self.errors.join("\n");
        }
        let end = self.expected.remove("EOF").then_some("EOF");
        let list: Vec<&str> = self.expected.iter().copied().chain(end).collect();
        let shown = match list.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => String::new(),
        };
        format!("{}: no match found, expected: {shown}", self.position(self.furthest))
    }

    /// `line:column (offset)`. Columns count characters; a line feed is column zero of the line it begins.
    fn position(&self, at: usize) -> String {
        let through = self.text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
        let seen = &self.text[..through];
        let line = 1 + seen.matches('\n').count();
        let past_end = usize::from(at == self.text.len());
        let column = seen.rsplit('\n').next().unwrap_or_default().chars().count() + past_end;
        format!("{line}:{column} ({at})")
    }
}

fn matching(path: Vec<String>, operator: Operator, value: String) -> Expression {
    Expression::Match(Match { path, operator, value })
}
