//! The signals that commands which run on heed: two ask for the end, a few mean nothing.
//!
//! Owns which they are and how one is passed on to a program of the command. All others, and all of them in commands
//! that do not listen, do what the system has them do.

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::signal::unix::{self, SignalKind};

use super::command::Failure;

/// What would end us and must not: Go's runtime, and so Consul, ignores these.
const IGNORED: [SignalKind; 4] =
    [SignalKind::alarm(), SignalKind::io(), SignalKind::user_defined1(), SignalKind::user_defined2()];

/// What asks a command to end.
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    /// Listens from now on, inside [`Client::wait_for`](super::client::Client::wait_for).
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen() -> Result<Signals, Failure> {
        let caught =
            |kind| unix::signal(kind).map_err(|error| Failure::new(format!("could not listen for signals: {error}")));
        for kind in IGNORED {
            // What has been caught once is so for good, heard or not.
            drop(caught(kind)?);
        }
        Ok(Signals { interrupt: caught(SignalKind::interrupt())?, terminate: caught(SignalKind::terminate())? })
    }

    /// Waits for the next.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
        }
    }

    /// What a future gives.
    ///
    /// # Errors
    /// The signal that came first. The future is dropped.
    pub async fn unless_asked<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Signal> {
        tokio::select! {
            biased;
            signal = self.next() => Err(signal),
            value = future => Ok(value),
        }
    }
}

/// Sends a signal to a program; one that has ended does not hear it.
pub fn pass_on(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
        // It may have ended just now.
        let _ = kill_process(pid, signal);
    }
}
