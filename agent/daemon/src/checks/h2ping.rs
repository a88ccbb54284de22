//! HTTP/2 ping checks: a PING that is answered passes. Also opens the HTTP/2 connections of gRPC checks.

use std::time::Duration;

use agent_core::health::spec::{Outcome, TlsOptions};
use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{Ping, client};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::dial::{dial, host_of};
use super::tls::TlsConnector;
use super::{critical, passing};

/// An HTTP/2 connection, driven until dropped.
pub(super) struct Session {
    pub(super) requests: SendRequest<Bytes>,
    ping_pong: Option<h2::PingPong>,
    _driver: JoinSet<()>,
}

/// Opens an HTTP/2 connection to `address`.
///
/// # Errors
/// As Go words them.
pub(super) async fn open(
    address: &str,
    tls: Option<(&TlsConnector, &TlsOptions)>,
    deadline: Instant,
) -> Result<Session, OpenError> {
    let stream = dial(address, deadline).await.map_err(OpenError::Dial)?;
    match tls {
        None => session(stream).await,
        Some((connector, options)) => {
            let handshake = connector.connect(stream, host_of(address), options, &[b"h2"]);
            session(handshake.await.map_err(OpenError::Tls)?).await
        }
    }
}

/// Where opening a connection failed, and how.
pub(super) enum OpenError {
    Dial(String),
    Tls(String),
    Http2(String),
}

async fn session<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> Result<Session, OpenError> {
    let handshake = client::Builder::new().handshake::<_, Bytes>(stream).await;
    let (requests, mut connection): (_, Connection<S>) = handshake.map_err(|e| OpenError::Http2(e.to_string()))?;
    let ping_pong = connection.ping_pong();
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // Its end is seen by whoever waits for an answer.
        let _ = connection.await;
    });
    Ok(Session { requests, ping_pong, _driver: driver })
}

pub(super) async fn probe(address: &str, tls: Option<(&TlsConnector, &TlsOptions)>, timeout: Duration) -> Outcome {
    let deadline = Instant::now() + timeout;
    let run = async {
        let mut session = open(address, tls, deadline).await.map_err(|error| match error {
            OpenError::Dial(why) | OpenError::Tls(why) | OpenError::Http2(why) => {
                format!("Failed to dial to {address}: {why}")
            }
        })?;
        let mut ping_pong = session.ping_pong.take().expect("a new connection has its ping");
        ping_pong.ping(Ping::opaque()).await.map_err(|error| format!("HTTP2 ping failed: {error}"))
    };
    match timeout_at(deadline, run).await {
        Ok(Ok(_)) => passing("HTTP2 ping was successful".to_owned()),
        Ok(Err(error)) => critical(error),
        Err(_) => critical("HTTP2 ping failed: context deadline exceeded".to_owned()),
    }
}
