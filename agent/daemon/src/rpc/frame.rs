//! What requests and answers say: the head of a message, in front of its payload.
//!
//! The head is small and says what the payload is. How messages travel is told
//! in `wire.rs`; whatever comes in is bounded there before it is kept, and a
//! peer of another version is turned away before anything is read.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use agent_raft::Rpc;
use agent_raft::wire::MESSAGE_BYTES_MAX;
use serde::{Deserialize, Serialize};

use super::wire::PROTOCOL_VERSION;

/// The largest head, in bytes: HTTP headers are at most 16 KiB.
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// The largest payload that is held in memory, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// What a request is. Variants are only appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Head<'a> {
    /// The first request of every connection.
    Hello(Hello),
    /// A message for Raft; the payload is the message.
    Raft(Rpc),
    /// An HTTP request; the payload is its body.
    #[serde(borrow)]
    Http(HttpHead<'a>),
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
pub struct HttpHead<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query, percent-encoded.
    #[serde(borrow)]
    pub uri: Cow<'a, str>,
    /// The token; empty for none.
    pub token: &'a str,
    /// The node of the agent that was asked.
    pub agent: &'a str,
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
pub enum ReplyHead<'a> {
    /// Done; the payload is the answer.
    Done,
    /// Not acted upon, and why.
    #[serde(borrow)]
    Refused(Cow<'a, str>),
    /// An HTTP response; the payload is its body.
    Http {
        /// The status.
        status: u16,
        /// The headers.
        headers: Vec<(&'a str, &'a [u8])>,
    },
    /// A DNS answer; the payload is as it says.
    Dns(DnsReply),
}

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// It is of a version that this build does not speak.
    Version(u8),
    /// It is something else altogether.
    Foreign,
    /// It is larger than allowed.
    TooLarge(usize),
    /// It makes no sense.
    Damaged(String),
    /// The connection broke.
    Broken(String),
    /// Nothing came for so long that nobody can be there.
    Silent,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Version(version) => {
                write!(f, "rpc version {version} is not known, this agent speaks {PROTOCOL_VERSION}: upgrade it")
            }
            FrameError::Foreign => f.write_str("it does not speak our language"),
            FrameError::TooLarge(max) => write!(f, "rpc is larger than {max} bytes"),
            FrameError::Damaged(why) => write!(f, "rpc cannot be read: {why}"),
            FrameError::Silent => f.write_str("it fell silent"),
            FrameError::Broken(why) => write!(f, "rpc ended too early: {why}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// The head of a message, and the payload behind it.
///
/// # Errors
/// It makes no sense, or is too long.
pub fn open<'a, T: Deserialize<'a>>(message: &'a [u8]) -> Result<(T, &'a [u8]), FrameError> {
    let (head, payload) = postcard::take_from_bytes(message).map_err(|why| FrameError::Damaged(why.to_string()))?;
    if message.len() - payload.len() > HEAD_BYTES_MAX {
        return Err(FrameError::TooLarge(HEAD_BYTES_MAX));
    }
    Ok((head, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_with_what_follows_unless_it_is_too_long() {
        let refused = |size: usize| postcard::to_allocvec(&ReplyHead::Refused("a".repeat(size).into())).unwrap();
        let message = [refused(2), b"payload".to_vec()].concat();
        assert_eq!(open(&message), Ok((ReplyHead::Refused("aa".into()), b"payload".as_slice())));
        assert_eq!(open::<ReplyHead<'_>>(&refused(HEAD_BYTES_MAX)), Err(FrameError::TooLarge(HEAD_BYTES_MAX)));
        assert!(matches!(open::<ReplyHead<'_>>(&[9]), Err(FrameError::Damaged(_))));
    }
}
