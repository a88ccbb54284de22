//! HTTP requests over wasi:http. The agent makes the connection, does TLS, and refuses what its `allow` block's `urls` don't name.

use std::time::Duration;

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use wasip2::io::streams::StreamError;

use crate::{Context, Result, anyhow, bail};

/// The most of a request's body that one write of a stream takes.
const WRITE_MAX: usize = 4096;

/// What came back.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text, whatever is no UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A request, built in a line and sent once.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    timeout: Duration,
    body_max: usize,
}

/// Requests a URL: at most 10 s and 1 MiB of body.
///
/// # Errors
/// When the URL is not granted, nobody answers in time, or the answer is too large.
pub fn get(url: &str) -> Result<Response> {
    Request::new("GET", url).send()
}

impl Request {
    /// A request with this method for this URL, `http` or `https`.
    pub fn new(method: &str, url: &str) -> Request {
        let (method, url) = (method.to_ascii_uppercase(), url.to_owned());
        Request {
            method,
            url,
            headers: Vec::new(),
            body: Vec::new(),
            timeout: Duration::from_secs(10),
            body_max: 1 << 20,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_ascii_lowercase(), value.as_bytes().to_vec()));
        self
    }

    /// Sends this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    /// Waits at most this long to connect, for the first byte, and between bytes.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Request {
        self.timeout = timeout;
        self
    }

    /// Reads at most so many bytes of the answer's body; a longer one is an error.
    #[must_use]
    pub fn body_max(mut self, bytes: usize) -> Request {
        self.body_max = bytes;
        self
    }

    /// Sends it and waits for the whole answer. A status that says something went wrong is an answer, not an error.
    ///
    /// # Errors
    /// When the URL is malformed or not granted, nobody answers in time, or the answer is too large.
    pub fn send(self) -> Result<Response> {
        let url = self.url.clone();
        self.exchange().with_context(|| format!("could not request {url}"))
    }

    fn exchange(self) -> Result<Response> {
        let request = self.prepare()?;
        let body = request.body().map_err(|()| anyhow!("the request has no body"))?;
        let answer = outgoing_handler::handle(request, Some(options(self.timeout)?)).map_err(explain)?;
        send_body(body, &self.body)?;
        answer.subscribe().block();
        let response = answer.get().and_then(Result::ok).ok_or_else(|| anyhow!("no answer"))?.map_err(explain)?;
        receive(&response, self.body_max)
    }

    fn prepare(&self) -> Result<OutgoingRequest> {
        let (scheme, authority, path) = split(&self.url)?;
        let fields = Fields::from_list(&self.headers).map_err(|error| anyhow!("a header is not allowed: {error:?}"))?;
        let request = OutgoingRequest::new(fields);
        let refused = |what: &'static str| move |()| anyhow!("its {what} is malformed");
        request.set_method(&method(&self.method)).map_err(refused("method"))?;
        request.set_scheme(Some(&scheme)).map_err(refused("scheme"))?;
        request.set_authority(Some(authority)).map_err(refused("host"))?;
        request.set_path_with_query(Some(&path)).map_err(refused("path"))?;
        Ok(request)
    }
}

fn split(url: &str) -> Result<(Scheme, &str, String)> {
    let (scheme, rest) = match url.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        _ => bail!("a URL begins with http:// or https://"),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok((scheme, authority, path))
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

fn options(timeout: Duration) -> Result<RequestOptions> {
    let options = RequestOptions::new();
    let nanoseconds = u64::try_from(timeout.as_nanos()).ok();
    let set = options.set_connect_timeout(nanoseconds).and(options.set_first_byte_timeout(nanoseconds));
    set.and(options.set_between_bytes_timeout(nanoseconds)).map_err(|()| anyhow!("a timeout is not supported"))?;
    Ok(options)
}

fn send_body(body: OutgoingBody, bytes: &[u8]) -> Result<()> {
    if !bytes.is_empty() {
        let stream = body.write().map_err(|()| anyhow!("its body cannot be written"))?;
        for part in bytes.chunks(WRITE_MAX) {
            stream.blocking_write_and_flush(part).map_err(|error| anyhow!("its body could not be sent: {error}"))?;
        }
    }
    OutgoingBody::finish(body, None).map_err(explain)
}

fn receive(response: &IncomingResponse, body_max: usize) -> Result<Response> {
    let status = response.status();
    let headers = response.headers().entries();
    let incoming = response.consume().map_err(|()| anyhow!("the answer has no body"))?;
    let stream = incoming.stream().map_err(|()| anyhow!("the answer's body cannot be read"))?;
    let mut body = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(part) if body.len() + part.len() > body_max => bail!("the answer is longer than {body_max} bytes"),
            Ok(part) => body.extend(part),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => bail!("the answer broke off: {}", error.to_debug_string()),
        }
    }
    Ok(Response { status, headers, body })
}

fn explain(error: ErrorCode) -> crate::Error {
    match error {
        ErrorCode::HttpRequestDenied => anyhow!("it is not granted (`urls` in the plugin's `allow` block)"),
        ErrorCode::ConnectionRefused => anyhow!("the connection was refused"),
        ErrorCode::ConnectionTimeout | ErrorCode::HttpResponseTimeout | ErrorCode::ConnectionReadTimeout => {
            anyhow!("no answer in time")
        }
        ErrorCode::DnsError(_) | ErrorCode::DnsTimeout => anyhow!("the name does not resolve"),
        other => anyhow!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn urls_are_cut_into_authority_and_path() {
        let cases =
            [("http://a", "a", "/"), ("https://a:1/b?c#d", "a:1", "/b?c"), ("http://[::1]:80?x", "[::1]:80", "/?x")];
        for (url, authority, path) in cases {
            let (_, found, rest) = split(url).expect("a URL");
            assert_eq!((found, rest.as_str()), (authority, path), "{url}");
        }
        assert!(split("ftp://a").is_err());
    }
}
