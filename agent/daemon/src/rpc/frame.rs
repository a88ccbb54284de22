//! What the bytes of a request and of an answer mean.
//!
//! Both are `[version][length of the head][head][payload]`: the head is small
//! and says what the payload is. Whatever comes in is bounded before it is
//! kept, and a head of another version is refused without being read.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use agent_raft::Rpc;
use agent_raft::wire::MESSAGE_BYTES_MAX;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::http::response::Content;

/// The version in front of every request and answer.
pub const PROTOCOL_VERSION: u8 = 1;

/// The largest head, in bytes: HTTP headers are at most 16 KiB.
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// The largest payload that is held in memory, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// Version and length.
const PREFIX_BYTES: usize = 5;

/// What a request is. Variants are only appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Head {
    /// The first request of every connection.
    Hello(Hello),
    /// A message for Raft; the payload is the message.
    Raft(Rpc),
    /// An HTTP request; the payload is its body.
    Http(HttpHead),
    /// A DNS question; the payload is the packet.
    Dns(DnsHead),
    /// An agent's own records in the catalog.
    Catalog(CatalogHead),
}

/// Who opens a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The data centre, which must be ours.
    pub datacenter: String,
    /// The node name, for logs.
    pub node: String,
    /// The cluster, which must be ours if both know one.
    pub cluster: Option<u128>,
}

/// An HTTP request without its body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpHead {
    /// The method.
    pub method: String,
    /// Path and query, percent-encoded.
    pub uri: String,
    /// The token; empty for none.
    pub token: String,
    /// The node of the agent that was asked.
    pub agent: String,
    /// Who asked it; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
}

/// What an agent wants of the catalog for its own services. Variants are only appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogHead {
    /// Write the command in the payload, a registration or its end. The answer is a `Result<Reply, WriteError>`.
    Write,
    /// The records of a node, once their index is past `past`. The answer is a `Result<(Index, Remote), ReadError>`.
    Read {
        /// The node.
        node: String,
        /// The index that is known; zero answers at once.
        past: u64,
    },
}

/// How a DNS question came to a client agent, and how that agent wants it answered. The payload is the packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsHead {
    /// Whether it came over TCP: then the answer may be long.
    pub tcp: bool,
    /// The client's policy, as [`crate::dns::policy`] writes it.
    pub policy: Arc<[u8]>,
    /// What the client found out after a [`DnsReply::Resolve`]. It is used for this answer and nothing else.
    pub resolved: Option<Resolved>,
}

/// What a client's recursors said about names that an answer points to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// Repeats the order of instances.
    pub seed: u64,
    /// Names and the recursors' packets about them, which are empty if there was none.
    pub replies: Vec<(String, Vec<u8>)>,
}

/// What a server says to a DNS question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsReply {
    /// The payload is the answer; without one the question deserves none.
    Whole,
    /// Not in the catalog, and perhaps elsewhere: ask your recursors. There is no payload.
    Recurse,
    /// The answer points to names outside of the domain, and is the payload as far as it goes without them: ask your
    /// recursors, and then again with what they said.
    Resolve {
        /// The names.
        names: Vec<String>,
        /// For [`Resolved::seed`].
        seed: u64,
    },
}

/// What an answer is. Variants are only appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplyHead {
    /// Done; the payload is the answer.
    Done,
    /// Not acted upon, and why.
    Refused(String),
    /// An HTTP response; the payload is its body.
    Http {
        /// The status.
        status: u16,
        /// The headers.
        headers: Vec<(String, Vec<u8>)>,
        /// The body's length; `None` when it comes bit by bit.
        size_bytes: Option<u64>,
    },
    /// A DNS answer; the payload is as it says.
    Dns(DnsReply),
}

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// It is of a version that this build does not speak.
    Version(u8),
    /// It is larger than allowed.
    TooLarge(usize),
    /// It makes no sense.
    Damaged(String),
    /// It ended too early, or the connection broke.
    Broken(String),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Version(version) => {
                write!(f, "rpc version {version} is not known, this agent speaks {PROTOCOL_VERSION}: upgrade it")
            }
            FrameError::TooLarge(max) => write!(f, "rpc is larger than {max} bytes"),
            FrameError::Damaged(why) => write!(f, "rpc cannot be read: {why}"),
            FrameError::Broken(why) => write!(f, "rpc ended too early: {why}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// The bytes in front of a payload.
pub fn encode<T: Serialize>(head: &T) -> Bytes {
    let mut bytes =
        postcard::to_extend(head, vec![PROTOCOL_VERSION, 0, 0, 0, 0]).expect("heads have no type it refuses");
    let size = u32::try_from(bytes.len() - PREFIX_BYTES).expect("heads are small");
    bytes[1..PREFIX_BYTES].copy_from_slice(&size.to_be_bytes());
    bytes.into()
}

/// Reads frames off a body.
pub struct Reader<B> {
    body: B,
    buffer: BytesMut,
}

impl<B> Reader<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: fmt::Display,
{
    /// A reader at the beginning of `body`.
    pub fn new(body: B) -> Self {
        Reader { body, buffer: BytesMut::new() }
    }

    /// The head.
    ///
    /// # Errors
    /// [`FrameError`].
    pub async fn head<T: DeserializeOwned>(&mut self) -> Result<T, FrameError> {
        let version = self.exactly(1).await?[0];
        if version != PROTOCOL_VERSION {
            return Err(FrameError::Version(version));
        }
        let size = usize::try_from(self.exactly(PREFIX_BYTES - 1).await?.get_u32()).unwrap_or(usize::MAX);
        if size > HEAD_BYTES_MAX {
            return Err(FrameError::TooLarge(HEAD_BYTES_MAX));
        }
        let head = self.exactly(size).await?;
        match postcard::take_from_bytes(&head) {
            Ok((head, [])) => Ok(head),
            Ok((_, rest)) => Err(FrameError::Damaged(format!("{} bytes follow its head", rest.len()))),
            Err(why) => Err(FrameError::Damaged(why.to_string())),
        }
    }

    async fn exactly(&mut self, size: usize) -> Result<Bytes, FrameError> {
        while self.buffer.len() < size {
            let Some(more) = self.more().await? else {
                return Err(FrameError::Broken(format!("{} of {size} bytes came", self.buffer.len())));
            };
            self.buffer.extend_from_slice(&more);
        }
        Ok(self.buffer.split_to(size).freeze())
    }

    /// The next bytes of the payload; `None` at its end.
    ///
    /// # Errors
    /// [`FrameError::Broken`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        if self.buffer.is_empty() {
            return self.more().await;
        }
        Ok(Some(self.buffer.split().freeze()))
    }

    async fn more(&mut self) -> Result<Option<Bytes>, FrameError> {
        while let Some(frame) = self.body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) if data.is_empty() => {}
                Ok(Ok(data)) => return Ok(Some(data)),
                // Trailers say nothing here.
                Ok(Err(_)) => {}
                Err(error) => return Err(FrameError::Broken(error.to_string())),
            }
        }
        Ok(None)
    }

    /// The rest, if it is at most `max` bytes.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] and [`FrameError::Broken`].
    pub async fn rest(&mut self, max: usize) -> Result<Bytes, FrameError> {
        while self.buffer.len() <= max {
            match self.more().await? {
                Some(more) if self.buffer.is_empty() && more.len() > max => return Err(FrameError::TooLarge(max)),
                Some(more) => self.buffer.extend_from_slice(&more),
                None => return Ok(self.buffer.split().freeze()),
            }
        }
        Err(FrameError::TooLarge(max))
    }
}

/// A body that is a head and a payload.
#[derive(Debug)]
pub struct Framed {
    whole: VecDeque<Bytes>,
    rest: Content,
}

impl Framed {
    /// A head with a payload that is there.
    pub fn whole<T: Serialize>(head: &T, payload: Bytes) -> Self {
        let whole = [encode(head), payload].into_iter().filter(|bytes| !bytes.is_empty()).collect();
        Framed { whole, rest: Content::Whole(Bytes::new()) }
    }

    /// A head with a payload that may still be coming.
    pub fn streamed<T: Serialize>(head: &T, payload: Content) -> Self {
        Framed { whole: VecDeque::from([encode(head)]), rest: payload }
    }
}

impl Body for Framed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        match this.whole.pop_front() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Pin::new(&mut this.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.whole.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            Content::Whole(rest) => {
                let whole: usize = self.whole.iter().map(Bytes::len).sum();
                SizeHint::with_exact((whole + rest.len()) as u64)
            }
            Content::Stream(_) => SizeHint::default(),
        }
    }
}
