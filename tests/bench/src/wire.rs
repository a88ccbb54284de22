//! The cheapest HTTP/1.1 client that is still correct for what the agents send.
//!
//! One request at a time on a kept-alive connection, requests rendered by the caller, answers with a length or
//! in chunks. It knows three header fields and nothing about what the body means. A request costs one write
//! and usually one read, so that the load generator takes a small share of a machine it shares with the agent.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The largest answer taken.
const ANSWER_MAX: usize = 64 << 20;
/// The largest head of an answer.
const HEAD_MAX: usize = 64 << 10;

/// A kept-alive connection.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// The body of the last answer, without its framing.
    pub body: Vec<u8>,
}

/// What the head of an answer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// `X-Consul-Index`.
    pub index: Option<u64>,
    framing: Framing,
    length: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

/// Renders a GET.
pub fn get(buffer: &mut Vec<u8>, path: Arguments<'_>) {
    write!(buffer, "GET {path} HTTP/1.1\r\nHost: agent\r\n\r\n").expect("a vector takes all that is written");
}

/// Renders a DELETE.
pub fn delete(buffer: &mut Vec<u8>, path: Arguments<'_>) {
    write!(buffer, "DELETE {path} HTTP/1.1\r\nHost: agent\r\n\r\n").expect("a vector takes all that is written");
}

/// Renders a PUT with a body.
pub fn put(buffer: &mut Vec<u8>, path: Arguments<'_>, body: &[u8]) {
    write!(buffer, "PUT {path} HTTP/1.1\r\nHost: agent\r\nContent-Length: {}\r\n\r\n", body.len())
        .expect("a vector takes all that is written");
    buffer.extend_from_slice(body);
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// As the operating system says.
    pub async fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, received: Vec::new(), body: Vec::new() })
    }

    /// Sends a rendered request and reads the answer; its body is left in `body`.
    ///
    /// # Errors
    /// The connection ended, or what came is not an HTTP/1.1 answer of a bounded size.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Head> {
        self.send(request).await?;
        self.answer().await
    }

    /// Sends a rendered request.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await
    }

    /// Reads the answer to the request sent before.
    ///
    /// # Errors
    /// The connection ended, or what came is not an HTTP/1.1 answer of a bounded size.
    pub async fn answer(&mut self) -> io::Result<Head> {
        self.received.clear();
        let mut head = None;
        loop {
            self.receive().await?;
            if head.is_none() {
                head = parse_head(&self.received)?;
            }
            if let Some(head) = head
                && take_body(&head, &self.received, &mut self.body)?
            {
                return Ok(head);
            }
        }
    }

    async fn receive(&mut self) -> io::Result<()> {
        if self.received.len() > ANSWER_MAX {
            return Err(invalid("the answer is too long"));
        }
        let room = self.received.capacity() - self.received.len();
        if room < 1024 {
            self.received.reserve(self.received.len().max(2048));
        }
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads a whole head, or nothing when more bytes are needed.
fn parse_head(received: &[u8]) -> io::Result<Option<Head>> {
    let status = received.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let Some(first_end) = find(received, b"\r\n") else { return Ok(None) };
    let status = status.filter(|_| received.starts_with(b"HTTP/1.1 "));
    let status = status.ok_or_else(|| invalid("not an HTTP/1.1 status line"))?;
    let mut head = Head { status, index: None, framing: Framing::Length(0), length: 0 };
    let mut at = first_end + 2;
    loop {
        let Some(end) = find(&received[at..], b"\r\n") else {
            return if at > HEAD_MAX { Err(invalid("the head is too long")) } else { Ok(None) };
        };
        let line = &received[at..at + end];
        at += end + 2;
        if line.is_empty() {
            head.length = at;
            return Ok(Some(head));
        }
        field(&mut head, line)?;
    }
}

fn field(head: &mut Head, line: &[u8]) -> io::Result<()> {
    let number = |value: &[u8]| {
        let text = std::str::from_utf8(value).map_err(|_| invalid("a header is not text"))?;
        text.trim().parse::<u64>().map_err(|_| invalid("a header is not a number"))
    };
    if let Some(value) = value_of(line, b"content-length:") {
        head.framing = Framing::Length(number(value)? as usize);
    } else if let Some(value) = value_of(line, b"x-consul-index:") {
        head.index = Some(number(value)?);
    } else if value_of(line, b"transfer-encoding:").is_some() {
        head.framing = Framing::Chunked;
    }
    Ok(())
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(value)
}

fn find(bytes: &[u8], wanted: &[u8; 2]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == wanted)
}

/// Copies the body out, and says whether it was complete.
fn take_body(head: &Head, received: &[u8], body: &mut Vec<u8>) -> io::Result<bool> {
    body.clear();
    let framed = &received[head.length..];
    match head.framing {
        Framing::Length(length) if framed.len() < length => Ok(false),
        Framing::Length(length) => {
            body.extend_from_slice(&framed[..length]);
            Ok(true)
        }
        Framing::Chunked => unchunk(framed, body),
    }
}

fn unchunk(mut framed: &[u8], body: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let Some(end) = find(framed, b"\r\n") else { return Ok(false) };
        let size = std::str::from_utf8(&framed[..end]).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let size = size.filter(|size| *size <= ANSWER_MAX).ok_or_else(|| invalid("not the size of a chunk"))?;
        let Some(chunk) = framed.get(end + 2..end + 2 + size + 2) else { return Ok(false) };
        if size == 0 {
            return Ok(true);
        }
        body.extend_from_slice(&chunk[..size]);
        framed = &framed[end + 2 + size + 2..];
    }
}

/// The API of the agent at this address.
pub fn api(address: Ipv4Addr) -> SocketAddr {
    (address, 8500).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head and body of `text`, or nothing while bytes are missing.
    fn read(text: &str) -> Option<(Head, String)> {
        let head = parse_head(text.as_bytes()).unwrap()?;
        let mut body = Vec::new();
        let whole = take_body(&head, text.as_bytes(), &mut body).unwrap();
        whole.then(|| (head, String::from_utf8(body).unwrap()))
    }

    #[test]
    fn answers_are_read_when_the_last_byte_is_there() {
        let cases = [
            ("HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: 4\r\n\r\ntrue", 200, Some(7), "true"),
            ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 404, None, ""),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
                200,
                None,
                "abc0123456789",
            ),
        ];
        for (text, status, index, expected) in cases {
            let (head, body) = read(text).unwrap();
            assert_eq!((head.status, head.index, body.as_str()), (status, index, expected));
            for end in 0..text.len() {
                assert_eq!(read(&text[..end]), None, "{:?} is not whole", &text[..end]);
            }
        }
    }

    #[test]
    fn other_protocols_are_refused() {
        assert!(parse_head(b"SSH-2.0-OpenSSH_9.2\r\n").is_err());
    }
}
