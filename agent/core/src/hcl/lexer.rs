//! Text to tokens: identifiers, literals, heredocs and punctuation of HCL 1.
//!
//! Owns escapes, number notations and comments; knows nothing of what may
//! follow what. Line and column of every token are kept for messages.

use serde_json::Number;

use super::ParseError;

/// A piece of the language.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Identifier(String),
    Text(String),
    Number(Number),
    Bool(bool),
    Assign,
    Comma,
    BraceOpen,
    BraceClose,
    BracketOpen,
    BracketClose,
    End,
}

impl Token {
    /// How messages call the token.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Token::Identifier(_) => "IDENT",
            Token::Text(_) => "STRING",
            Token::Number(_) => "NUMBER",
            Token::Bool(_) => "BOOL",
            Token::Assign => "ASSIGN",
            Token::Comma => "COMMA",
            Token::BraceOpen => "LBRACE",
            Token::BraceClose => "RBRACE",
            Token::BracketOpen => "LBRACK",
            Token::BracketClose => "RBRACK",
            Token::End => "EOF",
        }
    }
}

/// A place in the text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// An error at this place.
    pub(super) fn error(self, message: impl Into<String>) -> ParseError {
        ParseError { line: self.line, column: self.column, message: message.into() }
    }
}

/// Walks the text once.
pub(super) struct Lexer<'a> {
    rest: &'a str,
    place: Place,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Lexer { rest: text, place: Place { line: 1, column: 1 } }
    }

    /// The next token and where it starts.
    pub(super) fn next(&mut self) -> Result<(Token, Place), ParseError> {
        self.skip_blank()?;
        let place = self.place;
        let Some(first) = self.peek() else { return Ok((Token::End, place)) };
        let token = match first {
            '"' => Token::Text(self.quoted(place)?),
            '<' => Token::Text(self.heredoc(place)?),
            '=' => self.single(Token::Assign),
            ',' => self.single(Token::Comma),
            '{' => self.single(Token::BraceOpen),
            '}' => self.single(Token::BraceClose),
            '[' => self.single(Token::BracketOpen),
            ']' => self.single(Token::BracketClose),
            '-' | '.' | '0'..='9' => Token::Number(self.number(place)?),
            letter if letter == '_' || letter.is_alphabetic() => self.word(),
            _ => return Err(place.error("illegal char")),
        };
        Ok((token, place))
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.rest = &self.rest[next.len_utf8()..];
        if next == '\n' {
            self.place = Place { line: self.place.line + 1, column: 1 };
        } else {
            self.place.column += 1;
        }
        Some(next)
    }

    fn bump_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let before = self.rest;
        while self.peek().is_some_and(&wanted) {
            self.bump();
        }
        &before[..before.len() - self.rest.len()]
    }

    fn single(&mut self, token: Token) -> Token {
        self.bump();
        token
    }

    /// White space and the three kinds of comments.
    fn skip_blank(&mut self) -> Result<(), ParseError> {
        loop {
            self.bump_while(|next| matches!(next, ' ' | '\t' | '\r' | '\n'));
            if self.rest.starts_with('#') || self.rest.starts_with("//") {
                self.bump_while(|next| next != '\n');
            } else if self.rest.starts_with("/*") {
                let place = self.place;
                let length = self.rest[2..].find("*/").ok_or_else(|| place.error("comment not terminated"))? + 4;
                let end = self.rest.len() - length;
                while self.rest.len() > end {
                    self.bump();
                }
            } else {
                return Ok(());
            }
        }
    }

    fn word(&mut self) -> Token {
        match self.bump_while(|next| next == '_' || next == '-' || next == '.' || next.is_alphanumeric()) {
            "true" => Token::Bool(true),
            "false" => Token::Bool(false),
            name => Token::Identifier(name.to_owned()),
        }
    }

    /// Decimal, hexadecimal (`0x`), octal (leading zero) and floating point.
    fn number(&mut self, place: Place) -> Result<Number, ParseError> {
        let text = self.bump_while(|next| matches!(next, '-' | '+' | '.') || next.is_ascii_alphanumeric());
        let malformed = || place.error(format!("malformed number {text:?}"));
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
        let digits = hex.unwrap_or(digits);
        // Rust's parsers take another sign here.
        if digits.starts_with(['-', '+']) {
            return Err(malformed());
        }
        if hex.is_none() && digits.contains(['.', 'e', 'E']) {
            return text.parse().ok().and_then(Number::from_f64).ok_or_else(malformed);
        }
        let radix = match hex {
            Some(_) => 16,
            None if digits.len() > 1 && digits.starts_with('0') => 8,
            None => 10,
        };
        let magnitude = u64::from_str_radix(digits, radix).map(i128::from).map_err(|_| malformed())?;
        let value = if negative { -magnitude } else { magnitude };
        i64::try_from(value).map(Number::from).map_err(|_| malformed())
    }

    /// A string in quotes. What stands in `${` and `}` is kept as written, quotes and all.
    fn quoted(&mut self, start: Place) -> Result<String, ParseError> {
        self.bump();
        let mut text = String::new();
        let mut braces = 0usize;
        loop {
            let place = self.place;
            match self.bump() {
                None => return Err(place.error("literal not terminated")),
                Some('"') if braces == 0 => return Ok(text),
                Some('\n') if braces == 0 => return Err(place.error("literal not terminated")),
                Some('\\') if braces == 0 => text.push(self.escape(place)?),
                Some('$') if braces == 0 && self.rest.starts_with('{') => {
                    self.bump();
                    text.push_str("${");
                    braces = 1;
                }
                Some(other) => {
                    match other {
                        '{' if braces > 0 => braces += 1,
                        '}' if braces > 0 => braces -= 1,
                        _ => {}
                    }
                    text.push(other);
                }
            }
            if text.len() > super::SIZE_BYTES_MAX {
                return Err(start.error("literal is too long"));
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, place: Place) -> Result<char, ParseError> {
        let illegal = || place.error("illegal escape in a string");
        let kind = self.bump().ok_or_else(illegal)?;
        let (radix, length) = match kind {
            'a' => return Ok('\u{7}'),
            'b' => return Ok('\u{8}'),
            'f' => return Ok('\u{c}'),
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'v' => return Ok('\u{b}'),
            '\\' | '"' => return Ok(kind),
            'x' => (16, 2),
            'u' => (16, 4),
            'U' => (16, 8),
            '0'..='7' => (8, 2),
            _ => return Err(illegal()),
        };
        let mut code = if radix == 8 { kind.to_digit(8).ok_or_else(illegal)? } else { 0 };
        for _ in 0..length {
            let digit = self.bump().and_then(|digit| digit.to_digit(radix)).ok_or_else(illegal)?;
            code = code.checked_mul(radix).and_then(|code| code.checked_add(digit)).ok_or_else(illegal)?;
        }
        char::from_u32(code).ok_or_else(illegal)
    }

    /// `<<EOF` and `<<-EOF`: whole lines up to the marker, each with its line end.
    fn heredoc(&mut self, start: Place) -> Result<String, ParseError> {
        if !self.rest.starts_with("<<") {
            return Err(start.error("illegal char"));
        }
        self.bump();
        self.bump();
        let indented = self.rest.starts_with('-');
        if indented {
            self.bump();
        }
        let marker = self.bump_while(|next| next == '_' || next.is_alphanumeric());
        self.bump_while(|next| next == '\r');
        if marker.is_empty() || self.bump() != Some('\n') {
            return Err(start.error("heredoc needs a marker and then a new line"));
        }
        let mut lines = Vec::new();
        loop {
            if self.rest.is_empty() {
                return Err(start.error("heredoc not terminated"));
            }
            let line = self.bump_while(|next| next != '\n');
            let trimmed = line.trim_matches([' ', '\t', '\r']);
            // The line end after the marker stays: nothing depends on it.
            if trimmed == marker {
                let indent = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
                return Ok(join_lines(&lines, if indented { indent } else { "" }));
            }
            lines.push(line);
            self.bump();
        }
    }
}

/// The lines of a heredoc. An indent is removed only when every line has it, as HCL 1 does.
fn join_lines(lines: &[&str], indent: &str) -> String {
    let cut = if lines.iter().all(|line| line.starts_with(indent)) { indent.len() } else { 0 };
    lines.iter().fold(String::new(), |mut text, line| {
        text.push_str(&line[cut..]);
        text.push('\n');
        text
    })
}
