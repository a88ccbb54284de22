//! One connection, whichever side opened it: what waits to be written, and the task that reads and writes.
//!
//! Everything that is ready leaves with one write: whoever has something to
//! say puts it into [`Out`] and wakes the task, which lets others that are ready
//! do so too before it writes. Owns the order of what leaves, keep-alive, and
//! the pause of a reader whose peer takes no answers. What frames mean is the
//! business of [`Side`], in `calls.rs` and `serving.rs`.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::frame::FrameError;
use super::wire::{self, BODY_BYTES_MAX, Frame, HEADER_BYTES, Kind, PREAMBLE, SIZE_BYTES};
use crate::env::Stream;

/// How often a silent connection is asked whether it still lives.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long it may take to say so.
pub(super) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a peer may take nothing of what waits for it.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// The bytes that wait for a peer before no more of its requests are read.
const PAUSE_BYTES: usize = 1 << 20;

/// Payloads up to this size are copied beside the frames before them; longer ones leave from where they are.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// Frames of long messages that leave before the short ones get their turn.
const TURNS: usize = 4;

/// What a buffer keeps when it is empty, in bytes.
const KEPT_BYTES: usize = 64 << 10;

/// The room for what is read, at first.
const READ_BYTES: usize = 8 << 10;

/// The room for what is read, at most: a frame and what follows it.
const READ_BYTES_MAX: usize = 128 << 10;

/// What waits to be written.
pub(super) struct Out {
    small: Vec<u8>,
    large: VecDeque<Large>,
    large_bytes: usize,
    /// Bytes that were taken and are being written.
    leaving_bytes: usize,
    /// How often something was taken.
    taken: u64,
    is_pong_due: bool,
    /// Nothing follows what is here.
    is_last: bool,
    writer: Option<Waker>,
    /// Another task woke the writer, and more of them may have something to say.
    is_woken: bool,
    reader: Option<Waker>,
    is_paused: bool,
    heard_at: Instant,
}

/// A message that leaves from where it is, in more than one frame if it has to.
struct Large {
    kind: Kind,
    id: u64,
    is_begun: bool,
    head: Bytes,
    payload: Bytes,
}

/// What became of a message that is not wanted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Withdrawn {
    /// Nothing of it has left.
    Unsent,
    /// Some of it has left, and the rest will not.
    Begun,
    /// It is none that can be withdrawn, or has left.
    Gone,
}

/// What is written at once.
#[derive(Default)]
struct Batch {
    small: Vec<u8>,
    frames: Vec<([u8; HEADER_BYTES + SIZE_BYTES], usize, Bytes, Bytes)>,
}

impl Out {
    fn new() -> Self {
        Out {
            small: PREAMBLE.to_vec(),
            large: VecDeque::new(),
            large_bytes: 0,
            leaving_bytes: 0,
            taken: 0,
            is_pong_due: false,
            is_last: false,
            writer: None,
            is_woken: false,
            reader: None,
            is_paused: false,
            heard_at: Instant::now(),
        }
    }

    /// A message: as one frame if it fits, and in turns with others otherwise.
    pub fn message<T: Serialize>(&mut self, kind: Kind, id: u64, head: &T, payload: Bytes) {
        let begin = self.small.len();
        self.small.extend_from_slice(&[0; HEADER_BYTES]);
        let encoded = postcard::to_extend(head, std::mem::take(&mut self.small));
        self.small = encoded.expect("heads have no type it refuses");
        let size = self.small.len() - begin - HEADER_BYTES;
        if payload.len() <= COPIED_BYTES_MAX && size + payload.len() <= BODY_BYTES_MAX {
            self.small.extend_from_slice(&payload);
            self.small[begin..begin + HEADER_BYTES].copy_from_slice(&wire::header(kind, id, size + payload.len()));
            return;
        }
        let head = Bytes::copy_from_slice(&self.small[begin + HEADER_BYTES..]);
        self.small.truncate(begin);
        self.large_bytes += head.len() + payload.len();
        self.large.push_back(Large { kind, id, is_begun: false, head, payload });
    }

    /// A frame that is no message.
    pub fn frame(&mut self, kind: Kind, id: u64, body: &[u8]) {
        self.small.extend_from_slice(&wire::header(kind, id, body.len()));
        self.small.extend_from_slice(body);
    }

    /// The answer to a ping; to several of them, one is enough.
    pub fn pong(&mut self) {
        self.is_pong_due = true;
    }

    /// The connection ends when what waits has left.
    pub fn end(&mut self) {
        self.is_last = true;
    }

    /// How often something was taken to be written: what was put in since the last time has not left.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The bytes that wait or are being written.
    pub fn bytes(&self) -> usize {
        self.small.len() + self.large_bytes + self.leaving_bytes
    }

    /// Takes back what has not left of a long message.
    pub fn withdraw(&mut self, id: u64) -> Withdrawn {
        let Some(place) = self.large.iter().position(|large| large.id == id) else { return Withdrawn::Gone };
        let large = self.large.remove(place).expect("it was found there");
        self.large_bytes -= large.head.len() + large.payload.len();
        if large.is_begun { Withdrawn::Begun } else { Withdrawn::Unsent }
    }

    fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty() && !self.is_pong_due
    }

    /// What leaves next, into a batch that was written.
    fn take(&mut self, batch: &mut Batch) {
        if std::mem::take(&mut self.is_pong_due) {
            self.frame(Kind::Pong, 0, &[]);
        }
        batch.small.clear();
        batch.small.shrink_to(KEPT_BYTES);
        std::mem::swap(&mut self.small, &mut batch.small);
        batch.frames.clear();
        for _ in 0..TURNS {
            let Some(large) = self.large.pop_front() else { break };
            self.turn(large, batch);
        }
        let frames: usize = batch.frames.iter().map(|(_, size, head, piece)| size + head.len() + piece.len()).sum();
        self.leaving_bytes = batch.small.len() + frames;
        self.taken += 1;
    }

    /// The next frame of a long message.
    fn turn(&mut self, mut large: Large, batch: &mut Batch) {
        let size = large.head.len() + large.payload.len();
        let (kind, extra) = match large.is_begun {
            false if size <= BODY_BYTES_MAX => (large.kind, 0),
            false => (Kind::Begin, SIZE_BYTES),
            true => (Kind::More, 0),
        };
        let room = BODY_BYTES_MAX - extra;
        let head = large.head.split_to(large.head.len().min(room));
        let piece = large.payload.split_to(large.payload.len().min(room - head.len()));
        let mut header = [0; HEADER_BYTES + SIZE_BYTES];
        header[..HEADER_BYTES].copy_from_slice(&wire::header(kind, large.id, extra + head.len() + piece.len()));
        header[HEADER_BYTES..].copy_from_slice(&u32::try_from(size).expect("messages are bounded").to_be_bytes());
        self.large_bytes -= head.len() + piece.len();
        batch.frames.push((header, HEADER_BYTES + extra, head, piece));
        large.is_begun = true;
        if !large.head.is_empty() || !large.payload.is_empty() {
            self.large.push_back(large);
        }
    }
}

/// A connection's state: what leaves, and what its side knows of the requests on it.
pub(super) struct Link<T> {
    state: Mutex<State<T>>,
}

/// What is behind the lock of a [`Link`].
pub(super) struct State<T> {
    pub out: Out,
    pub side: T,
}

/// What one side does with frames.
pub(super) trait Side: Send {
    /// What it shares with the tasks that use the connection.
    type Shared: Send;

    /// The longest body that it takes now, in bytes.
    fn body_max(&self) -> usize;

    /// Whether it reads no more while much waits for the peer. One side at most may.
    fn pauses(&self) -> bool;

    /// Takes in a frame.
    fn receive(&mut self, frame: Frame<'_>) -> impl Future<Output = Result<(), FrameError>> + Send;
}

impl<T: Send> Link<T> {
    pub fn new(side: T) -> Self {
        Link { state: Mutex::new(State { out: Out::new(), side }) }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes the writer if there is something for it.
    pub fn with<R>(&self, change: impl FnOnce(&mut State<T>) -> R) -> R {
        let (result, writer) = {
            let mut state = self.lock();
            let result = change(&mut state);
            let out = &mut state.out;
            let writer = if out.is_empty() && !out.is_last { None } else { out.writer.take() };
            out.is_woken |= writer.is_some();
            (result, writer)
        };
        if let Some(writer) = writer {
            writer.wake();
        }
        result
    }

    /// Something was read. The writer looks for itself when what came has been dealt with, and need not be woken.
    fn heard(&self) {
        let mut state = self.lock();
        state.out.heard_at = Instant::now();
        state.out.writer = None;
    }

    /// Resolves when there is something to write: whether another task said so, or `None` at the end.
    async fn something(&self) -> Option<bool> {
        poll_fn(|context| {
            let mut state = self.lock();
            let out = &mut state.out;
            if !out.is_empty() {
                return Poll::Ready(Some(std::mem::take(&mut out.is_woken)));
            }
            if out.is_last {
                return Poll::Ready(None);
            }
            out.writer = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Writes what there is until nothing follows.
    async fn write(&self, mut stream: impl AsyncWrite + Unpin) -> Result<(), FrameError> {
        let broken = |error: std::io::Error| FrameError::Broken(error.to_string());
        let mut batch = Batch::default();
        while let Some(is_woken) = self.something().await {
            if is_woken {
                // Those that are ready to run say what they have to say first, and all of it leaves at once.
                tokio::task::yield_now().await;
            }
            self.lock().out.take(&mut batch);
            stream.write_all(&batch.small).await.map_err(broken)?;
            for (header, size, head, piece) in batch.frames.drain(..) {
                let mut frame = Buf::chain(&header[..size], head).chain(piece);
                stream.write_all_buf(&mut frame).await.map_err(broken)?;
            }
            let reader = self.has_left();
            if let Some(reader) = reader {
                reader.wake();
            }
        }
        // The peer may be gone already.
        let _ = stream.shutdown().await;
        Ok(())
    }

    /// What was taken has left. Returns the reader if it waited for that.
    fn has_left(&self) -> Option<Waker> {
        let mut state = self.lock();
        let out = &mut state.out;
        out.leaving_bytes = 0;
        if out.bytes() <= PAUSE_BYTES { out.reader.take() } else { None }
    }

    /// Waits while too much waits for the peer.
    async fn room(&self) -> Result<(), FrameError> {
        if self.lock().out.bytes() <= PAUSE_BYTES {
            return Ok(());
        }
        self.lock().out.is_paused = true;
        let mut taken = self.lock().out.taken;
        let mut room = pin!(poll_fn(|context| {
            let mut state = self.lock();
            if state.out.bytes() <= PAUSE_BYTES {
                return Poll::Ready(());
            }
            state.out.reader = Some(context.waker().clone());
            Poll::Pending
        }));
        while timeout(TAKE_TIMEOUT, &mut room).await.is_err() {
            let now = self.lock().out.taken;
            if std::mem::replace(&mut taken, now) == now {
                return Err(FrameError::Broken("it takes no answers".to_owned()));
            }
        }
        let mut state = self.lock();
        state.out.is_paused = false;
        state.out.heard_at = Instant::now();
        Ok(())
    }

    /// Hands what comes to `side` until nothing comes any more.
    async fn read<S>(&self, mut stream: impl AsyncRead + Unpin, side: &mut S) -> Result<(), FrameError>
    where
        S: Side<Shared = T>,
    {
        let mut buffer = BytesMut::new();
        let mut is_greeted = false;
        loop {
            if buffer.is_empty() && buffer.capacity() > KEPT_BYTES {
                buffer = BytesMut::new();
            }
            let is_full = buffer.len() == buffer.capacity();
            let room = if is_full { (2 * buffer.len()).clamp(READ_BYTES, READ_BYTES_MAX) } else { 1 };
            buffer.reserve(room);
            match stream.read_buf(&mut buffer).await {
                Ok(0) => return Ok(()),
                Ok(_) => self.heard(),
                Err(error) => return Err(FrameError::Broken(error.to_string())),
            }
            if !is_greeted {
                let Some(()) = wire::check_preamble(&buffer)? else { continue };
                buffer.advance(PREAMBLE.len());
                is_greeted = true;
            }
            let mut read = 0;
            while let Some((frame, size)) = wire::parse(&buffer[read..], side.body_max())? {
                read += size;
                match frame.kind {
                    Kind::Ping => self.with(|state| state.out.pong()),
                    Kind::Pong => {}
                    _ => side.receive(frame).await?,
                }
            }
            buffer.advance(read);
            if side.pauses() {
                self.room().await?;
            }
        }
    }

    /// Asks a peer that is silent whether it still lives; resolves when it does not.
    async fn watch(&self) -> FrameError {
        loop {
            let heard_at = self.lock().out.heard_at;
            sleep_until(heard_at + KEEP_ALIVE).await;
            let is_silent = || {
                let state = self.lock();
                state.out.heard_at == heard_at && !state.out.is_paused
            };
            if is_silent() {
                self.with(|state| state.out.frame(Kind::Ping, 0, &[]));
            }
            // Whoever has been heard since is asked again when it has been silent for as long.
            if self.lock().out.heard_at == heard_at {
                sleep(KEEP_ALIVE_TIMEOUT).await;
            }
            if is_silent() {
                return FrameError::Silent;
            }
        }
    }

    /// Reads and writes until the connection ends.
    ///
    /// # Errors
    /// Why it ended, unless one of both sides wanted it to.
    pub async fn run<S>(&self, stream: Box<dyn Stream>, side: &mut S) -> Result<(), FrameError>
    where
        S: Side<Shared = T>,
    {
        let (reading, writing) = tokio::io::split(stream);
        let mut read = pin!(self.read(reading, side));
        let mut write = pin!(self.write(writing));
        let mut watch = pin!(self.watch());
        poll_fn(|context| {
            let read = read.as_mut().poll(context);
            // After the reader, always: what it dealt with waits now, and what it refuses is told why.
            let written = write.as_mut().poll(context);
            match (read, written) {
                (Poll::Ready(ended), _) | (_, Poll::Ready(ended)) => Poll::Ready(ended),
                (Poll::Pending, Poll::Pending) => watch.as_mut().poll(context).map(Err),
            }
        })
        .await
    }
}
