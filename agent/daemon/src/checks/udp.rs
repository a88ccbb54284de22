//! UDP checks: an answer passes, and so does silence; what the network refuses is critical.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use agent_core::health::spec::Outcome;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::dial::{os_text, resolve};
use super::{critical, passing};

pub(super) async fn probe(address: &str, timeout: Duration) -> Outcome {
    let deadline = Instant::now() + timeout;
    let peer = match resolve("udp", address, deadline).await.map(|found| found.first().copied()) {
        Ok(Some(peer)) => peer,
        Ok(None) => return critical(format!("dial udp: lookup {address}: no such host")),
        Err(error) => return critical(error),
    };
    match timeout_at(deadline, exchange(peer)).await {
        Ok(Err(error)) => critical(format!("udp {peer}: {}", os_text(&error))),
        Ok(Ok(())) | Err(_) => passing(format!("UDP connect {address}: Success")),
    }
}

/// Sends one datagram and waits for one. A connected socket is told of ICMP errors.
async fn exchange(peer: SocketAddr) -> std::io::Result<()> {
    let any = match peer {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(peer).await?;
    socket.send(b"\n").await?;
    socket.recv(&mut [0; 1]).await.map(|_| ())
}
