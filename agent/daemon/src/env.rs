//! The outside world as traits: clock, randomness, network, disk.
//!
//! [`Env::real`] is the operating system. The simulator builds another `Env`,
//! so a whole agent runs on virtual time with a seeded network. Monotonic time
//! needs no trait: loops use tokio's clock, which the simulator pauses.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use agent_core::Instant;
use agent_core::state::tables::UnixMs;
use agent_raft::disk::Disk;
use agent_raft::disk::file::{FileDisk, Tuning};
use agent_raft::disk::memory::MemoryDisk;
use agent_raft::disk::open::OpenError;
use rand::Rng;
use tokio::io::{AsyncRead, AsyncWrite};

/// A boxed future, for traits that are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A byte stream, whatever carries it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// TCP; port zero lets the system choose.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// A stream and, for TCP, who it comes from.
pub type Accepted = (Box<dyn Stream>, Option<SocketAddr>);

/// Accepts streams.
pub trait Listener: Send + Sync {
    /// The next stream.
    fn accept(&self) -> BoxFuture<'_, io::Result<Accepted>>;

    /// Where it really listens, after port zero was resolved.
    fn local_address(&self) -> ListenAddress;
}

/// Sends and receives datagrams.
pub trait Datagrams: Send + Sync {
    /// The next datagram: how many bytes of it were put into `buffer`, and who sent it. What does not fit is cut off.
    fn receive<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>>;

    /// Sends a datagram. That it was taken says nothing about its arrival.
    fn send<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>>;

    /// Where it really receives, after port zero was resolved.
    fn local_address(&self) -> SocketAddr;
}

/// Opens listeners, streams and datagram sockets.
pub trait Network: Send + Sync {
    /// Listens on `address`.
    ///
    /// # Errors
    /// As the operating system says: the port is in use, the address is not ours, permission.
    fn listen<'a>(&'a self, address: &'a ListenAddress) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;

    /// Opens a stream to `to`, however long that takes: whoever asks sets the limit.
    ///
    /// # Errors
    /// As the operating system says: nobody listens there, there is no way to it.
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>>;

    /// Opens a socket for datagrams on `address`; port zero lets the system choose.
    ///
    /// # Errors
    /// As [`Network::listen`].
    fn datagrams(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>>;
}

/// Wall time.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn wall_ms(&self) -> UnixMs;
}

/// Randomness.
pub trait Random: Send + Sync {
    /// 64 random bits.
    fn u64(&self) -> u64;
}

/// Opens what the Raft log is kept on.
pub trait Disks: Send + Sync {
    /// The log under `data_dir`, or one that is forgotten with the process when there is none (`-dev`).
    ///
    /// # Errors
    /// [`OpenError`].
    fn open<'a>(&'a self, data_dir: Option<&'a Path>) -> BoxFuture<'a, Result<Arc<dyn Disk>, OpenError>>;
}

/// Everything outside the process that loops use. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Listeners.
    pub network: Arc<dyn Network>,
    /// Where the Raft log is kept.
    pub disks: Arc<dyn Disks>,
    started: tokio::time::Instant,
}

impl Env {
    /// An outside world made of these parts, starting now. Call inside a runtime.
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>, network: Arc<dyn Network>) -> Self {
        Env { clock, random, network, disks: Arc::new(SystemDisks::default()), started: tokio::time::Instant::now() }
    }

    /// The same world with other disks.
    pub fn with_disks(self, disks: Arc<dyn Disks>) -> Self {
        Env { disks, ..self }
    }

    /// The operating system.
    pub fn real() -> Self {
        Env::new(Arc::new(SystemClock), Arc::new(SystemRandom), Arc::new(SystemNetwork))
    }

    /// The moment to hand to a machine.
    pub fn now(&self) -> Instant {
        Instant::from_start(self.started.elapsed())
    }

    /// The tokio deadline of a machine's moment.
    pub fn deadline(&self, at: Instant) -> tokio::time::Instant {
        self.started + at.since_start()
    }

    /// A random UUID (version 4) in text form.
    pub fn uuid(&self) -> String {
        let bits = (u128::from(self.random.u64()) << 64) | u128::from(self.random.u64());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
    }
}

/// The operating system's wall clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where wall time comes in")]
    fn wall_ms(&self) -> UnixMs {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }
}

struct SystemRandom;

impl Random for SystemRandom {
    fn u64(&self) -> u64 {
        rand::rng().next_u64()
    }
}

/// Disks of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisks {
    /// What each log takes of the host.
    pub tuning: Tuning,
}

impl Disks for SystemDisks {
    fn open<'a>(&'a self, data_dir: Option<&'a Path>) -> BoxFuture<'a, Result<Arc<dyn Disk>, OpenError>> {
        Box::pin(async move {
            match data_dir {
                Some(data_dir) => FileDisk::open_tuned(data_dir, self.tuning).await.map(|disk| disk as Arc<dyn Disk>),
                None => Ok(Arc::new(MemoryDisk::new()) as Arc<dyn Disk>),
            }
        })
    }
}

struct SystemNetwork;

impl Network for SystemNetwork {
    fn listen<'a>(&'a self, address: &'a ListenAddress) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener: Box<dyn Listener> = match address {
                ListenAddress::Tcp(address) => Box::new(TcpListener(tokio::net::TcpListener::bind(address).await?)),
                ListenAddress::Unix(path) => {
                    Box::new(UnixListener(tokio::net::UnixListener::bind(path)?, path.clone()))
                }
            };
            Ok(listener)
        })
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn datagrams(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async move {
            let socket = tokio::net::UdpSocket::bind(address).await?;
            Ok(Box::new(UdpSocket(socket)) as Box<dyn Datagrams>)
        })
    }
}

struct UdpSocket(tokio::net::UdpSocket);

impl Datagrams for UdpSocket {
    fn receive<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(self.0.recv_from(buffer))
    }

    fn send<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { self.0.send_to(bytes, to).await.map(|_| ()) })
    }

    fn local_address(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound socket has an address")
    }
}

struct TcpListener(tokio::net::TcpListener);

impl Listener for TcpListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Accepted>> {
        Box::pin(async move {
            let (stream, peer) = self.0.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream) as Box<dyn Stream>, Some(peer)))
        })
    }

    fn local_address(&self) -> ListenAddress {
        ListenAddress::Tcp(self.0.local_addr().expect("a bound socket has an address"))
    }
}

struct UnixListener(tokio::net::UnixListener, PathBuf);

impl Listener for UnixListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Accepted>> {
        Box::pin(async move {
            let (stream, _) = self.0.accept().await?;
            Ok((Box::new(stream) as Box<dyn Stream>, None))
        })
    }

    fn local_address(&self) -> ListenAddress {
        ListenAddress::Unix(self.1.clone())
    }
}
