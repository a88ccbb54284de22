//! The side of a connection that asks: who waits for which answer.
//!
//! Owns the certainty that callers need when a connection ends: a request that
//! was never handed to the system has certainly not been received. Answers to
//! nobody, since whoever asked has given up, are dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::frame::{self, FrameError, HEAD_BYTES_MAX, Head, PAYLOAD_BYTES_MAX, ReplyHead};
use super::link::{Link, Side, State, Withdrawn};
use super::pool::CallError;
use super::serving::{PIECES_MAX, REQUESTS_MAX};
use super::wire::{BODY_BYTES_MAX, Frame, Kind, Partial};
use crate::env::Stream;

/// The bytes that wait for a peer that takes nothing, before it is asked no more.
const QUEUE_BYTES_MAX: usize = 2 * PAYLOAD_BYTES_MAX;

/// An answer, as it came.
#[derive(Debug)]
pub struct Answer {
    message: Bytes,
    /// What follows, if the payload comes in pieces.
    pub pieces: Option<Pieces>,
}

impl Answer {
    /// All of it but for the pieces.
    pub fn message(&self) -> &Bytes {
        &self.message
    }

    /// The head and the payload.
    ///
    /// # Errors
    /// It makes no sense; the peer may have acted upon the request.
    pub fn open(&self) -> Result<(ReplyHead<'_>, Bytes), CallError> {
        let (head, payload) = frame::open(&self.message).map_err(|error| CallError::Lost(error.to_string()))?;
        Ok((head, self.message.slice_ref(payload)))
    }
}

/// Who waits for an answer.
enum Waiting {
    /// For all of it, since so many batches had left.
    Answer(oneshot::Sender<Result<Answer, CallError>>, u64),
    /// For the rest.
    Rest(oneshot::Sender<Result<Answer, CallError>>, Partial),
    /// For the next piece.
    Pieces(mpsc::Sender<Bytes>),
}

/// What callers share with the connection's task.
struct Calls {
    last_id: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// Nothing new may be asked: it ends, or nobody holds it any more.
    is_closing: bool,
}

struct Shared {
    link: Link<Calls>,
    /// A copy of [`Calls::is_closing`] that needs no lock.
    is_closed: AtomicBool,
}

/// An open connection. It ends when nobody holds it any more.
pub(super) struct Calling {
    shared: Arc<Shared>,
    /// As many requests as the peer takes at the same time.
    places: Semaphore,
}

impl Calling {
    /// A connection over `stream`, which a task of its own keeps.
    pub fn start(stream: Box<dyn Stream>) -> Arc<Calling> {
        let calls = Calls { last_id: 0, waiting: BTreeMap::new(), is_closing: false };
        let shared = Arc::new(Shared { link: Link::new(calls), is_closed: AtomicBool::new(false) });
        tokio::spawn(keep(shared.clone(), stream));
        Arc::new(Calling { shared, places: Semaphore::new(REQUESTS_MAX) })
    }

    /// Whether nothing new may be asked.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed.load(Ordering::Acquire)
    }

    /// Sends a request and waits for its answer. Dropping the future tells the peer that nobody waits any more.
    ///
    /// # Errors
    /// [`CallError::NotSent`] and [`CallError::Lost`].
    pub async fn call(self: &Arc<Self>, head: &Head<'_>, payload: Bytes) -> Result<Answer, CallError> {
        self.places.acquire().await.expect("it is never closed").forget();
        let mut asked = Asked { calling: self.clone(), id: 0, is_over: true };
        let (sender, answer) = oneshot::channel();
        asked.id = self.shared.link.with(|state| state.ask(head, payload, sender))?;
        asked.is_over = false;
        let answer = answer.await.unwrap_or_else(|_| Err(CallError::Lost("the connection ended".to_owned())));
        asked.is_over = !matches!(answer, Ok(Answer { pieces: Some(_), .. }));
        let mut answer = answer?;
        if let Some(pieces) = &mut answer.pieces {
            pieces.asked = Some(asked);
        }
        Ok(answer)
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        self.shared.link.with(State::<Calls>::close);
    }
}

impl State<Calls> {
    /// Puts a request where it leaves, and whoever waits where the answer comes.
    fn ask(
        &mut self,
        head: &Head<'_>,
        payload: Bytes,
        sender: oneshot::Sender<Result<Answer, CallError>>,
    ) -> Result<u64, CallError> {
        if self.side.is_closing {
            return Err(CallError::NotSent("the connection ended".to_owned()));
        }
        if self.out.bytes() > QUEUE_BYTES_MAX {
            return Err(CallError::NotSent("it takes nothing of what waits for it".to_owned()));
        }
        self.side.last_id += 1;
        let id = self.side.last_id;
        self.side.waiting.insert(id, Waiting::Answer(sender, self.out.taken()));
        self.out.message(Kind::Whole, id, head, payload);
        Ok(id)
    }

    fn forget(&mut self, id: u64) -> Option<Waiting> {
        let waiting = self.side.waiting.remove(&id);
        if self.side.is_closing && self.side.waiting.is_empty() {
            self.out.end();
        }
        waiting
    }

    /// Nobody waits for this one any more.
    fn give_up(&mut self, id: u64) {
        if self.forget(id).is_some() && self.out.withdraw(id) != Withdrawn::Unsent {
            self.out.frame(Kind::Cancel, id, &[]);
        }
    }

    /// Nothing new may be asked.
    fn close(&mut self) {
        self.side.is_closing = true;
        if self.side.waiting.is_empty() {
            self.out.end();
        }
    }

    /// The answer to all who wait for one, now that the connection has ended.
    fn end(&mut self, why: &str) -> Vec<(oneshot::Sender<Result<Answer, CallError>>, CallError)> {
        self.side.is_closing = true;
        let waiting = std::mem::take(&mut self.side.waiting);
        let mut ended = Vec::new();
        for (id, waiting) in waiting {
            let (sender, is_unsent) = match waiting {
                Waiting::Answer(sender, taken) => {
                    let is_unsent = taken == self.out.taken() || self.out.withdraw(id) == Withdrawn::Unsent;
                    (sender, is_unsent)
                }
                Waiting::Rest(sender, _) => (sender, false),
                Waiting::Pieces(_) => continue,
            };
            let error = if is_unsent { CallError::NotSent } else { CallError::Lost };
            ended.push((sender, error(why.to_owned())));
        }
        ended
    }
}

/// A request on its way: unless it is over when this is dropped, the peer learns that nobody waits.
struct Asked {
    calling: Arc<Calling>,
    id: u64,
    is_over: bool,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_over {
            self.calling.shared.link.with(|state| state.give_up(self.id));
        }
        self.calling.places.add_permits(1);
    }
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Asked").field(&self.id).finish()
    }
}

/// A payload that comes in pieces. Dropping it tells the peer that nobody takes them any more.
#[derive(Debug)]
pub struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    asked: Option<Asked>,
}

impl Pieces {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        let piece = self.receiver.recv().await?;
        if let Some(asked) = &self.asked {
            asked.calling.shared.link.with(|state| state.out.frame(Kind::Credit, asked.id, &[]));
        }
        Some(piece)
    }
}

/// Keeps a connection until it ends, and tells everybody who waits.
async fn keep(shared: Arc<Shared>, stream: Box<dyn Stream>) {
    let mut side = Asking { shared: shared.clone() };
    let ended = shared.link.run(stream, &mut side).await;
    shared.is_closed.store(true, Ordering::Release);
    let why = ended.err().map_or_else(|| "the connection ended".to_owned(), |error| error.to_string());
    for (sender, error) in shared.link.with(|state| state.end(&why)) {
        // Whoever has given up needs no answer.
        let _ = sender.send(Err(error));
    }
}

struct Asking {
    shared: Arc<Shared>,
}

impl Side for Asking {
    type Shared = Calls;

    fn body_max(&self) -> usize {
        BODY_BYTES_MAX
    }

    fn pauses(&self) -> bool {
        false
    }

    async fn receive(&mut self, frame: Frame<'_>) -> Result<(), FrameError> {
        let Frame { kind, id, body } = frame;
        match kind {
            Kind::Whole => self.answered(id, Ok(Answer { message: Bytes::copy_from_slice(body), pieces: None })),
            Kind::Begin => self.begins(id, body)?,
            Kind::More => self.goes_on(id, body)?,
            Kind::Stream => self.streams(id, body),
            Kind::Piece => self.piece(id, body)?,
            Kind::End => drop(self.shared.link.with(|state| state.forget(id))),
            Kind::Closing => {
                self.shared.is_closed.store(true, Ordering::Release);
                self.shared.link.with(State::<Calls>::close);
            }
            Kind::Unheard => self.answered(id, Err(CallError::NotSent("the server stops".to_owned()))),
            Kind::Credit | Kind::Cancel | Kind::Ping | Kind::Pong => {
                return Err(FrameError::Damaged(format!("{kind:?} is nothing that a server says")));
            }
        }
        Ok(())
    }
}

impl Asking {
    fn answered(&self, id: u64, answer: Result<Answer, CallError>) {
        if let Some(Waiting::Answer(sender, _)) = self.shared.link.with(|state| state.forget(id)) {
            // Whoever has given up needs no answer.
            let _ = sender.send(answer);
        }
    }

    fn begins(&self, id: u64, body: &[u8]) -> Result<(), FrameError> {
        let partial = Partial::begin(body, HEAD_BYTES_MAX + PAYLOAD_BYTES_MAX)?;
        self.shared.link.with(|state| {
            if let Some(Waiting::Answer(sender, _)) = state.side.waiting.remove(&id) {
                state.side.waiting.insert(id, Waiting::Rest(sender, partial));
            }
        });
        Ok(())
    }

    fn goes_on(&self, id: u64, body: &[u8]) -> Result<(), FrameError> {
        let whole = self.shared.link.with(|state| {
            let Some(Waiting::Rest(_, partial)) = state.side.waiting.get_mut(&id) else { return Ok(None) };
            partial.add(body)?;
            Ok(if partial.is_whole() { state.forget(id) } else { None })
        })?;
        if let Some(Waiting::Rest(sender, partial)) = whole {
            // Whoever has given up needs no answer.
            let _ = sender.send(Ok(Answer { message: partial.into_bytes().into(), pieces: None }));
        }
        Ok(())
    }

    fn streams(&self, id: u64, body: &[u8]) {
        let (pieces, receiver) = mpsc::channel(PIECES_MAX);
        let waiting = self.shared.link.with(|state| match state.side.waiting.remove(&id) {
            Some(Waiting::Answer(sender, _)) => {
                state.side.waiting.insert(id, Waiting::Pieces(pieces));
                Some(sender)
            }
            _ => None,
        });
        if let Some(sender) = waiting {
            let pieces = Some(Pieces { receiver, asked: None });
            // Whoever has given up has said so to the peer.
            let _ = sender.send(Ok(Answer { message: Bytes::copy_from_slice(body), pieces }));
        }
    }

    fn piece(&self, id: u64, body: &[u8]) -> Result<(), FrameError> {
        let full = self.shared.link.with(|state| match state.side.waiting.get(&id) {
            Some(Waiting::Pieces(sender)) => {
                matches!(sender.try_send(Bytes::copy_from_slice(body)), Err(TrySendError::Full(_)))
            }
            _ => false,
        });
        if full { Err(FrameError::Damaged("more pieces come than there is room for".to_owned())) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use agent_raft::Rpc;
    use tokio::io::AsyncReadExt;

    use super::*;

    /// What was never handed to the system is certain not to have been received; what was, is not.
    #[tokio::test]
    async fn a_connection_that_breaks_tells_whose_request_had_left() {
        let (here, mut there) = tokio::io::duplex(64);
        let calling = Calling::start(Box::new(here));
        let ask = |bytes: usize| {
            let calling = calling.clone();
            tokio::spawn(async move { calling.call(&Head::Raft(Rpc::Append), vec![7; bytes].into()).await })
        };
        let leaves = ask(1_000);
        // It is being written when its first byte has come.
        there.read_exact(&mut [0; 9]).await.unwrap();
        let (short, long) = (ask(10), ask(100_000));
        while calling.shared.link.with(|state| state.side.waiting.len()) < 3 {
            tokio::task::yield_now().await;
        }

        drop(there);

        assert!(matches!(leaves.await.unwrap(), Err(CallError::Lost(_))));
        assert!(matches!(short.await.unwrap(), Err(CallError::NotSent(_))));
        assert!(matches!(long.await.unwrap(), Err(CallError::NotSent(_))));
        assert!(calling.is_closed());
    }

    #[tokio::test]
    async fn a_connection_that_nobody_holds_ends() {
        let (here, mut there) = tokio::io::duplex(64);
        drop(Calling::start(Box::new(here)));
        let mut said = Vec::new();
        there.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, super::super::wire::PREAMBLE);
    }
}
