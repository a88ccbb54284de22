//! TCP connections with a deadline and a bound on what is read.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::{Context, Result, anyhow};

/// The most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Connects to `host:port`, trying up to eight addresses of a name, each for at most `timeout`. Reads and writes of the stream are ended
/// by the agent's wall time limit.
///
/// # Errors
/// When the name does not resolve, and when no address could be reached or was granted; says which.
pub fn connect(address: &str, timeout: Duration) -> Result<TcpStream> {
    let addresses: Vec<SocketAddr> = address
        .to_socket_addrs()
        .with_context(|| format!("could not resolve {address}"))?
        .take(ADDRESSES_MAX)
        .collect();
    let mut last = anyhow!("could not resolve {address}: no addresses");
    for candidate in addresses {
        match connect_to(candidate, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = anyhow!(error).context(format!("could not connect to {candidate}")),
        }
    }
    Err(last)
}

/// Under WASI the wait ends without an error also when the connection was refused: what came of it must be asked for.
fn connect_to(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => stream.peer_addr().map(|_| stream),
    }
}

/// A stream that gives at most so many bytes: whoever is at the other end cannot keep a check reading.
pub struct Bounded<S> {
    stream: BufReader<S>,
    left: usize,
}

impl<S: Read + Write> Bounded<S> {
    /// Gives at most `most` bytes of `stream`.
    pub fn new(stream: S, most: usize) -> Bounded<S> {
        Bounded { stream: BufReader::new(stream), left: most }
    }

    /// Exactly so many bytes.
    ///
    /// # Errors
    /// When the other end closes before, or has said more than the bound.
    pub fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > self.left {
            return Err(too_much());
        }
        let mut bytes = vec![0; length];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// A line without its end.
    ///
    /// # Errors
    /// When the other end closes before the line ends, or the line is longer than the bound, or no UTF-8.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while byte[0] != b'\n' {
            self.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        String::from_utf8(line)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the server sent a line that is not text"))
    }
}

impl<S: Read> Read for Bounded<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !buffer.is_empty() {
            return Err(too_much());
        }
        let length = buffer.len().min(self.left);
        let read = self.stream.read(&mut buffer[..length])?;
        self.left -= read;
        Ok(read)
    }
}

impl<S: Read + Write> Write for Bounded<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.get_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.get_mut().flush()
    }
}

/// A server for tests of plugins: says what was written down, and hears nothing.
pub struct Script(io::Cursor<Vec<u8>>);

impl Script {
    /// A server that says this.
    pub fn new(said: impl Into<Vec<u8>>) -> Script {
        Script(io::Cursor::new(said.into()))
    }
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_much() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server sent more than this check reads")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_bound_is_read() {
        let mut stream = Bounded::new(Script::new("ab\r\ncdefgh"), 6);
        assert_eq!(stream.line().expect("a line"), "ab");
        assert_eq!(stream.exactly(2).expect("two bytes"), b"cd");
        assert!(stream.exactly(1).is_err());
    }
}
