//! A response: status, headers, and a body that is whole or streamed.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use tokio::sync::mpsc;

use super::json;
use super::request::Request;

/// How many headers most answers carry: their map is made with room for them.
const HEADERS_OF_A_READ: usize = 6;

/// The names of the headers of reads.
pub mod names {
    use hyper::header::HeaderName;

    /// The index to wait from next.
    pub static INDEX: HeaderName = HeaderName::from_static("x-consul-index");
    /// Whether there is a leader.
    pub static KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");
    /// Milliseconds since this server last heard of the leader.
    pub static LAST_CONTACT: HeaderName = HeaderName::from_static("x-consul-lastcontact");
    /// How fresh the answer was asked to be.
    pub static CONSISTENCY: HeaderName = HeaderName::from_static("x-consul-effective-consistency");
}

/// A response.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers, without length and date.
    pub headers: HeaderMap,
    /// The body.
    pub body: Content,
}

/// A body.
#[derive(Debug)]
pub enum Content {
    /// All of it.
    Whole(Bytes),
    /// As it comes; ends when the sender is dropped.
    Stream(mpsc::Receiver<Bytes>),
}

impl Response {
    /// An empty response.
    pub fn empty(status: StatusCode) -> Self {
        Response { status, headers: HeaderMap::new(), body: Content::Whole(Bytes::new()) }
    }

    /// Plain text, as Consul writes errors.
    pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        let mut response = Response { body: Content::Whole(text.into()), ..Response::empty(status) };
        response.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }

    /// JSON, with indentation if the request asks for it or `pretty` says so.
    pub fn json<T: Serialize + ?Sized>(request: &Request, pretty: bool, value: &T) -> Self {
        Self::encoded_json(Self::json_body(request, pretty, value))
    }

    /// The body of [`Response::json`].
    pub fn json_body<T: Serialize + ?Sized>(request: &Request, pretty: bool, value: &T) -> Vec<u8> {
        json::encode(value, pretty || request.has("pretty"))
    }

    /// JSON that is encoded already.
    pub fn encoded_json(body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::with_capacity(HEADERS_OF_A_READ);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Response { status: StatusCode::OK, headers, body: Content::Whole(body.into()) }
    }

    /// A body that is sent as it comes.
    pub fn stream(chunks: mpsc::Receiver<Bytes>) -> Self {
        Response { body: Content::Stream(chunks), ..Response::empty(StatusCode::OK) }
    }

    /// Sets a header whose name is known, without looking at it.
    pub fn header(&mut self, name: &'static HeaderName, value: HeaderValue) {
        self.headers.insert(name, value);
    }

    /// Sets a header. A name or value that HTTP does not allow is left out.
    pub fn set_header(&mut self, name: &str, value: &str) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            self.headers.insert(name, value);
        }
    }

    /// The whole body, for tests; empty for a stream.
    pub fn whole(&self) -> &[u8] {
        match &self.body {
            Content::Whole(bytes) => bytes,
            Content::Stream(_) => &[],
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Stream(chunks) => chunks.poll_recv(context).map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}
