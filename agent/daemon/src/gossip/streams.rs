//! Streams of a pool: one frame there, one frame back.
//!
//! Owns their bounds: how many at a time, how many of one address, how long,
//! and how many may be large. What a peer only announces costs no memory.
//! What the frames say is the machine's business.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use agent_core::gossip::{ANSWER_BYTES_MAX, FRAME_HEADER_BYTES, frame_length};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::cli::client::go_io_error;
use crate::env::{Env, Listener, Stream};

/// Streams others may have open to us.
const INCOMING_MAX: usize = 64;

/// Streams of them that may come from one address.
const INCOMING_OF_ONE_MAX: usize = 16;

/// How long a stream that others opened may take.
const INCOMING_TIMEOUT: Duration = Duration::from_secs(10);

/// Frames longer than this, in bytes, are read a few at a time.
const LARGE_BYTES: usize = 64 * 1024;

/// Large frames that are read at a time.
const LARGE_MAX: usize = 4;

/// How long to wait when the system can't accept a stream, which lasts when it has run out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What came of a stream that somebody opened.
pub(super) enum Arrival {
    /// A frame.
    Frame {
        /// Who opened it.
        from: SocketAddr,
        /// The body of the frame.
        bytes: Vec<u8>,
        /// Takes the answer; dropped, it closes the stream.
        answer: oneshot::Sender<Vec<u8>>,
    },
    /// No whole frame.
    Broken {
        /// Who opened it.
        from: SocketAddr,
    },
}

/// What streams share.
pub(super) struct Limits {
    /// The longest frame that is read from a stream somebody opened, in bytes.
    pub request_bytes_max: AtomicUsize,
    /// Streams closed at once because too many were open.
    pub refused: AtomicU64,
    large: Semaphore,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            request_bytes_max: AtomicUsize::new(1 << 20),
            refused: AtomicU64::new(0),
            large: Semaphore::new(LARGE_MAX),
        }
    }
}

/// Where frames that arrive go through. More wait at their streams.
pub(super) fn channel() -> (mpsc::Sender<Arrival>, mpsc::Receiver<Arrival>) {
    mpsc::channel(INCOMING_MAX)
}

/// Accepts streams until the agent stops.
pub(super) async fn accept(
    listener: Box<dyn Listener>,
    arrivals: mpsc::Sender<Arrival>,
    limits: Arc<Limits>,
    mut stop: watch::Receiver<bool>,
) {
    enum Event {
        Stop,
        Ended(IpAddr),
        Accepted(io::Result<crate::env::Accepted>),
    }
    let mut open: BTreeMap<IpAddr, usize> = BTreeMap::new();
    let mut streams: JoinSet<IpAddr> = JoinSet::new();
    loop {
        let event = tokio::select! {
            biased;
            // An error means that the agent is gone.
            _ = stop.wait_for(|stop| *stop) => Event::Stop,
            Some(Ok(address)) = streams.join_next() => Event::Ended(address),
            accepted = listener.accept() => Event::Accepted(accepted),
        };
        match event {
            Event::Stop => return,
            Event::Ended(address) => {
                if let Some(count) = open.get_mut(&address) {
                    *count -= 1;
                }
                open.retain(|_, count| *count > 0);
            }
            Event::Accepted(Ok((stream, Some(from)))) => {
                let address = from.ip();
                let of_one = open.get(&address).copied().unwrap_or(0);
                if streams.len() >= INCOMING_MAX || of_one >= INCOMING_OF_ONE_MAX {
                    limits.refused.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                *open.entry(address).or_default() += 1;
                let (arrivals, limits) = (arrivals.clone(), Arc::clone(&limits));
                streams.spawn(async move {
                    serve(stream, from, arrivals, &limits).await;
                    address
                });
            }
            // A stream without an address is none of a pool.
            Event::Accepted(Ok((_, None))) => {}
            Event::Accepted(Err(error)) => {
                tracing::debug!(%error, "could not accept a stream of gossip");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(mut stream: Box<dyn Stream>, from: SocketAddr, arrivals: mpsc::Sender<Arrival>, limits: &Limits) {
    let end = tokio::time::Instant::now() + INCOMING_TIMEOUT;
    let bytes_max = limits.request_bytes_max.load(Ordering::Relaxed);
    match tokio::time::timeout_at(end, next_frame(&mut stream, bytes_max, &limits.large)).await {
        Ok(Ok(Some(bytes))) => {
            // A stream that breaks from here on is the peer's to open again.
            let _ = tokio::time::timeout_at(end, answer(stream, from, bytes, arrivals)).await;
        }
        // Somebody looked whether we listen.
        Ok(Ok(None)) => {}
        // When nobody takes that, the agent is gone.
        Ok(Err(_)) | Err(_) => drop(arrivals.send(Arrival::Broken { from }).await),
    }
}

async fn answer(
    mut stream: Box<dyn Stream>,
    from: SocketAddr,
    bytes: Vec<u8>,
    arrivals: mpsc::Sender<Arrival>,
) -> io::Result<()> {
    let (answer, answered) = oneshot::channel();
    if arrivals.send(Arrival::Frame { from, bytes, answer }).await.is_err() {
        return Ok(());
    }
    // Without an answer the stream is closed.
    let Ok(bytes) = answered.await else { return Ok(()) };
    stream.write_all(&bytes).await?;
    stream.shutdown().await
}

/// Opens a stream, sends a frame and reads the answer.
///
/// # Errors
/// In Go's words, as Consul shows them.
pub(super) async fn exchange(
    env: Env,
    to: SocketAddr,
    frame: Vec<u8>,
    timeout: Duration,
    limits: Arc<Limits>,
) -> Result<Vec<u8>, String> {
    let dial_failed = |error: &io::Error| format!("dial tcp {to}: connect: {}", go_io_error(error));
    let exchanged = async {
        let mut stream = env.network.connect(to).await.map_err(|error| dial_failed(&error))?;
        let answered = async {
            stream.write_all(&frame).await?;
            let frame = next_frame(&mut stream, ANSWER_BYTES_MAX, &limits.large).await?;
            frame.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        };
        answered.await.map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
            _ => go_io_error(&error),
        })
    };
    match tokio::time::timeout(timeout, exchanged).await {
        Ok(result) => result,
        Err(_) => Err(format!("dial tcp {to}: i/o timeout")),
    }
}

/// The body of the next frame; `None` when the stream ends without one.
async fn next_frame(stream: &mut Box<dyn Stream>, bytes_max: usize, large: &Semaphore) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0; FRAME_HEADER_BYTES];
    let begun = stream.read(&mut header).await?;
    if begun == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut header[begun..]).await?;
    let length =
        frame_length(header, bytes_max).map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason))?;
    let _turn = if length > LARGE_BYTES { large.acquire().await.ok() } else { None };
    // The buffer grows with what arrives, not with what was announced.
    let mut body = Vec::with_capacity(length.min(LARGE_BYTES));
    stream.take(length as u64).read_to_end(&mut body).await?;
    if body.len() == length { Ok(Some(body)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
