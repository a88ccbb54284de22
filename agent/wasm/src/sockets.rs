//! WASI sockets as a run sees them: counted when they are made, connected to granted addresses only, names looked up by the host's [`Lookup`].
//!
//! The count and the lookup replace three interfaces of wasmtime-wasi, which does the rest; the check of each address is its own hook.

use crate::Grants;
use crate::failure::Denials;
use crate::lookup::{Addresses, Lookup};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, IpAddressFamily, Network};
use wasmtime_wasi::p2::bindings::sockets::{ip_name_lookup, tcp_create_socket, udp_create_socket};
use wasmtime_wasi::p2::{DynPollable, Pollable, SocketError, SocketResult, TcpSocket, UdpSocket};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsCtxView};

/// Addresses of a name that a guest sees.
const ADDRESSES_MAX: usize = 64;
/// Names that a run may look up. Half of what may be looked up at a time in the process, so that one run does not keep all others waiting.
const NAMES_MAX: u32 = 16;

/// Counts what a run opens.
#[derive(Debug)]
pub(crate) struct Opened {
    left: AtomicU32,
    max: u32,
    names_left: AtomicU32,
}

impl Opened {
    pub(crate) fn new(max: u32) -> Arc<Opened> {
        Arc::new(Opened { left: AtomicU32::new(max), max, names_left: AtomicU32::new(NAMES_MAX) })
    }

    /// Takes one of what may be opened, or notes that there is none left.
    pub(crate) fn take(&self, denials: &Denials) -> bool {
        let taken = take_one(&self.left);
        if !taken {
            denials.add(|| format!("was refused more than its {} sockets and requests (limits.sockets)", self.max));
        }
        taken
    }

    /// Takes one of the names that may be looked up, or notes that there is none left.
    fn take_name(&self, denials: &Denials) -> bool {
        let taken = take_one(&self.names_left);
        if !taken {
            denials.add(|| format!("was refused to look up more than {NAMES_MAX} names"));
        }
        taken
    }
}

fn take_one(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// Whether a guest may do this with this address. Binding is allowed only as connecting and sending need it: to any address and port the
/// system picks. Nothing listens.
pub(crate) fn allowed(grants: &Grants, denials: &Denials, address: SocketAddr, used: SocketAddrUse) -> bool {
    let (allowed, what) = match used {
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => {
            (address.port() == 0 && address.ip().is_unspecified(), "a socket bound to")
        }
        SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => (false, "listening on"),
        SocketAddrUse::TcpConnect => (grants.network_allows(address), "a connection to"),
        SocketAddrUse::UdpSend => (grants.network_allows(address), "sending to"),
        // What comes from elsewhere is nobody's fault but the sender's: it is dropped without a word.
        SocketAddrUse::UdpReceive => return grants.network_allows(address),
    };
    if !allowed {
        denials.add(|| format!("was refused {what} {address}, which allow.network does not grant"));
    }
    allowed
}

/// A run's sockets for the time of one host call.
pub(crate) struct Sockets<'a> {
    pub(crate) wasi: WasiSocketsCtxView<'a>,
    pub(crate) opened: &'a Opened,
    pub(crate) denials: &'a Denials,
    pub(crate) grants: &'a Grants,
    pub(crate) lookup: &'a Arc<dyn Lookup>,
}

/// The type that [`Sockets`] is in a linker.
pub(crate) struct HasSockets;

impl wasmtime::component::HasData for HasSockets {
    type Data<'a> = Sockets<'a>;
}

impl Sockets<'_> {
    /// Without any grant no socket can be used, so none is made, and the guest's error says so at once.
    fn may_open(&self) -> Result<(), SocketError> {
        if self.grants.network.is_empty() {
            self.denials.add(|| "was refused a socket, since allow.network grants nothing".to_owned());
            return Err(ErrorCode::AccessDenied.into());
        }
        match self.opened.take(self.denials) {
            true => Ok(()),
            false => Err(ErrorCode::NewSocketLimit.into()),
        }
    }
}

// The three interfaces build on this one, which stays wasmtime-wasi's.
impl network::Host for Sockets<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        self.wasi.convert_error_code(error)
    }

    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        self.wasi.network_error_code(error)
    }
}

impl network::HostNetwork for Sockets<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.wasi, network)
    }
}

impl tcp_create_socket::Host for Sockets<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        self.may_open()?;
        self.wasi.create_tcp_socket(family)
    }
}

impl udp_create_socket::Host for Sockets<'_> {
    async fn create_udp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<UdpSocket>> {
        self.may_open()?;
        self.wasi.create_udp_socket(family).await
    }
}

/// A lookup on its way or done. In the table it stands where wasmtime-wasi's own type of this resource would, which only these functions see.
struct Found {
    pending: Option<Addresses>,
    found: Result<std::vec::IntoIter<IpAddr>, ErrorCode>,
}

impl Found {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pending) = &mut self.pending else { return Poll::Ready(()) };
        let Poll::Ready(result) = pending.as_mut().poll(cx) else { return Poll::Pending };
        self.pending = None;
        self.found = match result {
            Ok(mut addresses) => {
                addresses.truncate(ADDRESSES_MAX);
                Ok(addresses.into_iter())
            }
            Err(_) => Err(ErrorCode::NameUnresolvable),
        };
        Poll::Ready(())
    }
}

impl Pollable for Found {
    fn ready<'life, 'future>(&'life mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future,
    {
        Box::pin(std::future::poll_fn(|cx| self.poll(cx)))
    }
}

type Stream = Resource<ip_name_lookup::ResolveAddressStream>;

impl ip_name_lookup::Host for Sockets<'_> {
    fn resolve_addresses(&mut self, network: Resource<Network>, name: String) -> Result<Stream, SocketError> {
        self.wasi.table.get(&network)?;
        if self.grants.network.is_empty() {
            self.denials.add(|| {
                format!("was refused to look up {}, since allow.network grants nothing", crate::lines::clean(&name))
            });
            return Err(ErrorCode::AccessDenied.into());
        }
        let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let found = match literal {
            Ok(ip) => Found { pending: None, found: Ok(vec![ip].into_iter()) },
            Err(_) if name.is_empty() || name.len() > 255 => return Err(ErrorCode::InvalidArgument.into()),
            Err(_) if !self.opened.take_name(self.denials) => return Err(ErrorCode::AccessDenied.into()),
            Err(_) => Found { pending: Some(self.lookup.lookup(&name)), found: Err(ErrorCode::WouldBlock) },
        };
        let found = self.wasi.table.push(found)?;
        Ok(Resource::new_own(found.rep()))
    }
}

impl ip_name_lookup::HostResolveAddressStream for Sockets<'_> {
    fn resolve_next_address(&mut self, stream: Stream) -> Result<Option<IpAddress>, SocketError> {
        let found = self.wasi.table.get_mut(&Resource::<Found>::new_borrow(stream.rep()))?;
        if found.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            return Err(ErrorCode::WouldBlock.into());
        }
        match &mut found.found {
            Ok(addresses) => Ok(addresses.next().map(Into::into)),
            Err(code) => Err((*code).into()),
        }
    }

    fn subscribe(&mut self, stream: Stream) -> wasmtime::Result<Resource<DynPollable>> {
        wasmtime_wasi::p2::subscribe(self.wasi.table, Resource::<Found>::new_borrow(stream.rep()))
    }

    fn drop(&mut self, stream: Stream) -> wasmtime::Result<()> {
        self.wasi.table.delete(Resource::<Found>::new_own(stream.rep()))?;
        Ok(())
    }
}
