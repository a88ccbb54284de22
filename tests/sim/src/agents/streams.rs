//! Streams and datagram sockets as an agent sees them, and what a connection is between its ends.
//!
//! Owns order, windows and ends of streams. When bytes arrive is decided by [`super::net`].

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use agent_daemon::env::{Accepted, BoxFuture, Datagrams, ListenAddress, Listener, Network, Stream};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Mutex, mpsc};

use super::net::{Arriving, Effects, Letter, Net, end};

/// Bytes that are on their way or unread before the writer waits.
const WINDOW_BYTES: usize = 64 << 10;

/// The longest piece that is carried at once.
const PIECE_BYTES: usize = 16 << 10;

/// Connections that wait to be accepted.
const BACKLOG: usize = 64;

/// Datagrams a socket holds that nobody has read yet.
const SOCKET_LETTERS: usize = 1024;

/// One end of a connection.
pub(super) struct End {
    pub host: IpAddr,
    /// The life of the host it was opened in.
    pub life: u64,
    /// Nobody holds it any more.
    pub is_gone: bool,
}

/// What is between two ends. Index 0 is who opened it; a way has the index of the end it leads to.
pub(super) struct Connection {
    pub ends: [End; 2],
    ways: [Way; 2],
    is_broken: bool,
    /// How long a way may be stuck, in microseconds.
    breaks_after: u64,
}

/// Everything on the way to one end. An empty piece closes it.
#[derive(Default)]
struct Way {
    coming: VecDeque<(u64, Bytes)>,
    arrived: BytesMut,
    /// Bytes that are coming or have arrived and were not read.
    unread: usize,
    last_due: u64,
    is_closed: bool,
    has_ended: bool,
    stuck_since: Option<u64>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Connection {
    pub fn new(hosts: [(IpAddr, u64); 2], breaks_after: u64) -> Self {
        let ends = hosts.map(|(host, life)| End { host, life, is_gone: false });
        Connection { ends, ways: Default::default(), is_broken: false, breaks_after }
    }

    /// Whether a way has been stuck for too long.
    pub fn is_stuck(&mut self, to: usize, now: u64) -> bool {
        now - *self.ways[to].stuck_since.get_or_insert(now) > self.breaks_after
    }

    /// Whether what comes next only closes the way.
    pub fn is_closing(&self, to: usize) -> bool {
        self.ways[to].coming.front().is_none_or(|(_, piece)| piece.is_empty())
    }

    /// Lets everything arrive that is due. Returns who waits for it, and when the next piece is due.
    pub fn arrive(&mut self, to: usize, now: u64) -> (Option<Waker>, Option<u64>) {
        let way = &mut self.ways[to];
        way.stuck_since = None;
        while let Some((_, piece)) = way.coming.pop_front_if(|(due, _)| *due <= now) {
            way.has_ended |= piece.is_empty();
            way.arrived.extend_from_slice(&piece);
        }
        (way.reader.take(), way.coming.front().map(|(due, _)| *due))
    }

    /// Nothing gets through any more. Returns who waits.
    pub fn break_off(&mut self) -> Vec<Waker> {
        self.is_broken = true;
        self.ways.iter_mut().for_each(|way| way.coming.clear());
        self.ways.iter_mut().flat_map(|way| [way.reader.take(), way.writer.take()]).flatten().collect()
    }
}

/// An end of a stream.
pub struct SimStream {
    net: Net,
    connection: u64,
    side: usize,
}

impl SimStream {
    pub(super) fn new(net: Net, connection: u64, side: usize) -> Self {
        SimStream { net, connection, side }
    }

    /// Sends a piece; an empty one closes the way.
    fn send(&self, piece: Bytes) {
        let due = self.net.piece_due();
        let mut inner = self.net.inner();
        let to = 1 - self.side;
        let Some(open) = inner.connections.get_mut(&self.connection) else { return };
        let way = &mut open.ways[to];
        way.last_due = due.max(way.last_due);
        let due = way.last_due;
        way.is_closed |= piece.is_empty();
        way.unread += piece.len();
        way.coming.push_back((due, piece));
        if way.coming.len() == 1 {
            Net::expect_piece(&mut inner, self.connection, to, due);
        }
    }
}

impl AsyncRead for SimStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.net.inner();
        let Some(open) = inner.connections.get_mut(&self.connection) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let is_broken = open.is_broken;
        let way = &mut open.ways[self.side];
        if !way.arrived.is_empty() {
            let size = buffer.remaining().min(way.arrived.len());
            buffer.put_slice(&way.arrived[..size]);
            way.arrived.advance(size);
            way.unread -= size;
            let writer = way.writer.take();
            drop(inner);
            writer.into_iter().for_each(Waker::wake);
            return Poll::Ready(Ok(()));
        }
        if way.has_ended {
            return Poll::Ready(Ok(()));
        }
        if is_broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        way.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let size = {
            let mut inner = self.net.inner();
            let open = inner.connections.get_mut(&self.connection).filter(|open| !open.is_broken);
            let Some(open) = open else { return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())) };
            let way = &mut open.ways[1 - self.side];
            if way.is_closed {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            if way.unread >= WINDOW_BYTES {
                way.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            bytes.len().min(WINDOW_BYTES - way.unread).min(PIECE_BYTES)
        };
        if size > 0 {
            self.send(Bytes::copy_from_slice(&bytes[..size]));
        }
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_open = {
            let inner = self.net.inner();
            let open = inner.connections.get(&self.connection).filter(|open| !open.is_broken);
            open.is_some_and(|open| !open.ways[1 - self.side].is_closed)
        };
        if is_open {
            self.send(Bytes::new());
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let (is_open, effects) = {
            let mut inner = self.net.inner();
            let Some(open) = inner.connections.get_mut(&self.connection) else { return };
            // What is left of a crashed host says nothing.
            let was_gone = std::mem::replace(&mut open.ends[self.side].is_gone, true);
            let is_open = !was_gone && !open.is_broken && !open.ways[1 - self.side].is_closed;
            let is_over = open.is_broken || open.ways.iter().all(|way| way.has_ended);
            let effects = if is_over { end(&mut inner, self.connection) } else { Effects::default() };
            (is_open && !is_over, effects)
        };
        effects.perform();
        if is_open {
            self.send(Bytes::new());
        }
    }
}

/// The network as one host sees it.
pub struct HostNetwork {
    /// The network.
    pub net: Net,
    /// The host's address.
    pub host: IpAddr,
}

impl Network for HostNetwork {
    fn listen<'a>(&'a self, address: &'a ListenAddress) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let ListenAddress::Tcp(address) = *address else { return Err(io::ErrorKind::Unsupported.into()) };
            let mut inner = self.net.inner();
            if inner.listeners.get(&address).is_some_and(|listener| !listener.is_closed()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let (sender, streams) = mpsc::channel(BACKLOG);
            inner.listeners.insert(address, sender);
            Ok(Box::new(SimListener { address, streams: Mutex::new(streams) }) as Box<dyn Listener>)
        })
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        let answered = self.net.dial(self.host, to);
        Box::pin(async move {
            let stream = answered.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn datagrams(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async move {
            let mut inner = self.net.inner();
            if inner.sockets.get(&address).is_some_and(|socket| !socket.is_closed()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let (sender, letters) = mpsc::channel(SOCKET_LETTERS);
            inner.sockets.insert(address, sender);
            drop(inner);
            let socket = SimSocket { net: self.net.clone(), address, letters: Mutex::new(letters) };
            Ok(Box::new(socket) as Box<dyn Datagrams>)
        })
    }
}

struct SimListener {
    address: SocketAddr,
    streams: Mutex<mpsc::Receiver<Arriving>>,
}

impl Listener for SimListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Accepted>> {
        Box::pin(async move {
            let (stream, peer) = self.streams.lock().await.recv().await.ok_or(io::ErrorKind::BrokenPipe)?;
            Ok((Box::new(stream) as Box<dyn Stream>, Some(peer)))
        })
    }

    fn local_address(&self) -> ListenAddress {
        ListenAddress::Tcp(self.address)
    }
}

struct SimSocket {
    net: Net,
    address: SocketAddr,
    letters: Mutex<mpsc::Receiver<Letter>>,
}

impl Datagrams for SimSocket {
    fn receive<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(async move {
            let (bytes, from) = self.letters.lock().await.recv().await.ok_or(io::ErrorKind::BrokenPipe)?;
            let size = bytes.len().min(buffer.len());
            buffer[..size].copy_from_slice(&bytes[..size]);
            Ok((size, from))
        })
    }

    fn send<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        self.net.post(self.address, to, bytes);
        Box::pin(async { Ok(()) })
    }

    fn local_address(&self) -> SocketAddr {
        self.address
    }
}
