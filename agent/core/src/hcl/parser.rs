//! Tokens to a tree: attributes, blocks with labels, lists.
//!
//! Owns what may follow what and how repeated keys are folded. Recursion is
//! bounded by [`DEPTH_MAX`], so no input can exhaust the stack.

use serde_json::{Map, Value};

use super::lexer::{Lexer, Place, Token};
use super::{DEPTH_MAX, ParseError};

/// Reads a whole document.
pub(super) fn document(text: &str) -> Result<Value, ParseError> {
    let mut lexer = Lexer::new(text);
    let (token, place) = lexer.next()?;
    let mut parser = Parser { lexer, token, place };
    let members = parser.members(&Token::End, 1)?;
    Ok(Value::Object(members))
}

/// One token of lookahead is enough for HCL 1.
struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token,
    place: Place,
}

impl Parser<'_> {
    /// Takes the current token and moves on.
    fn advance(&mut self) -> Result<Token, ParseError> {
        let (token, place) = self.lexer.next()?;
        self.place = place;
        Ok(std::mem::replace(&mut self.token, token))
    }

    /// Members of an object until `end`, which stays the current token. Commas between members are optional.
    fn members(&mut self, end: &Token, depth: usize) -> Result<Map<String, Value>, ParseError> {
        self.check_depth(depth)?;
        let mut members = Map::new();
        while self.token != *end {
            let (key, value) = self.member(depth)?;
            insert(&mut members, key, value);
            if self.token == Token::Comma {
                self.advance()?;
            }
        }
        Ok(members)
    }

    /// `key = value`, `key { ... }` or `key "label" ... { ... }`.
    fn member(&mut self, depth: usize) -> Result<(String, Value), ParseError> {
        let place = self.place;
        let key = match self.advance()? {
            Token::Identifier(key) | Token::Text(key) => key,
            other => return Err(place.error(format!("expected a key, got: {}", other.kind()))),
        };
        let mut labels = Vec::new();
        while matches!(self.token, Token::Identifier(_) | Token::Text(_)) {
            self.check_depth(depth + labels.len() + 1)?;
            if let Token::Identifier(label) | Token::Text(label) = self.advance()? {
                labels.push(label);
            }
        }
        let block = match (&self.token, labels.is_empty()) {
            (Token::Assign, true) => {
                self.advance()?;
                return Ok((key, self.value(depth)?));
            }
            (Token::Assign, false) => {
                return Err(self.place.error(format!("a key with labels must be a block: {key:?} has no \"{{\"")));
            }
            (Token::BraceOpen, _) => self.object(depth + labels.len())?,
            (Token::End | Token::BraceClose, _) => {
                return Err(self
                    .place
                    .error(format!("key '{key}' expected start of object ('{{') or assignment ('=')")));
            }
            (other, _) => {
                let kind = other.kind();
                return Err(self.place.error(format!("expected: IDENT | STRING | ASSIGN | LBRACE got: {kind}")));
            }
        };
        let value = labels.into_iter().rev().fold(block, |inner, label| {
            let mut around = Map::new();
            around.insert(label, inner);
            Value::Object(around)
        });
        Ok((key, value))
    }

    /// `{ ... }`, with the opening brace as the current token.
    fn object(&mut self, depth: usize) -> Result<Value, ParseError> {
        self.advance()?;
        let members = self.members(&Token::BraceClose, depth + 1)?;
        self.advance()?;
        Ok(Value::Object(members))
    }

    fn value(&mut self, depth: usize) -> Result<Value, ParseError> {
        if self.token == Token::BraceOpen {
            return self.object(depth);
        }
        if self.token == Token::BracketOpen {
            return self.list(depth + 1);
        }
        let place = self.place;
        match self.advance()? {
            Token::Text(text) => Ok(Value::String(text)),
            Token::Number(number) => Ok(Value::Number(number)),
            Token::Bool(bool) => Ok(Value::Bool(bool)),
            Token::Identifier(name) => {
                Err(place.error(format!("Unknown token: {}:{} IDENT {name}", place.line, place.column)))
            }
            other => Err(place.error(format!("expected a value, got: {}", other.kind()))),
        }
    }

    /// `[ ... ]`: commas are required between items, one more may follow the last.
    fn list(&mut self, depth: usize) -> Result<Value, ParseError> {
        self.check_depth(depth)?;
        self.advance()?;
        let mut items = Vec::new();
        while self.token != Token::BracketClose {
            items.push(self.value(depth)?);
            if self.token == Token::Comma {
                self.advance()?;
            } else if self.token != Token::BracketClose {
                let kind = self.token.kind();
                return Err(self.place.error(format!("error parsing list, expected comma or list end, got: {kind}")));
            }
        }
        self.advance()?;
        Ok(Value::Array(items))
    }

    fn check_depth(&self, depth: usize) -> Result<(), ParseError> {
        if depth > DEPTH_MAX {
            return Err(self.place.error(format!("nested more than {DEPTH_MAX} deep")));
        }
        Ok(())
    }
}

/// Adds a member; a key that is there already grows to an array when both values are objects or arrays.
fn insert(members: &mut Map<String, Value>, key: String, value: Value) {
    let Some(present) = members.get_mut(&key) else {
        members.insert(key, value);
        return;
    };
    match (present, value) {
        (Value::Array(items), Value::Array(more)) => items.extend(more),
        (Value::Array(items), object @ Value::Object(_)) => items.push(object),
        (present @ Value::Object(_), Value::Array(more)) => {
            let mut items = vec![present.take()];
            items.extend(more);
            *present = Value::Array(items);
        }
        (present @ Value::Object(_), object @ Value::Object(_)) => {
            *present = Value::Array(vec![present.take(), object]);
        }
        (present, value) => *present = value,
    }
}
