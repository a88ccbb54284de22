//! What a service manager is told: ready, reloading, stopping, alive.
//!
//! The `sd_notify` protocol (systemd's `sd_notify(3)`, `sd_watchdog_enabled(3)`): lines in datagrams to the socket
//! that `NOTIFY_SOCKET` names. Without one nothing is sent. Never waits: a manager that doesn't listen loses a line.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// The way to the service manager, if there is one.
pub struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

/// What the manager may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything listens, and joins that were asked for are done.
    Ready,
    /// The configuration is read again; [`State::Ready`] follows.
    Reloading,
    /// It is about to end.
    Stopping,
    /// It is alive.
    Beat,
}

impl State {
    fn line(self) -> &'static [u8] {
        match self {
            State::Ready => b"READY=1\n",
            State::Reloading => b"RELOADING=1\n",
            State::Stopping => b"STOPPING=1\n",
            State::Beat => b"WATCHDOG=1\n",
        }
    }
}

impl ServiceManager {
    /// The one the environment names.
    ///
    /// # Errors
    /// `NOTIFY_SOCKET` is no address: neither a path nor, after an `@`, an abstract name.
    pub fn from_environment() -> Result<ServiceManager, String> {
        match env::var("NOTIFY_SOCKET") {
            Ok(name) if !name.is_empty() => {
                ServiceManager::at(&name).map_err(|error| format!("NOTIFY_SOCKET is {name:?}: {error}"))
            }
            _ => Ok(ServiceManager { socket: None }),
        }
    }

    fn at(name: &str) -> io::Result<ServiceManager> {
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(ServiceManager { socket: Some((socket, address)) })
    }

    /// Tells it; a manager that can't be told is no reason to stop.
    pub fn tell(&self, state: State) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(state.line(), address)
        {
            tracing::debug!(%error, ?state, "the service manager could not be told");
        }
    }

    /// When to say [`State::Beat`]: at half the time after which the manager takes this process for stuck; `None` when it does not watch.
    pub fn beats(&self) -> Option<Interval> {
        self.socket.as_ref()?;
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let mine = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(std::process::id()));
        let limit = number("WATCHDOG_USEC").filter(|limit| mine && *limit > 1)?;
        let mut beats = interval(Duration::from_micros(limit / 2));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(beats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_told_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("lictor-notify-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        for (listener, at) in [
            (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
            (UnixDatagram::bind_addr(&abstract_address).unwrap(), format!("@{name}")),
        ] {
            let manager = ServiceManager::at(&at).unwrap();
            manager.tell(State::Ready);
            let mut heard = [0; 64];
            let count = listener.recv(&mut heard).unwrap();
            assert_eq!(&heard[..count], b"READY=1\n");
        }
    }

    #[test]
    fn a_manager_that_is_gone_is_no_harm() {
        let manager = ServiceManager::at("/nonexistent/notify").unwrap();
        manager.tell(State::Stopping);
        assert!(ServiceManager { socket: None }.beats().is_none());
    }
}
