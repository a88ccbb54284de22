//! Any bytes as a connection's frames, as a request, as its answer, or as a message of Raft: read or refused with a
//! reason, and never more than arrived.
#![no_main]

use agent_daemon::rpc::frame::{self, FrameError, Head, ReplyHead};
use agent_daemon::rpc::wire::{self, Kind, Partial};
use agent_raft::{Rpc, wire as raft};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;

const KINDS: [Rpc; 9] = [
    Rpc::Append,
    Rpc::Heartbeat,
    Rpc::Vote,
    Rpc::PreVote,
    Rpc::Snapshot,
    Rpc::TransferLeader,
    Rpc::Forward,
    Rpc::ReadIndex,
    Rpc::Change,
];

/// The longest body of a frame, and the longest message, that are read.
const BODY_BYTES_MAX: usize = 64;
const MESSAGE_BYTES_MAX: usize = wire::BODY_BYTES_MAX + 256;

fn refused(error: &FrameError) {
    assert!(!error.to_string().is_empty());
}

/// Reads a connection as it comes, and puts one long message together.
fn connection(bytes: &[u8]) {
    match wire::check_preamble(bytes) {
        Ok(_) => {}
        Err(error) => refused(&error),
    }
    let (mut rest, mut partial) = (bytes, None::<Partial>);
    loop {
        match wire::parse(rest, BODY_BYTES_MAX) {
            Ok(Some((frame, size))) => {
                assert!(frame.body.len() <= BODY_BYTES_MAX && size <= rest.len());
                assert_eq!(wire::parse(&rest[..size - 1], BODY_BYTES_MAX), Ok(None));
                let added = match (frame.kind, &mut partial) {
                    (Kind::Begin, _) => {
                        Partial::begin(frame.body, MESSAGE_BYTES_MAX).map(|begun| partial = Some(begun))
                    }
                    (Kind::More, Some(partial)) => partial.add(frame.body),
                    _ => Ok(()),
                };
                if let Err(error) = added {
                    return refused(&error);
                }
                rest = &rest[size..];
            }
            Ok(None) => break,
            Err(error) => return refused(&error),
        }
    }
    if let Some(partial) = partial {
        assert!(partial.into_bytes().len() <= MESSAGE_BYTES_MAX.min(bytes.len()));
    }
}

fn check<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    match frame::open(bytes) {
        Ok((head, payload)) => {
            assert!(bytes.ends_with(payload));
            Some(head)
        }
        Err(error) => {
            refused(&error);
            None
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [kind, bytes @ ..] = bytes else { return };
    match usize::from(*kind) {
        0 => match check(bytes) {
            // Where it goes on as a request, that may be refused, too.
            Some(Head::Http(head)) => drop(head.request(Bytes::new())),
            Some(Head::Hello(_) | Head::Raft(_) | Head::Catalog(_) | Head::Dns(_)) | None => {}
        },
        1 => drop(check::<ReplyHead<'_>>(bytes)),
        2 => connection(bytes),
        kind => {
            if let Err(refused) = raft::inspect(KINDS[kind % KINDS.len()], bytes) {
                assert!(!refused.to_string().is_empty());
            }
        }
    }
});
