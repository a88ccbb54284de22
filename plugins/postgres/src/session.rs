//! One conversation with the server, in the messages of the frontend/backend protocol 3.0.
//! Everything read is bounded by the stream; a message that does not fit ends the conversation.

use std::io::{Read, Write};

use lictor_plugin::{Context, Result, bail, tcp};
use md5::{Digest, Md5};

use crate::{READ_MAX, scram};

/// Signed in, ready for a query.
pub struct Session<S> {
    stream: tcp::Bounded<S>,
}

impl<S: Read + Write> Session<S> {
    /// Signs in, by whichever of trust, password, md5 and SCRAM-SHA-256 the server asks for.
    pub fn start(stream: S, user: &str, database: &str, password: Option<&str>) -> Result<Session<S>> {
        let mut session = Session { stream: tcp::Bounded::new(stream, READ_MAX) };
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        for word in ["user", user, "database", database, "application_name", "lictor"] {
            text(&mut body, word)?;
        }
        body.push(0);
        session.stream.write_all(&length_of(&body))?;
        session.stream.write_all(&body)?;
        session.authenticate(user, password)?;
        session.until_ready(|_, _| Ok(()))?;
        Ok(session)
    }

    fn authenticate(&mut self, user: &str, password: Option<&str>) -> Result<()> {
        let secret = || password.context("the server wants a password, and the config has none");
        loop {
            let body = self.expect(b'R')?;
            let (kind, rest) = body.split_at_checked(4).context("an authentication message is too short")?;
            match u32::from_be_bytes([kind[0], kind[1], kind[2], kind[3]]) {
                0 => return Ok(()),
                3 => self.send_password(secret()?)?,
                5 => self.send_password(&md5_answer(user, secret()?, rest))?,
                10 => self.scram(secret()?, rest)?,
                other => bail!("the server wants authentication of kind {other}, which this check has not"),
            }
        }
    }

    fn send_password(&mut self, password: &str) -> Result<()> {
        let mut body = Vec::new();
        text(&mut body, password)?;
        self.send(b'p', &body)
    }

    fn scram(&mut self, password: &str, mechanisms: &[u8]) -> Result<()> {
        if !mechanisms.split(|byte| *byte == 0).any(|name| name == b"SCRAM-SHA-256") {
            bail!("the server does not offer SCRAM-SHA-256");
        }
        let exchange = scram::Exchange::begin();
        let first = exchange.first();
        let mut body = b"SCRAM-SHA-256\0".to_vec();
        body.extend((first.len() as u32).to_be_bytes());
        body.extend(first.as_bytes());
        self.send(b'p', &body)?;
        let challenge = self.sasl(11)?;
        let (last, signature) = exchange.answer(password, &challenge)?;
        self.send(b'p', last.as_bytes())?;
        if self.sasl(12)?.trim_end() != format!("v={signature}") {
            bail!("the server does not know the password either: it is not who it says");
        }
        Ok(())
    }

    fn sasl(&mut self, kind: u32) -> Result<String> {
        let body = self.expect(b'R')?;
        let rest = body.strip_prefix(&kind.to_be_bytes()[..]).context("an authentication message is out of order")?;
        String::from_utf8(rest.to_vec()).context("an authentication message is no text")
    }

    /// The first column of the first row, as text; none when it is null or there is no row.
    pub fn first_value(&mut self, query: &str) -> Result<Option<String>> {
        let mut body = Vec::new();
        text(&mut body, query)?;
        self.send(b'Q', &body)?;
        let mut first = None;
        self.until_ready(|kind, body| {
            if kind == b'D' && first.is_none() {
                first = Some(first_column(body)?);
            }
            Ok(())
        })?;
        Ok(first.flatten())
    }

    /// Says goodbye. A server that is already gone has lost nothing.
    pub fn end(mut self) {
        let _ = self.send(b'X', &[]);
    }

    fn until_ready(&mut self, mut each: impl FnMut(u8, &[u8]) -> Result<()>) -> Result<()> {
        loop {
            let (kind, body) = self.receive()?;
            if kind == b'Z' {
                return Ok(());
            }
            each(kind, &body)?;
        }
    }

    fn expect(&mut self, wanted: u8) -> Result<Vec<u8>> {
        match self.receive()? {
            (kind, body) if kind == wanted => Ok(body),
            _ => bail!("what the server sent is not PostgreSQL's protocol"),
        }
    }

    /// The next message; an error of the server is an error here.
    fn receive(&mut self) -> Result<(u8, Vec<u8>)> {
        let head = self.stream.exactly(5)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if !head[0].is_ascii_alphabetic() || !(4..READ_MAX).contains(&length) {
            bail!("what the server sent is not PostgreSQL's protocol");
        }
        let body = self.stream.exactly(length - 4)?;
        if head[0] == b'E' {
            bail!("the server said: {}", error_text(&body));
        }
        Ok((head[0], body))
    }

    fn send(&mut self, kind: u8, body: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(&[&[kind][..], &length_of(body), body].concat())?)
    }
}

fn length_of(body: &[u8]) -> [u8; 4] {
    (body.len() as u32 + 4).to_be_bytes()
}

fn text(body: &mut Vec<u8>, word: &str) -> Result<()> {
    if word.contains('\0') {
        bail!("a text of the config has a zero byte");
    }
    body.extend(word.as_bytes());
    body.push(0);
    Ok(())
}

/// The `M` field: what went wrong, in the server's words.
fn error_text(body: &[u8]) -> String {
    let fields = body.split(|byte| *byte == 0);
    let message = fields.filter_map(|field| field.strip_prefix(b"M")).next().unwrap_or(b"an error without a text");
    String::from_utf8_lossy(message).into_owned()
}

fn first_column(row: &[u8]) -> Result<Option<String>> {
    match row {
        [0, 0, ..] => Ok(None),
        [_, _, 0xff, 0xff, 0xff, 0xff, ..] => Ok(None),
        [_, _, a, b, c, d, rest @ ..] => {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            let bytes = rest.get(..length).context("a row is too short")?;
            Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
        }
        _ => bail!("a row is too short"),
    }
}

/// `md5` and the hex of md5(hex of md5(password and user) and the server's salt).
fn md5_answer(user: &str, password: &str, salt: &[u8]) -> String {
    let hex = |bytes: &[u8]| -> String { Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect() };
    let inner = hex(format!("{password}{user}").as_bytes());
    format!("md5{}", hex(&[inner.as_bytes(), salt].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_give_their_first_column() {
        let cases: [(&[u8], Option<Option<&str>>); 5] = [
            (&[0, 1, 0, 0, 0, 2, b'4', b'2'], Some(Some("42"))),
            (&[0, 1, 0xff, 0xff, 0xff, 0xff], Some(None)),
            (&[0, 0], Some(None)),
            (&[0, 1, 0, 0, 0, 9, b'4'], None),
            (&[0], None),
        ];
        for (row, expected) in cases {
            assert_eq!(first_column(row).ok(), expected.map(|value| value.map(str::to_owned)), "{row:?}");
        }
    }

    #[test]
    fn noise_is_no_protocol() {
        for noise in [&[0xff; 64][..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
            assert!(Session::start(tcp::Script::new(noise), "a", "a", None).is_err());
        }
    }
}
