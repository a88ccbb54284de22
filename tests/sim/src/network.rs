//! A network that carries bytes late, and sometimes cuts a connection.
//!
//! Every connection is two pipes with a relay between them; the relay waits a
//! seeded delay before it passes a chunk on, and order within a connection is
//! kept, as TCP does. A cut shows both ends the end of the stream.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_daemon::env::{Accepted, BoxFuture, Datagrams, ListenAddress, Listener, Network, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::outside::SimRandom;

/// Bytes that fit into a connection before the writer waits.
const WINDOW_BYTES: usize = 64 * 1024;

/// Connections waiting to be accepted.
const BACKLOG: usize = 64;

/// Where ports begin that the network chooses.
const PORTS_FROM: u16 = 20_000;

/// Datagrams a socket holds that nobody has read yet.
const SOCKET_DATAGRAMS: usize = 1024;

/// How the network treats what it carries.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The shortest delay of a chunk, in microseconds.
    pub delay_us_min: u64,
    /// The longest ordinary delay, in microseconds.
    pub delay_us_max: u64,
    /// How often, in a thousand, a chunk is held up ...
    pub spike_per_mille: u64,
    /// ... for this long, in microseconds.
    pub spike_us: u64,
}

impl Weather {
    /// A quiet local network.
    pub const CALM: Weather = Weather { delay_us_min: 100, delay_us_max: 2_000, spike_per_mille: 0, spike_us: 0 };
    /// A bad uplink.
    pub const ROUGH: Weather =
        Weather { delay_us_min: 300, delay_us_max: 20_000, spike_per_mille: 20, spike_us: 300_000 };
}

/// The network of one simulation. Cheap to clone.
#[derive(Clone)]
pub struct SimNetwork {
    random: SimRandom,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    weather: Weather,
    listeners: BTreeMap<SocketAddr, mpsc::Sender<(DuplexStream, SocketAddr)>>,
    sockets: BTreeMap<SocketAddr, mpsc::Sender<(Vec<u8>, SocketAddr)>>,
    /// The relays of living connections, by the order in which they were opened.
    relays: BTreeMap<u64, [AbortHandle; 2]>,
    opened: u64,
}

impl Inner {
    /// The address with a port that is free, where the port is left to the network.
    fn resolved(&self, address: SocketAddr) -> SocketAddr {
        let mut ports = (PORTS_FROM..).map(|port| SocketAddr::new(address.ip(), port));
        let is_free = |address: &SocketAddr| {
            self.listeners.get(address).is_none_or(mpsc::Sender::is_closed)
                && self.sockets.get(address).is_none_or(mpsc::Sender::is_closed)
        };
        if address.port() == 0 { ports.find(is_free).unwrap_or(address) } else { address }
    }
}

impl SimNetwork {
    /// A network with this weather.
    pub fn new(random: SimRandom, weather: Weather) -> Self {
        let inner =
            Inner { weather, listeners: BTreeMap::new(), sockets: BTreeMap::new(), relays: BTreeMap::new(), opened: 0 };
        SimNetwork { random, inner: Arc::new(Mutex::new(inner)) }
    }

    /// Changes the weather for every chunk from now on.
    pub fn set_weather(&self, weather: Weather) {
        self.inner().weather = weather;
    }

    /// Opens a connection to a listener.
    ///
    /// # Errors
    /// Refused when nobody listens there.
    pub fn connect(&self, to: SocketAddr) -> io::Result<DuplexStream> {
        let mut inner = self.inner();
        let listener = inner.listeners.get(&to).ok_or(io::ErrorKind::ConnectionRefused)?;
        let (client, client_far) = tokio::io::duplex(WINDOW_BYTES);
        let (server, server_far) = tokio::io::duplex(WINDOW_BYTES);
        let port = 32_768 + u16::try_from(inner.opened % 28_000).expect("below 28,000");
        let peer = SocketAddr::from(([10, 0, 0, 9], port));
        listener.try_send((server, peer)).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        let (client_reads, client_writes) = tokio::io::split(client_far);
        let (server_reads, server_writes) = tokio::io::split(server_far);
        let there = tokio::spawn(self.clone().relay(client_reads, server_writes)).abort_handle();
        let back = tokio::spawn(self.clone().relay(server_reads, client_writes)).abort_handle();
        let number = inner.opened;
        inner.opened += 1;
        inner.relays.retain(|_, relays| relays.iter().any(|relay| !relay.is_finished()));
        inner.relays.insert(number, [there, back]);
        Ok(client)
    }

    fn bind_datagrams(&self, address: SocketAddr) -> io::Result<SimDatagrams> {
        let mut inner = self.inner();
        let address = inner.resolved(address);
        if inner.sockets.get(&address).is_some_and(|socket| !socket.is_closed()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (sender, arrivals) = mpsc::channel(SOCKET_DATAGRAMS);
        inner.sockets.insert(address, sender);
        Ok(SimDatagrams { network: self.clone(), address, arrivals: tokio::sync::Mutex::new(arrivals) })
    }

    /// Cuts every living connection.
    pub fn cut_all(&self) {
        let relays = std::mem::take(&mut self.inner().relays);
        relays.into_values().flatten().for_each(|relay| relay.abort());
    }

    /// Cuts one living connection, chosen by the seed.
    pub fn cut_one(&self) {
        let mut inner = self.inner();
        inner.relays.retain(|_, relays| relays.iter().any(|relay| !relay.is_finished()));
        if inner.relays.is_empty() {
            return;
        }
        let place = usize::try_from(self.random.below(inner.relays.len() as u64)).expect("a small number");
        let number = *inner.relays.keys().nth(place).expect("the place is below the length");
        let relays = inner.relays.remove(&number).expect("the key was just read");
        relays.iter().for_each(AbortHandle::abort);
    }

    async fn relay(self, mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>) {
        let mut chunk = vec![0; 4096];
        while let Ok(size) = from.read(&mut chunk).await {
            tokio::time::sleep(self.delay()).await;
            if size == 0 || to.write_all(&chunk[..size]).await.is_err() {
                break;
            }
        }
        // The far end may be gone already; it sees the end of the stream either way.
        let _ = to.shutdown().await;
    }

    fn delay(&self) -> Duration {
        let weather = self.inner().weather;
        let us = match self.random.happens(weather.spike_per_mille) {
            true => weather.spike_us,
            false => weather.delay_us_min + self.random.below(weather.delay_us_max - weather.delay_us_min + 1),
        };
        Duration::from_micros(us)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Network for SimNetwork {
    fn listen<'a>(&'a self, address: &'a ListenAddress) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let ListenAddress::Tcp(address) = address else { return Err(io::ErrorKind::Unsupported.into()) };
            let mut inner = self.inner();
            let address = &inner.resolved(*address);
            if inner.listeners.get(address).is_some_and(|listener| !listener.is_closed()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let (sender, connections) = mpsc::channel(BACKLOG);
            inner.listeners.insert(*address, sender);
            let listener = SimListener { address: *address, connections: tokio::sync::Mutex::new(connections) };
            Ok(Box::new(listener) as Box<dyn Listener>)
        })
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move { SimNetwork::connect(self, to).map(|stream| Box::new(stream) as Box<dyn Stream>) })
    }

    fn datagrams(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async move { self.bind_datagrams(address).map(|socket| Box::new(socket) as Box<dyn Datagrams>) })
    }
}

/// A socket for datagrams: each arrives late, and out of order when another is later.
struct SimDatagrams {
    network: SimNetwork,
    address: SocketAddr,
    arrivals: tokio::sync::Mutex<mpsc::Receiver<(Vec<u8>, SocketAddr)>>,
}

impl Datagrams for SimDatagrams {
    fn receive<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(async move {
            let (bytes, from) = self.arrivals.lock().await.recv().await.ok_or(io::ErrorKind::BrokenPipe)?;
            let size = bytes.len().min(buffer.len());
            buffer[..size].copy_from_slice(&bytes[..size]);
            Ok((size, from))
        })
    }

    fn send<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let (network, from, bytes) = (self.network.clone(), self.address, bytes.to_vec());
            tokio::spawn(async move {
                tokio::time::sleep(network.delay()).await;
                let socket = network.inner().sockets.get(&to).cloned();
                if let Some(socket) = socket {
                    // A full socket drops what comes, as a kernel does.
                    let _ = socket.try_send((bytes, from));
                }
            });
            Ok(())
        })
    }

    fn local_address(&self) -> SocketAddr {
        self.address
    }
}

struct SimListener {
    address: SocketAddr,
    connections: tokio::sync::Mutex<mpsc::Receiver<(DuplexStream, SocketAddr)>>,
}

impl Listener for SimListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Accepted>> {
        Box::pin(async move {
            let connection = self.connections.lock().await.recv().await;
            let (stream, peer) = connection.ok_or(io::ErrorKind::BrokenPipe)?;
            Ok((Box::new(stream) as Box<dyn Stream>, Some(peer)))
        })
    }

    fn local_address(&self) -> ListenAddress {
        ListenAddress::Tcp(self.address)
    }
}
