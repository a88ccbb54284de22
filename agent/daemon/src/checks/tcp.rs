//! TCP checks: a connection that opens passes; with TLS, its handshake must also succeed.

use std::time::Duration;

use agent_core::health::spec::{Outcome, TlsOptions};
use tokio::time::{Instant, timeout_at};

use super::dial::{dial, host_of};
use super::tls::TlsConnector;
use super::{critical, passing};

pub(super) async fn probe(address: &str, tls: Option<(&TlsConnector, &TlsOptions)>, timeout: Duration) -> Outcome {
    let deadline = Instant::now() + timeout;
    let stream = match dial(address, deadline).await {
        Ok(stream) => stream,
        Err(error) => return critical(error),
    };
    if let Some((connector, options)) = tls {
        let handshake = connector.connect(stream, host_of(address), options, &[]);
        match timeout_at(deadline, handshake).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return critical(error),
            Err(_) => return critical("tls: handshake timed out".to_owned()),
        }
    }
    passing(format!("TCP connect {address}: Success"))
}
