//! The side of a connection that is asked: which requests are being worked on, and how their answers leave.
//!
//! A request that can be answered at once is, without a task of its own; what
//! waits gets one, which ends when whoever asked gives up or is gone (but for
//! Raft's messages: what was begun is finished). Owns the bounds of one
//! connection. What the requests mean is the business of `server.rs`.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::frame::{self, FrameError, HEAD_BYTES_MAX, Head, PAYLOAD_BYTES_MAX, ReplyHead};
use super::link::{Link, Out, Side, State};
use super::server::{ANONYMOUS, Caller, Desk, Reply, Work};
use super::wire::{BODY_BYTES_MAX, Frame, Kind, Partial};
use crate::http::Response;
use crate::http::response::Content;

/// Requests at the same time on one connection; most of them are blocking queries.
pub(super) const REQUESTS_MAX: usize = 16_384;

/// Pieces of a payload that are on their way to whoever takes them.
pub(super) const PIECES_MAX: usize = 16;

/// The longest piece, in bytes.
const PIECE_BYTES_MAX: usize = 16 << 10;

/// How long a request may take to arrive, and how long a connection may take to say who it is.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How often it is looked which requests take too long to arrive, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The largest request of somebody who has not said who it is, in bytes: names, and nothing else.
const HELLO_BYTES_MAX: usize = 4 << 10;

/// What tasks share with the connection.
#[derive(Default)]
pub(super) struct Works {
    running: BTreeMap<u64, Running>,
    /// What comes from now on is not heard.
    is_closing: bool,
}

/// A request that is being worked on.
struct Running {
    /// Ends the work, if it may end before it is done.
    abort: Option<AbortHandle>,
    /// How many pieces of its answer may be sent.
    credit: Option<Arc<Semaphore>>,
}

impl State<Works> {
    /// Nothing new is heard. Whoever asks ends the connection, once it has read that and waits for nothing: if it ended
    /// here, what is on its way would be lost without a word.
    pub fn close(&mut self) {
        if !std::mem::replace(&mut self.side.is_closing, true) {
            self.out.frame(Kind::Closing, 0, &[]);
        }
    }

    /// A request that is done with, unless it was given up before.
    fn done(&mut self, id: u64) -> Option<&mut Out> {
        self.side.running.remove(&id)?;
        Some(&mut self.out)
    }
}

/// A whole answer.
fn put(out: &mut Out, id: u64, reply: Result<(ReplyHead<'_>, Bytes), String>) {
    match reply {
        Ok((head, payload)) => out.message(Kind::Whole, id, &head, payload),
        Err(why) => out.message(Kind::Whole, id, &ReplyHead::Refused(why.into()), Bytes::new()),
    }
}

/// The headers as they travel.
fn headers(response: &Response) -> Vec<(&str, &[u8])> {
    let mut headers = Vec::with_capacity(response.headers.len());
    headers.extend(response.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
    headers
}

/// One connection's requests.
pub(super) struct Serving {
    desk: Arc<Desk>,
    caller: Arc<Caller>,
    link: Arc<Link<Works>>,
    /// Requests of which not everything is there, since when, and the room they take.
    partial: BTreeMap<u64, (Partial, Instant, OwnedSemaphorePermit)>,
    /// When it was looked which of them take too long.
    looked_at: Instant,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let running = self.link.with(|state| std::mem::take(&mut state.side.running));
        running.into_values().filter_map(|running| running.abort).for_each(|abort| abort.abort());
    }
}

impl Side for Serving {
    type Shared = Works;

    fn body_max(&self) -> usize {
        if self.caller.is_known() { BODY_BYTES_MAX } else { HELLO_BYTES_MAX }
    }

    fn pauses(&self) -> bool {
        true
    }

    async fn receive(&mut self, frame: Frame<'_>) -> Result<(), FrameError> {
        let Frame { kind, id, body } = frame;
        if !self.partial.is_empty() {
            self.drop_slow();
        }
        match kind {
            Kind::Whole => {
                let permit = self.room(body.len()).await?;
                self.request(id, body, None, permit).await?;
            }
            Kind::Begin | Kind::More if !self.caller.is_known() => self.refuse(id, ANONYMOUS.to_owned()),
            Kind::Begin => {
                if self.partial.contains_key(&id) {
                    return Err(again(id));
                }
                let permit = self.room(Partial::size(body, HEAD_BYTES_MAX + PAYLOAD_BYTES_MAX)?).await?;
                let partial = Partial::begin(body, HEAD_BYTES_MAX + PAYLOAD_BYTES_MAX)?;
                self.partial.insert(id, (partial, Instant::now(), permit));
            }
            Kind::More => {
                // What was given up or came too slowly may still be coming.
                let Some((partial, ..)) = self.partial.get_mut(&id) else { return Ok(()) };
                partial.add(body)?;
                if partial.is_whole() {
                    let (partial, _, permit) = self.partial.remove(&id).expect("it was there");
                    let message = Bytes::from(partial.into_bytes());
                    self.request(id, &message, Some(&message), permit).await?;
                }
            }
            Kind::Cancel => self.cancel(id),
            Kind::Credit => self.credit(id)?,
            Kind::Stream | Kind::Piece | Kind::End | Kind::Closing | Kind::Unheard | Kind::Ping | Kind::Pong => {
                return Err(FrameError::Damaged(format!("{kind:?} is nothing that asks")));
            }
        }
        Ok(())
    }
}

impl Serving {
    pub fn new(desk: Arc<Desk>, caller: Arc<Caller>, link: Arc<Link<Works>>) -> Self {
        Serving { desk, caller, link, partial: BTreeMap::new(), looked_at: Instant::now() }
    }

    /// Waits for room for a request of so many bytes.
    async fn room(&self, size: usize) -> Result<OwnedSemaphorePermit, FrameError> {
        let kib = u32::try_from(size.div_ceil(1024)).expect("requests are bounded");
        if let Ok(permit) = self.desk.budget.clone().try_acquire_many_owned(kib) {
            return Ok(permit);
        }
        match timeout(READ_TIMEOUT, self.desk.budget.clone().acquire_many_owned(kib)).await {
            Ok(permit) => Ok(permit.expect("it is never closed")),
            Err(_) => Err(FrameError::Broken("there was no room for a request".to_owned())),
        }
    }

    /// Gives up requests that take too long to arrive.
    fn drop_slow(&mut self) {
        let now = Instant::now();
        if now < self.looked_at + LOOK_EVERY {
            return;
        }
        self.looked_at = now;
        let is_slow = |_: &u64, (_, since, _): &mut (Partial, Instant, _)| now > *since + READ_TIMEOUT;
        let slow: Vec<u64> = self.partial.extract_if(.., is_slow).map(|(id, _)| id).collect();
        slow.into_iter().for_each(|id| self.refuse(id, "it came too slowly".to_owned()));
    }

    fn refuse(&self, id: u64, why: String) {
        self.desk.refuse(self.caller.peer, &why);
        self.link.with(|state| put(&mut state.out, id, Err(why)));
        if !self.caller.is_known() {
            self.link.with(|state| state.out.end());
        }
    }

    /// Answers a request at once, or has a task answer it. A long one is kept where it is, in `whole`.
    async fn request(
        &self,
        id: u64,
        message: &[u8],
        whole: Option<&Bytes>,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), FrameError> {
        let is_full = self.link.with(|State { out, side }| match side {
            Works { is_closing: true, .. } => {
                out.frame(Kind::Unheard, id, &[]);
                Ok(None)
            }
            Works { running, .. } if running.contains_key(&id) => Err(again(id)),
            Works { running, .. } => Ok(Some(running.len() >= REQUESTS_MAX)),
        })?;
        match is_full {
            Some(false) => self.begin(id, message, whole, permit).await,
            Some(true) => self.refuse(id, "there are too many requests at once".to_owned()),
            None => {}
        }
        Ok(())
    }

    async fn begin(&self, id: u64, message: &[u8], whole: Option<&Bytes>, permit: OwnedSemaphorePermit) {
        let (head, payload) = match frame::open::<Head<'_>>(message) {
            Ok(opened) => opened,
            Err(error) if self.caller.is_known() => return self.refuse(id, error.to_string()),
            Err(_) => return self.refuse(id, ANONYMOUS.to_owned()),
        };
        let payload = whole.map_or_else(|| Bytes::copy_from_slice(payload), |whole| whole.slice_ref(payload));
        let mut work = self.desk.work(&self.caller, head, payload);
        match poll_fn(|context| Poll::Ready(Pin::new(&mut work).poll(context))).await {
            Poll::Ready(reply) => self.reply(id, reply),
            Poll::Pending => {
                // A blocking query has no body worth counting, and stays for minutes.
                let permit = if work.may_end() { None } else { Some(permit) };
                self.go_on(id, work, permit);
            }
        }
    }

    /// Sends an answer that was there at once.
    fn reply(&self, id: u64, reply: Reply) {
        match reply {
            Reply::Refused(why) => self.refuse(id, why),
            Reply::Whole(head, payload) => self.link.with(|state| put(&mut state.out, id, Ok((head, payload)))),
            Reply::Http(Response { body: Content::Stream(_), .. }) => {
                self.go_on(id, Work::Ready(Some(reply)), None);
            }
            Reply::Http(response) => self.link.with(|state| put_http(&mut state.out, id, &response)),
        }
    }

    /// Has a task finish what is under way.
    fn go_on(&self, id: u64, work: Work, permit: Option<OwnedSemaphorePermit>) {
        let may_end = work.may_end();
        let credit = may_end.then(|| Arc::new(Semaphore::new(PIECES_MAX)));
        let (desk, caller, link) = (self.desk.clone(), self.caller.clone(), self.link.clone());
        let pieces_credit = credit.clone();
        self.link.with(|state| {
            // Within the lock: it may be done before it is known here otherwise.
            let task = tokio::spawn(async move {
                finish(id, work, &desk, &caller, &link, pieces_credit).await;
                drop(permit);
            });
            let abort = may_end.then(|| task.abort_handle());
            state.side.running.insert(id, Running { abort, credit });
        });
    }

    /// Nobody waits for this one any more.
    fn cancel(&mut self, id: u64) {
        self.partial.remove(&id);
        let abort = self.link.with(|state| {
            let may_end = state.side.running.get(&id).is_some_and(|running| running.abort.is_some());
            let running = if may_end { state.side.running.remove(&id) } else { None };
            // Of a long answer the rest needs not leave.
            state.out.withdraw(id);
            running?.abort
        });
        if let Some(abort) = abort {
            abort.abort();
        }
    }

    /// There is room for another piece.
    fn credit(&self, id: u64) -> Result<(), FrameError> {
        self.link.with(|state| {
            let credit = state.side.running.get(&id).and_then(|running| running.credit.as_ref());
            match credit {
                Some(credit) if credit.available_permits() >= PIECES_MAX => {
                    Err(FrameError::Damaged("more room is announced than there can be".to_owned()))
                }
                Some(credit) => {
                    credit.add_permits(1);
                    Ok(())
                }
                // It ended meanwhile.
                None => Ok(()),
            }
        })
    }
}

fn again(id: u64) -> FrameError {
    FrameError::Damaged(format!("there is a request {id} already"))
}

fn put_http(out: &mut Out, id: u64, response: &Response) {
    let Content::Whole(body) = &response.body else { return };
    let head = ReplyHead::Http { status: response.status.as_u16(), headers: headers(response) };
    put(out, id, Ok((head, body.clone())));
}

/// Waits for an answer and sends it.
async fn finish(id: u64, work: Work, desk: &Desk, caller: &Caller, link: &Link<Works>, credit: Option<Arc<Semaphore>>) {
    let done = |reply: Result<(ReplyHead<'_>, Bytes), String>| {
        link.with(|state| {
            if let Some(out) = state.done(id) {
                put(out, id, reply);
            }
        });
    };
    match work.await {
        Reply::Refused(why) => {
            desk.refuse(caller.peer, &why);
            done(Err(why));
        }
        Reply::Whole(head, payload) => done(Ok((head, payload))),
        Reply::Http(mut response) => match (&mut response.body, credit) {
            (Content::Stream(pieces), Some(credit)) => {
                let (_, closed) = mpsc::channel(1);
                let pieces = std::mem::replace(pieces, closed);
                stream(id, link, &response, pieces, &credit).await;
            }
            _ => link.with(|state| {
                if let Some(out) = state.done(id) {
                    put_http(out, id, &response);
                }
            }),
        },
    }
}

/// Sends an answer as its payload comes, as fast as it is taken.
async fn stream(
    id: u64,
    link: &Link<Works>,
    response: &Response,
    mut pieces: mpsc::Receiver<Bytes>,
    credit: &Semaphore,
) {
    let headers = headers(response);
    let is_long = headers.iter().map(|(name, value)| name.len() + value.len() + 8).sum::<usize>() > PIECE_BYTES_MAX;
    let head =
        ReplyHead::Http { status: response.status.as_u16(), headers: if is_long { Vec::new() } else { headers } };
    link.with(|state| {
        if state.side.running.contains_key(&id) {
            state.out.message(Kind::Stream, id, &head, Bytes::new());
        }
    });
    drop(head);
    while let Some(mut piece) = pieces.recv().await {
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(PIECE_BYTES_MAX));
            credit.acquire().await.expect("it is never closed").forget();
            link.with(|state| {
                if state.side.running.contains_key(&id) {
                    state.out.frame(Kind::Piece, id, &part);
                }
            });
        }
    }
    link.with(|state| {
        if let Some(out) = state.done(id) {
            out.frame(Kind::End, id, &[]);
        }
    });
}
