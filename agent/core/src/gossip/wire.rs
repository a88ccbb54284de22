//! What members say to each other.
//!
//! Owns the messages and their bytes. A packet's body is a row of messages,
//! each with a length before it, so that a kind this version does not know is
//! skipped and the rest is read. A frame's body is one [`Request`] or
//! [`Answer`]. Variants and fields are only appended. Decoding never panics and
//! allocates no more than what arrived.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::input::KeyOperation;
use super::keyring::{KEYS_MAX, Key};
use super::lamport::LamportTime;
use super::member::{NAME_BYTES_MAX, Profile};
use super::user_event::UserEvent;
use crate::coordinate::Coordinate;

/// Bytes of the length before each message.
pub(super) const LENGTH_BYTES: usize = 2;

/// The most messages read from one packet.
const MESSAGES_MAX: usize = 512;

/// The most members read from one full exchange.
pub(super) const MEMBERS_MAX: usize = 32 * 1024;

/// One thing a member says in a datagram.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Message {
    /// Are you there?
    Ping { seq: u32, target: Arc<str>, source: Arc<str> },
    /// I am, and this is where I am on the map.
    Ack { seq: u32, coordinate: Option<Coordinate> },
    /// Ask somebody whether it is there, for me.
    IndirectPing { seq: u32, target: Arc<str> },
    /// I asked and heard nothing yet: my own network is fine.
    Nack { seq: u32 },
    /// A member is there. The profile comes along when it is new.
    Alive { name: Arc<str>, incarnation: u64, revision: u64, profile: Option<Arc<Profile>> },
    /// A member does not answer.
    Suspect { name: Arc<str>, incarnation: u64, accuser: Arc<str> },
    /// A member has failed; it has left when it says so itself.
    Dead { name: Arc<str>, incarnation: u64, accuser: Arc<str> },
    /// A member wants to join or leave, or is made to leave.
    Intent { name: Arc<str>, time: LamportTime, leaves: bool, prune: bool },
    /// Somebody fired an event.
    UserEvent(UserEvent),
    /// Somebody asks everyone about keys.
    KeyQuery(KeyQuery),
    /// The answer to that, straight to who asked.
    KeyAnswer(KeyAnswer),
}

/// A question about keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeyQuery {
    pub(super) time: LamportTime,
    pub(super) id: u64,
    pub(super) origin: Arc<str>,
    pub(super) answer_to: SocketAddr,
    /// Asked for the second time, straight: answer even though it was heard before.
    pub(super) again: bool,
    pub(super) operation: KeyOperation,
}

/// What a member says to a [`KeyQuery`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeyAnswer {
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    pub(super) error: Option<String>,
    /// The primary first.
    pub(super) keys: Vec<Key>,
}

/// What a member says first in a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Request {
    /// Everything we know; tell us yours.
    Exchange(Snapshot),
    /// Are you there? With rumours, because datagrams seem not to arrive.
    Ping { target: Arc<str>, source: Arc<str>, messages: Vec<Vec<u8>> },
    /// Messages that must arrive.
    Deliver { messages: Vec<Vec<u8>> },
}

/// What a member says last in a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Everything we know.
    Exchange(Snapshot),
    /// We are there; these are rumours in return.
    Ack { messages: Vec<Vec<u8>> },
    /// We will not, and why.
    Refused(String),
}

/// Everything a member knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// Whether this is a first meeting.
    pub(super) join: bool,
    pub(super) sender: Arc<str>,
    pub(super) time: LamportTime,
    pub(super) event_time: LamportTime,
    pub(super) members: Vec<Known>,
    pub(super) events: Vec<UserEvent>,
}

/// What is known of one member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) profile: Arc<Profile>,
    pub(super) incarnation: u64,
    pub(super) state: KnownState,
    pub(super) time: LamportTime,
    /// Seconds since the state began.
    pub(super) age_s: u32,
}

/// How a member is, in a full exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum KnownState {
    Alive,
    Suspect,
    Leaving,
    Left,
    Failed,
}

impl Message {
    /// Its bytes, without the length before it.
    pub(super) fn encode(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// The message, when its parts are within bounds.
    pub(super) fn decode(bytes: &[u8]) -> Option<Message> {
        from_bytes::<Message>(bytes).filter(Message::is_bounded)
    }

    fn is_bounded(&self) -> bool {
        match self {
            Message::Ping { target, source, .. } => is_name(target) && is_name(source),
            Message::Ack { coordinate, .. } => coordinate.as_ref().is_none_or(Coordinate::is_valid),
            Message::IndirectPing { target, .. } => is_name(target),
            Message::Nack { .. } => true,
            Message::Alive { name, profile, .. } => {
                is_name(name) && profile.as_ref().is_none_or(|profile| is_profile(profile) && profile.name == *name)
            }
            Message::Suspect { name, accuser, .. } | Message::Dead { name, accuser, .. } => {
                is_name(name) && is_name(accuser)
            }
            Message::Intent { name, .. } => is_name(name),
            Message::UserEvent(event) => is_event(event),
            Message::KeyQuery(query) => is_name(&query.origin),
            Message::KeyAnswer(answer) => {
                let error_bytes = answer.error.as_ref().map_or(0, String::len);
                is_name(&answer.name) && answer.keys.len() <= KEYS_MAX && error_bytes <= 256
            }
        }
    }
}

impl Request {
    /// Its bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// The request, when its parts are within bounds.
    pub(super) fn decode(bytes: &[u8]) -> Option<Request> {
        from_bytes::<Request>(bytes).filter(|request| match request {
            Request::Exchange(snapshot) => snapshot.is_bounded(),
            Request::Ping { target, source, messages } => {
                is_name(target) && is_name(source) && messages.len() <= MESSAGES_MAX
            }
            Request::Deliver { messages } => messages.len() <= MESSAGES_MAX,
        })
    }
}

impl Answer {
    /// Its bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// The answer, when its parts are within bounds.
    pub(super) fn decode(bytes: &[u8]) -> Option<Answer> {
        from_bytes::<Answer>(bytes).filter(|answer| match answer {
            Answer::Exchange(snapshot) => snapshot.is_bounded(),
            Answer::Ack { messages } => messages.len() <= MESSAGES_MAX,
            Answer::Refused(reason) => reason.len() <= 1024,
        })
    }
}

impl Snapshot {
    fn is_bounded(&self) -> bool {
        is_name(&self.sender)
            && self.members.len() <= MEMBERS_MAX
            && self.members.iter().all(|known| is_profile(&known.profile))
            && self.events.iter().all(is_event)
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
}

fn is_profile(profile: &Profile) -> bool {
    is_name(&profile.name) && profile.tags.is_bounded()
}

fn is_event(event: &UserEvent) -> bool {
    event.fired.is_within(super::config::EVENT_BYTES_LIMIT)
}

fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("our own messages can always be written")
}

fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

/// Appends a message with its length before it.
pub(super) fn append(body: &mut Vec<u8>, message: &[u8]) {
    let length = u16::try_from(message.len()).expect("messages are shorter than a datagram");
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(message);
}

/// The messages of a body; `None` when it ends amid one.
pub(super) fn split(mut body: &[u8]) -> Option<Vec<&[u8]>> {
    let mut messages = Vec::new();
    while !body.is_empty() {
        let (length, rest) = body.split_first_chunk::<LENGTH_BYTES>()?;
        let (message, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        if messages.len() == MESSAGES_MAX {
            return None;
        }
        messages.push(message);
        body = rest;
    }
    Some(messages)
}
