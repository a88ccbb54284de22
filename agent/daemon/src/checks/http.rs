//! HTTP checks: 2xx passes, 429 warns, anything else is critical.
//!
//! One connection per request, HTTP/1.1, up to ten redirects. Of the body the
//! end is kept; what comes after [`BODY_BYTES_MAX`] is not waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use agent_core::health::spec::{Outcome, TlsOptions};
use agent_core::state::tables::Status;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, REFERER, USER_AGENT};
use hyper::{Method, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::critical;
use super::dial::dial;
use super::tail::Tail;
use super::tls::TlsConnector;

/// The most of a body that is read, in bytes.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// The most redirects that are followed.
const REDIRECTS_MAX: usize = 10;

const TIMED_OUT: &str = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";

/// What to ask for.
pub(super) struct Request<'a> {
    pub(super) url: &'a str,
    pub(super) method: &'a str,
    pub(super) header: &'a BTreeMap<String, Vec<String>>,
    pub(super) body: &'a str,
    pub(super) follow_redirects: bool,
    pub(super) tls_options: &'a TlsOptions,
    pub(super) output_bytes_max: usize,
}

/// One request on the way, of which redirects may make several.
struct Hop {
    method: Method,
    uri: Uri,
    body: Bytes,
    referer: Option<String>,
}

pub(super) async fn probe(request: &Request<'_>, tls: &TlsConnector, timeout: Duration) -> Outcome {
    let deadline = Instant::now() + timeout;
    let method = if request.method.is_empty() { "GET" } else { request.method };
    match follow(request, method, tls, deadline).await {
        Err((url, error)) => critical(format!("{} {url:?}: {error}", go_verb(method))),
        Ok((status, reason, body)) => {
            let result = match status {
                StatusCode::TOO_MANY_REQUESTS => Status::Warning,
                status if status.is_success() => Status::Passing,
                _ => Status::Critical,
            };
            let output = format!("HTTP {method} {}: {} {reason} Output: {body}", request.url, status.as_u16());
            Outcome { status: result, output }
        }
    }
}

/// The verb as Go's client writes it in errors: `Get`, `Post`.
fn go_verb(method: &str) -> String {
    let lower = method.to_ascii_lowercase();
    let mut letters = lower.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

/// Asks and follows redirects. An error comes with the URL it happened at.
async fn follow(
    request: &Request<'_>,
    method: &str,
    tls: &TlsConnector,
    deadline: Instant,
) -> Result<(StatusCode, String, String), (String, String)> {
    let at = |error: String| (request.url.to_owned(), error);
    let uri = request.url.parse::<Uri>().map_err(|_| at("invalid URL".to_owned()))?;
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| at(format!("net/http: invalid method {method:?}")))?;
    let mut hop = Hop { method, uri, body: Bytes::copy_from_slice(request.body.as_bytes()), referer: None };
    let mut url = request.url.to_owned();
    for _ in 0..REDIRECTS_MAX {
        let asked = timeout_at(deadline, ask(request, &hop, tls, deadline)).await;
        let response = asked.unwrap_or_else(|_| Err(TIMED_OUT.to_owned())).map_err(|error| (url.clone(), error))?;
        let location = response.headers().get(LOCATION).and_then(|l| l.to_str().ok()).map(str::to_owned);
        match location {
            Some(location) if request.follow_redirects && is_redirect(response.status()) => {
                hop = redirect(hop, response.status(), &location).map_err(|error| (location.clone(), error))?;
                url = location;
            }
            _ => {
                let (status, reason) = (response.status(), reason_of(&response));
                let body = read(response.into_body(), deadline, request.output_bytes_max).await;
                return Ok((status, reason, body));
            }
        }
    }
    Err((url, format!("stopped after {REDIRECTS_MAX} redirects")))
}

async fn ask(
    request: &Request<'_>,
    hop: &Hop,
    tls: &TlsConnector,
    deadline: Instant,
) -> Result<hyper::Response<Incoming>, String> {
    let scheme = hop.uri.scheme_str().unwrap_or_default();
    let host = hop.uri.host().unwrap_or_default();
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        other => return Err(format!("unsupported protocol scheme {other:?}")),
    };
    let port = hop.uri.port_u16().unwrap_or(default_port);
    let stream = dial(&format!("{host}:{port}"), deadline).await?;
    let message = compose(request, hop)?;
    if scheme == "https" {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        exchange(tls.connect(stream, bare, request.tls_options, &[b"http/1.1"]).await?, message).await
    } else {
        exchange(stream, message).await
    }
}

fn compose(request: &Request<'_>, hop: &Hop) -> Result<hyper::Request<Full<Bytes>>, String> {
    let path = hop.uri.path_and_query().map_or("/", |p| p.as_str());
    let authority = hop.uri.authority().map(|a| a.as_str()).unwrap_or_default();
    let (user, authority) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let mut message = hyper::Request::builder()
        .method(hop.method.clone())
        .uri(path)
        .body(Full::new(hop.body.clone()))
        .map_err(|error| error.to_string())?;
    let headers = message.headers_mut();
    for (name, values) in request.header {
        let name = HeaderName::try_from(name).map_err(|_| format!("net/http: invalid header field name {name:?}"))?;
        for value in values {
            let invalid = |_| format!("net/http: invalid header field value for {name:?}");
            headers.append(name.clone(), HeaderValue::from_str(value).map_err(invalid)?);
        }
    }
    let defaults = [
        (HOST, authority),
        (USER_AGENT, "Consul Health Check"),
        (ACCEPT, "text/plain, text/*, */*"),
        (CONNECTION, "close"),
    ];
    let referer = hop.referer.as_deref().map(|from| (REFERER, from));
    let credentials = user.map(|user| format!("Basic {}", STANDARD.encode(percent_decoded(user))));
    let credentials = credentials.as_deref().map(|value| (AUTHORIZATION, value));
    for (name, value) in defaults.into_iter().chain(referer).chain(credentials) {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_str(value).map_err(|error| error.to_string())?);
        }
    }
    Ok(message)
}

/// `user:password` of a URL with `%40` and its kin undone.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| byte == b'%') {
            Some(escaped) => {
                decoded.push(escaped);
                rest = &after[2..];
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}

async fn exchange<S>(stream: S, message: hyper::Request<Full<Bytes>>) -> Result<hyper::Response<Incoming>, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    let (mut sender, connection) =
        builder.max_buf_size(64 * 1024).handshake(TokioIo::new(stream)).await.map_err(|error| explain(&error))?;
    // The connection lives as long as the body is read; the peer or the dropped body ends it.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender.send_request(message).await.map_err(|error| explain(&error))
}

fn explain(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        "EOF".to_owned()
    } else if error.is_parse() {
        "net/http: HTTP/1.x transport connection broken: malformed HTTP response".to_owned()
    } else {
        error.to_string()
    }
}

fn reason_of(response: &hyper::Response<Incoming>) -> String {
    match response.extensions().get::<hyper::ext::ReasonPhrase>() {
        Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
        None => response.status().canonical_reason().unwrap_or_default().to_owned(),
    }
}

/// The end of a body. What goes wrong on the way is no failure: the status was already told.
async fn read(mut body: Incoming, deadline: Instant, output_bytes_max: usize) -> String {
    let mut tail = Tail::new(output_bytes_max);
    while tail.total() < BODY_BYTES_MAX {
        match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => tail.push(frame.data_ref().map(Bytes::as_ref).unwrap_or_default()),
            Ok(Some(Err(_)) | None) | Err(_) => break,
        }
    }
    tail.text()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The request after a redirect: 307 and 308 repeat it, the others ask again with GET and without a body.
fn redirect(hop: Hop, status: StatusCode, location: &str) -> Result<Hop, String> {
    let uri = resolve(&hop.uri, location).ok_or_else(|| format!("failed to parse Location header {location:?}"))?;
    let repeats = matches!(status.as_u16(), 307 | 308);
    let is_safe = hop.method == Method::GET || hop.method == Method::HEAD;
    let method = if repeats || is_safe { hop.method } else { Method::GET };
    let body = if repeats { hop.body } else { Bytes::new() };
    let leaves_https = hop.uri.scheme_str() == Some("https") && uri.scheme_str() == Some("http");
    let referer = (!leaves_https).then(|| hop.uri.to_string());
    Ok(Hop { method, uri, body, referer })
}

/// RFC 3986, section 5: `location` as seen from `base`, without the removal of dots.
fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let absolute = if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", base.path())
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    absolute.split('#').next()?.parse().ok()
}
