//! DNS over UDP: several sockets on one address, one loop each.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind as bind_socket, socket_with, sockopt};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::cache::Cache;
use super::packet::MESSAGE_BYTES_MAX;
use super::recursor::{Recursors, finish, permit};
use super::respond::{Next, Responder, Transport};

/// The longest request read, in bytes. Questions are far smaller; what is longer reads as malformed.
const REQUEST_BYTES_MAX: usize = 4096;

/// Requests answered before other tasks of the thread get their turn.
const BURST: usize = 64;

/// A socket on `address` that others of this process share: the system spreads clients over them.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind_socket(&socket, &address)?;
    UdpSocket::from_std(std::net::UdpSocket::from(socket))
}

/// Answers what comes in, for as long as the task lives.
pub(super) async fn serve(socket: UdpSocket, responder: Arc<Responder>, recursors: Arc<Recursors>) {
    let socket = Arc::new(socket);
    let mut request = vec![0; REQUEST_BYTES_MAX];
    let mut reply = Vec::with_capacity(MESSAGE_BYTES_MAX);
    let mut cache = Cache::new();
    // Dropped with this task, so nothing holds the socket when the server is gone.
    let mut waiting = JoinSet::new();
    loop {
        // Errors of a UDP socket are about earlier datagrams (nobody there); the next one may be fine.
        if socket.readable().await.is_err() {
            continue;
        }
        for _ in 0..BURST {
            let Ok((length, client)) = socket.try_recv_from(&mut request) else { break };
            let bytes = &request[..length];
            match responder.first(bytes, Transport::Udp, Some(&mut cache), &mut reply) {
                Next::Drop => {}
                Next::Send => send(&socket, &reply, client).await,
                next @ (Next::Forward | Next::Resolve { .. } | Next::Ask { .. }) => {
                    match permit(&recursors, &responder, &next) {
                        Some(permit) => {
                            while waiting.try_join_next().is_some() {}
                            let (socket, responder, recursors) = (socket.clone(), responder.clone(), recursors.clone());
                            let (bytes, mut reply) = (bytes.to_vec(), reply.clone());
                            waiting.spawn(async move {
                                finish(&recursors, &responder, &bytes, Transport::Udp, next, &mut reply).await;
                                send(&socket, &reply, client).await;
                                drop(permit);
                            });
                        }
                        // As many of its kind as may run are running: what is in the buffer has to do.
                        None => send(&socket, &reply, client).await,
                    }
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

/// A reply that can't be sent is lost, as any datagram may be.
async fn send(socket: &UdpSocket, reply: &[u8], client: SocketAddr) {
    if socket.try_send_to(reply, client).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
        let _ = socket.send_to(reply, client).await;
    }
}
