//! Gossip: who is in a pool, who has failed, and rumours among its members.
//!
//! [`Gossip`] is one pool as one member sees it: SWIM (Das and others, 2002)
//! with Lifeguard's extensions (arXiv 1707.00788). It has no socket, clock or
//! randomness of its own; a loop feeds it [`Input`] and performs [`Output`].
//! Start with [`machine`] for the shape and `membership` for the rules.
//!
//! ```text
//!  datagrams ─┐             ┌─ probe       who is asked whether it is there
//!  streams  ──┤   machine   ├─ membership  alive, suspect, failed; who may have a name
//!  commands ──┤  (envelope, ├─ exchange    joining, full exchanges, what streams answer
//!  time ──────┘    wire)    ├─ intent      leaving, being made to leave, being forgotten
//!                           └─ keys        questions to all about keys
//! ```
//!
//! # What the loop owes the machine
//!
//! 1. It calls [`Gossip::step`] with [`Input::Tick`] at [`Gossip::deadline`] at the latest; when there is none, it
//!    waits for packets and commands alone. `now` never goes back.
//! 2. It performs every [`Output`] in order, and answers every [`Output::OpenStream`] with exactly one
//!    [`Input::StreamReply`] or [`Input::StreamFailed`] within its timeout: connect, write the bytes, read
//!    [`FRAME_HEADER_BYTES`], ask [`frame_length`] with [`ANSWER_BYTES_MAX`], read that much.
//! 3. It accepts a bounded number of streams at a time, reads one frame of each with a timeout and
//!    [`Gossip::request_bytes_max`], and waits for the [`Output::Reply`] or [`Output::Close`] of its number. A stream
//!    that brings no whole frame is an [`Input::StreamBroken`].
//! 4. It keeps the keys of [`Event::KeysChanged`] and, when members came or went, [`Gossip::recent_peers`].
//! 5. It checks what operators write where they write it: [`Tags::new`], [`Key::new`], [`Network::parse`],
//!    [`Fired::within`]; names of at most [`NAME_BYTES_MAX`] bytes. The machine drops what is too large.
//! 6. After [`Event::LeftPool`] it ends.
//!
//! # Why not the foca crate
//!
//! Its state machine decides what Lifeguard needs to change, and hides what it
//! needs to see. A suspicion there has no accuser, and a second one about the
//! same incarnation is not passed on, so independent confirmations cannot be
//! told apart or even arrive; they would have to travel beside it as broadcasts
//! of ours. Only the member whose own probe failed runs the timer, so its death
//! ends the suspicion. A probe is judged when the next one starts, without room
//! for nacks or for an answer by stream. A failed identity never comes back:
//! every return is another member to whoever watches. Packets must be addressed
//! to an exact identity, which a joining member does not know. Every received
//! packet searches a list of all members. Wrapping all of that leaves nothing
//! of foca but the encoding of a packet.

pub mod config;
pub mod counters;
pub mod envelope;
pub mod input;
pub mod keyring;
pub mod lamport;
pub mod machine;
pub mod member;
pub mod user_event;

mod awareness;
mod exchange;
mod intent;
mod keys;
mod membership;
mod probe;
mod queue;
mod suspicion;
mod table;
mod timers;
mod wire;

#[cfg(test)]
mod tests;

pub use config::{Config, DATAGRAM_BYTES_MAX, Network, Timing};
pub use counters::Counters;
pub use envelope::{ANSWER_BYTES_MAX, FRAME_HEADER_BYTES, frame_length};
pub use input::{Event, Input, KeyOperation, KeyReport, Note, Output, RequestId, StreamId, Ticket};
pub use keyring::{Key, KeyRing};
pub use lamport::LamportTime;
pub use machine::{Gossip, Stats};
pub use member::{Member, NAME_BYTES_MAX, NodeId, Profile, Status, Tags, TagsTooLarge};
pub use user_event::{EventTooLarge, Fired, UserEvent};
