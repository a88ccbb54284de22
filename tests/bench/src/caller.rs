//! One request at a time, for setting the scene and looking at it; never for measuring a rate.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep, timeout};

use crate::wire::{self, Connection, Head};

/// The longest an agent may take to start, to lead or to answer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A blocking client that connects anew when its connection is lost.
pub struct Caller {
    address: Ipv4Addr,
    runtime: Runtime,
    connection: Option<Connection>,
    request: Vec<u8>,
}

impl Caller {
    /// A client of the agent at this address; connects with the first request.
    ///
    /// # Errors
    /// The system gives no event queue.
    pub fn new(address: Ipv4Addr) -> io::Result<Caller> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Caller { address, runtime, connection: None, request: Vec::new() })
    }

    /// PUTs a body, and expects the status 200.
    ///
    /// # Errors
    /// No answer, or another status; says what was sent and what came back.
    pub fn put(&mut self, path: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        self.request.clear();
        wire::put(&mut self.request, format_args!("{path}"), body);
        self.expect_success(path)
    }

    /// DELETEs a path, and expects the status 200.
    ///
    /// # Errors
    /// No answer, or another status; says what was sent and what came back.
    pub fn delete(&mut self, path: &str) -> io::Result<Vec<u8>> {
        self.request.clear();
        wire::delete(&mut self.request, format_args!("{path}"));
        self.expect_success(path)
    }

    /// GETs a path, and expects the status 200.
    ///
    /// # Errors
    /// No answer, or another status; says what was sent and what came back.
    pub fn get(&mut self, path: &str) -> io::Result<Vec<u8>> {
        self.request.clear();
        wire::get(&mut self.request, format_args!("{path}"));
        self.expect_success(path)
    }

    fn expect_success(&mut self, path: &str) -> io::Result<Vec<u8>> {
        let (head, body) = self.exchange()?;
        match head.status {
            200 => Ok(body),
            status => Err(io::Error::other(format!("{path}: {status} {}", String::from_utf8_lossy(&body)))),
        }
    }

    fn exchange(&mut self) -> io::Result<(Head, Vec<u8>)> {
        let Caller { address, runtime, connection, request } = self;
        let exchange = async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => Connection::open(wire::api(*address)).await?,
            };
            let head = open.exchange(request).await?;
            let body = std::mem::take(&mut open.body);
            *connection = Some(open);
            Ok((head, body))
        };
        runtime.block_on(async { timeout(PATIENCE, exchange).await })?
    }

    /// Asks every millisecond until the answer has the status 200 and satisfies `enough`.
    ///
    /// # Errors
    /// [`PATIENCE`] ran out, or it is not `running` any more; says what the last attempt met.
    pub fn get_until(
        &mut self,
        path: &str,
        mut running: impl FnMut() -> bool,
        enough: impl Fn(&[u8]) -> bool,
    ) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let met = match self.get(path) {
                Ok(body) if enough(&body) => return Ok(()),
                Ok(body) => String::from_utf8_lossy(&body).into_owned(),
                Err(error) => error.to_string(),
            };
            if Instant::now() > deadline || !running() {
                return Err(io::Error::other(format!("{path} was not as expected: {met}")));
            }
            self.pause(Duration::from_millis(1));
        }
    }

    /// Lets time pass: between two looks at something, or while an agent is watched being idle.
    pub fn pause(&self, length: Duration) {
        self.runtime.block_on(async { sleep(length).await });
    }
}
