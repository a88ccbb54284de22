//! The client of the commands: one HTTP/1.1 request per connection to the agent.
//!
//! Owns how a request reaches the agent (TCP, TLS or a Unix socket) and the
//! texts of failures, which read as Consul's Go client words them. It knows no
//! command and interprets no answer beyond its status.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::address::{Address, Target, encode_query};
use super::tls::{self, TlsSettings, Trust};

/// The largest answer a command reads, in bytes. A whole tree of keys has to fit.
const ANSWER_BYTES_MAX: usize = 512 * 1024 * 1024;
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A stream to the agent, whatever carries it.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<W: AsyncRead + AsyncWrite + Send + Unpin> Wire for W {}

/// How to reach the agent and as whom.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where the agent listens.
    pub address: Address,
    /// The ACL token; empty for none.
    pub token: String,
    /// `user:password` for a proxy before the agent.
    pub basic_auth: Option<String>,
    /// The data centre to ask; empty for the agent's own.
    pub datacenter: String,
    /// Whether any server may answer.
    pub stale: bool,
    /// Certificates, for `https`.
    pub tls: TlsSettings,
}

/// An answer that arrived completely.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The index to wait from next; zero when the answer has none.
    pub index: u64,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The answer when its status is 200.
    ///
    /// # Errors
    /// Any other status, with the body, as Consul's Go client words it.
    pub fn ok(self) -> Result<Answer, String> {
        match self.status {
            200 => Ok(self),
            status => {
                Err(format!("Unexpected response code: {status} ({})", String::from_utf8_lossy(&self.body).trim_end()))
            }
        }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// A body that is not JSON.
    pub fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.body).map_err(|error| format!("the agent's answer is not JSON: {error}"))
    }
}

/// A request under construction.
#[derive(Clone, Debug)]
pub struct Call {
    method: &'static str,
    path: String,
    query: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    /// A request for `path`, which is already escaped.
    pub fn new(method: &'static str, path: impl Into<String>) -> Self {
        Call { method, path: path.into(), query: Vec::new(), body: Vec::new() }
    }

    /// With another query parameter.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.query.push((key.to_owned(), value.into()));
        self
    }

    /// With this body.
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }
}

/// Sends requests, one at a time.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    /// Only for `https`.
    tls: Option<Arc<ClientConfig>>,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// Certificates that can't be used, even where they are not needed; the runtime could not be made.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("could not start the client: {error}"))?;
        let trust = Trust::read(&settings.tls)?;
        let tls = settings.address.https.then(|| trust.config()).transpose()?.map(Arc::new);
        Ok(Client { settings, tls, runtime })
    }

    /// Sends `call` and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// The agent was not reached or the connection broke.
    pub fn send(&self, call: Call) -> Result<Answer, String> {
        self.runtime.block_on(self.answer(call))
    }

    /// The same without blocking the thread, inside [`Client::wait_for`].
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn answer(&self, call: Call) -> Result<Answer, String> {
        let (url, response) = self.open(call).await?;
        let status = response.status().as_u16();
        let index = response.headers().get("x-consul-index").and_then(|index| index.to_str().ok()?.parse().ok());
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| format!("could not read the answer of {url}: {error}"))?;
        Ok(Answer { status, index: index.unwrap_or(0), body: body.to_bytes() })
    }

    /// Waits for something that is no request.
    pub fn wait_for<T>(&self, something: impl Future<Output = T>) -> T {
        self.runtime.block_on(something)
    }

    /// Reads a JSON answer.
    ///
    /// # Errors
    /// As [`Client::send`], or a status other than 200, or no JSON.
    pub fn json(&self, call: Call) -> Result<Value, String> {
        self.send(call)?.ok()?.json()
    }

    /// Sends `call` and hands each piece of the body to `each` until the agent ends it.
    ///
    /// # Errors
    /// As [`Client::send`], or a status other than 200.
    pub async fn stream(&self, call: Call, mut each: impl FnMut(&[u8])) -> Result<(), String> {
        let (_, response) = self.open(call).await?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        if status != 200 {
            let text = Limited::new(body, 1 << 16).collect().await.map_err(|error| error.to_string())?;
            return Answer { status, index: 0, body: text.to_bytes() }.ok().map(drop);
        }
        // A connection that breaks ends it as well as the agent does.
        while let Some(Ok(frame)) = body.frame().await {
            if let Some(data) = frame.data_ref() {
                each(data);
            }
        }
        Ok(())
    }

    async fn open(&self, mut call: Call) -> Result<(String, hyper::Response<Incoming>), String> {
        if !self.settings.datacenter.is_empty() {
            call = call.with("dc", self.settings.datacenter.clone());
        }
        if self.settings.stale {
            call = call.with("stale", "");
        }
        let query = encode_query(&call.query);
        let target = format!("{}{}{query}", call.path, if query.is_empty() { "" } else { "?" });
        let url = format!("{}{target}", self.settings.address.url_root());
        let verb = title_case(call.method);
        let request = self.request(&call, &target).map_err(|error| format!("{verb} \"{url}\": {error}"))?;
        let response = self.exchange(request).await.map_err(|error| format!("{verb} \"{url}\": {error}"))?;
        Ok((url, response))
    }

    fn request(&self, call: &Call, target: &str) -> Result<Request<Full<Bytes>>, String> {
        let mut builder = Request::builder()
            .method(call.method)
            .uri(target)
            .header("Host", self.settings.address.host_header())
            .header("User-Agent", concat!("lictor/", env!("CARGO_PKG_VERSION")));
        if !self.settings.token.is_empty() {
            builder = builder.header("X-Consul-Token", &self.settings.token);
        }
        if let Some(auth) = &self.settings.basic_auth {
            builder = builder.header("Authorization", format!("Basic {}", STANDARD.encode(auth)));
        }
        builder.body(Full::new(Bytes::from(call.body.clone()))).map_err(|error| error.to_string())
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<hyper::Response<Incoming>, String> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await;
        let stream = connecting.map_err(|_| "dial tcp: i/o timeout".to_owned())??;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // The connection ends with the answer; its errors surface there.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(|error| error.to_string())
    }

    async fn connect(&self) -> Result<Box<dyn Wire>, String> {
        match &self.settings.address.target {
            Target::Unix(path) => match tokio::net::UnixStream::connect(path).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(error) => Err(format!("dial unix {path}: connect: {}", go_io_error(&error))),
            },
            Target::Tcp(_) => {
                let host = self.settings.address.dialled();
                let stream = tokio::net::TcpStream::connect(&host).await.map_err(|error| dial_error(&host, &error))?;
                if let Some(config) = &self.tls {
                    tls::wrap(config, &self.settings.tls.server_name, &host, stream)
                        .await
                        .map(|stream| Box::new(stream) as Box<dyn Wire>)
                } else {
                    Ok(Box::new(stream))
                }
            }
        }
    }
}

fn dial_error(host: &str, error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => format!("dial tcp {host}: connect: {}", go_io_error(error)),
        // Only looking up the name fails without a number from the operating system.
        None => format!("dial tcp: lookup {}: no such host", host.rsplit_once(':').map_or(host, |(name, _)| name)),
    }
}

/// An operating system error as Go words it.
pub fn go_io_error(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string().to_lowercase(),
    }
}

fn title_case(method: &str) -> String {
    let (first, rest) = method.split_at(method.len().min(1));
    format!("{first}{}", rest.to_lowercase())
}
