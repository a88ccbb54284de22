//! Any bytes as an rpc that comes in pieces, as its answer, or as a message of Raft: read or refused with a reason, and
//! never more than arrived.
#![no_main]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use agent_daemon::rpc::frame::{FrameError, Head, Reader, ReplyHead};
use agent_raft::{Rpc, wire};
use bytes::Bytes;
use http_body::{Body, Frame};
use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;

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

/// The largest payload that is read.
const PAYLOAD_BYTES_MAX: usize = 64;

struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

/// Reads a head and the payload behind it.
fn read<T: DeserializeOwned>(bytes: &[u8], piece: usize) -> Result<(T, Bytes), FrameError> {
    let mut reader = Reader::new(Pieces(bytes.chunks(piece).map(Bytes::copy_from_slice).collect()));
    let read = pin!(async { Ok((reader.head().await?, reader.rest(PAYLOAD_BYTES_MAX).await?)) });
    match read.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read,
        Poll::Pending => panic!("everything is there, and it waits"),
    }
}

fn check<T: DeserializeOwned>(bytes: &[u8], piece: usize) -> Option<T> {
    match read(bytes, piece) {
        Ok((head, payload)) => {
            assert!(payload.len() <= PAYLOAD_BYTES_MAX && bytes.ends_with(&payload));
            Some(head)
        }
        Err(refused) => {
            assert!(!refused.to_string().is_empty());
            None
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [kind, piece, bytes @ ..] = bytes else { return };
    let piece = usize::from(*piece).max(1);
    match usize::from(*kind) {
        0 => match check(bytes, piece) {
            // Where it goes on as a request, that may be refused, too.
            Some(Head::Http(head)) => drop(head.request(Bytes::new())),
            Some(Head::Hello(_) | Head::Raft(_) | Head::Catalog(_) | Head::Dns(_)) | None => {}
        },
        1 => drop(check::<ReplyHead>(bytes, piece)),
        kind => {
            if let Err(refused) = wire::inspect(KINDS[kind % KINDS.len()], bytes) {
                assert!(!refused.to_string().is_empty());
            }
        }
    }
});
