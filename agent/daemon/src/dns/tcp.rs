//! DNS over TCP: a bounded number of connections, several questions on each, closed when idle.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::packet::MESSAGE_BYTES_MAX;
use super::recursor::{Recursors, finish, permit};
use super::respond::{Next, Responder, Transport};

/// Connections open at a time on one address; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;

/// How long a connection may be silent, or a message may take.
const IDLE: Duration = Duration::from_secs(8);

/// How long to wait when the system can't accept (no file descriptors).
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Accepts connections, for as long as the task lives.
pub(super) async fn serve(listener: TcpListener, responder: Arc<Responder>, recursors: Arc<Recursors>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Dropped with this task, so connections end when the server does.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let (responder, recursors) = (Arc::clone(&responder), Arc::clone(&recursors));
                connections.spawn(async move {
                    // However it ends, the client sees the connection close.
                    let _ = converse(stream, &responder, &recursors).await;
                    drop(place);
                });
            }
            Err(_) => sleep(ACCEPT_RETRY).await,
        }
    }
}

async fn converse(mut stream: TcpStream, responder: &Responder, recursors: &Recursors) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    let mut reply = Vec::new();
    loop {
        timeout(IDLE, read(&mut stream, &mut request)).await??;
        let next = responder.first(&request, Transport::Tcp, None, &mut reply);
        match next {
            Next::Drop => return Ok(()),
            Next::Send => {}
            Next::Forward | Next::Resolve { .. } | Next::Ask { .. } => {
                if let Some(_permit) = permit(recursors, responder, &next) {
                    finish(recursors, responder, &request, Transport::Tcp, next, &mut reply).await;
                }
            }
        }
        timeout(IDLE, write(&mut stream, &reply)).await??;
    }
}

async fn read(stream: &mut TcpStream, message: &mut Vec<u8>) -> io::Result<()> {
    let length = stream.read_u16().await?;
    message.resize(usize::from(length), 0);
    stream.read_exact(message).await?;
    Ok(())
}

async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len().min(MESSAGE_BYTES_MAX)).expect("bounded right here");
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message[..usize::from(length)]);
    stream.write_all(&framed).await
}
