//! A client of a few lines: one keep-alive connection, no library between the test and the wire.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// One connection to an agent's HTTP API.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header lines as they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Connection {
    /// Connects to the usual port of `address`.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn open(address: Ipv4Addr) -> io::Result<Connection> {
        Connection::over(TcpStream::connect((address, 8500))?)
    }

    /// Speaks HTTP over a connection that is open.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn over(stream: TcpStream) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Connection { stream: BufReader::new(stream) })
    }

    /// Waits at most this long for each part of a response, instead of half a minute.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn with_patience(self, patience: Duration) -> io::Result<Connection> {
        self.stream.get_ref().set_read_timeout(Some(patience))?;
        Ok(self)
    }

    /// Sends a request and reads the response.
    ///
    /// # Errors
    /// The connection ended, or what came is not HTTP/1.1 with a length or chunks.
    pub fn request(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<Response> {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: agent\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut message = head.into_bytes();
        message.extend_from_slice(body);
        self.send(&message)?;
        self.response()
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection ended.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads the next response.
    ///
    /// # Errors
    /// The connection ended, or what came is not HTTP/1.1 with a length or chunks.
    pub fn response(&mut self) -> io::Result<Response> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not a status line: {first:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
                None => break,
            }
        }
        let mut response = Response { status, headers, body: Vec::new() };
        response.body = match response.header("transfer-encoding") {
            Some(_) => self.chunks()?,
            None => match response.header("content-length").map(str::parse) {
                Some(length) => self.bytes(length.map_err(io::Error::other)?)?,
                None if response.header("connection") == Some("close") => self.rest()?,
                None => Vec::new(),
            },
        };
        Ok(response)
    }

    fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = self.line()?;
            let length = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
            body.extend(self.bytes(length)?);
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

/// One request over a connection of its own.
///
/// # Panics
/// When the agent does not answer.
pub fn request(address: Ipv4Addr, method: &str, path: &str, body: &[u8]) -> Response {
    let mut connection = Connection::open(address).expect("the agent accepts connections");
    connection.request(method, path, body).expect("the agent answers")
}

/// What is there to be read.
///
/// # Panics
/// When the answer is not JSON with status 200; shows what it is.
pub fn get(address: Ipv4Addr, path: &str) -> Value {
    let answer = request(address, "GET", path, b"");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    serde_json::from_str(&answer.text()).expect("JSON")
}

/// Asks, by blocking queries, until the answer is as wanted.
///
/// # Panics
/// When nothing changes any more.
pub fn get_until(address: Ipv4Addr, path: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let mut connection = Connection::open(address).expect("the agent accepts connections");
    let mut index = "0".to_owned();
    loop {
        let answer = connection.request("GET", &format!("{path}?wait=30s&index={index}"), b"").expect("an answer");
        let found: Value = serde_json::from_str(&answer.text()).expect("JSON");
        if is_wanted(&found) {
            return found;
        }
        let next = answer.header("x-consul-index").expect("a read has an index").to_owned();
        assert_ne!(next, index, "nothing changes any more: {found}");
        index = next;
    }
}
