//! The loop around a listener: connections come in, end, and are let finish when the agent stops.
//!
//! Knows nothing of what connections carry, nor whom to admit: the caller
//! decides that, and spawns.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::env::{Listener, Stream};

/// How long connections may go on after the listener was told to stop.
const DRAIN: Duration = Duration::from_millis(500);

/// How long to wait when the system can't accept a connection, out of file descriptors usually: others end meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// Hands the connections of `listener` to `admit`, together with the set of open ones, which is what bounds them, until
/// `stop` resolves; then lets the open ones finish for a moment. `what` is a connection in words, for the log.
pub async fn connections(
    listener: Box<dyn Listener>,
    what: &str,
    mut admit: impl FnMut(&mut JoinSet<()>, Box<dyn Stream>, Option<SocketAddr>),
    stop: impl Future<Output = ()>,
) {
    let mut open = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = open.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(&mut open, stream, peer),
            Err(error) => {
                tracing::warn!(error = %error, "could not accept {what}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = async { while open.join_next().await.is_some() {} };
    // What does not finish by itself, such as a blocking query, is dropped with the set.
    let _ = tokio::time::timeout(DRAIN, drained).await;
}
