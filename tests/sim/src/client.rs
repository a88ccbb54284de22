//! An HTTP client inside the simulation: one connection, opened again after it broke.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use agent_daemon::env::Network;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use crate::trace::Trace;

/// A client of one agent.
pub struct Client {
    name: String,
    to: SocketAddr,
    network: Arc<dyn Network>,
    trace: Trace,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// `X-Consul-Index`, if the answer has one.
    pub index: Option<u64>,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// The body as JSON; null when it is not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Client {
    /// A client called `name` of the agent that listens at `to`.
    pub fn new(name: &str, to: SocketAddr, network: Arc<dyn Network>, trace: &Trace) -> Self {
        Client { name: name.to_owned(), to, network, trace: trace.clone(), connection: None }
    }

    /// Sends a request. An error means the outcome is unknown: the connection was refused or broke.
    ///
    /// # Errors
    /// The connection was refused (nothing happened) or broke (anything may have happened).
    pub async fn request(&mut self, method: &str, path: &str, body: impl Into<Bytes>) -> io::Result<Response> {
        let body = body.into();
        self.trace.note(format_args!("{} > {method} {path} {}", self.name, String::from_utf8_lossy(&body)));
        let answer = self.exchange(method, path, body).await;
        match &answer {
            Ok(Response { status, index, body }) => {
                let text = String::from_utf8_lossy(body);
                self.trace.note(format_args!("{} < {status} index={index:?} {text}", self.name));
            }
            Err(error) => {
                self.connection = None;
                self.trace.note(format_args!("{} ! {:?}", self.name, error.kind()));
            }
        }
        answer
    }

    /// Gives up on what is still to come.
    pub fn hang_up(&mut self) {
        self.connection = None;
        self.trace.note(format_args!("{} hangs up", self.name));
    }

    async fn exchange(&mut self, method: &str, path: &str, body: Bytes) -> io::Result<Response> {
        if self.connection.as_ref().is_none_or(SendRequest::is_closed) {
            self.connection = Some(self.open().await?);
        }
        let connection = self.connection.as_mut().expect("it was just opened");
        let request = Request::builder().method(method).uri(path).header("Host", "agent").body(Full::new(body));
        let response = connection.send_request(request.map_err(io::Error::other)?).await.map_err(io::Error::other)?;
        let status = response.status().as_u16();
        let index = response.headers().get("X-Consul-Index").and_then(|index| index.to_str().ok()?.parse().ok());
        let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Response { status, index, body })
    }

    async fn open(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        let stream = self.network.connect(self.to).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // The connection ends with its sender; its error reaches us as that of the request.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}
