//! A client agent's way to the servers: it keeps no state but its own services, and asks for everything else.
//!
//! ```text
//! gossip's roster ── run ──▶ agent_core::server_list ──▶ Servers::ask ── rpc::Pool ──▶ a server
//!                                                           ▲
//!                              http.rs  dns.rs  catalog.rs ─┘
//! ```
//!
//! Owns how long a question is held while no server answers, and the promise
//! that one whose outcome is unknown is only asked again when that does no harm.

mod catalog;
mod dns;
mod http;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_core::last_seen::LastSeen;
use agent_core::server_list::{Input, Output, ServerList};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::dns::Reply;
use crate::env::Env;
use crate::gossip::GossipHandle;
use crate::roster;
use crate::rpc::{CallError, Pool};
use crate::telemetry::{Counter, Metrics};

pub use catalog::ServersCatalog;
pub use dns::ServersDns;
pub use http::Seen;

/// The first pause after no server answered; doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(50);

/// The longest pause: a server that comes back is found again within this, even before gossip says so.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The servers, as a client knows them. Shared by all who ask.
pub struct Servers {
    env: Env,
    pool: Pool,
    metrics: Arc<Metrics>,
    /// How long a question is held while no server answers.
    hold_time: Duration,
    list: Mutex<ServerList>,
    /// Counts when servers appeared or went.
    changed: watch::Sender<u64>,
    /// Counts when servers appeared.
    appeared: watch::Sender<u64>,
    /// Wakes the loop when the list has another deadline.
    failed: watch::Sender<()>,
    seen: Mutex<LastSeen<Seen>>,
    seen_dns: Mutex<LastSeen<Reply>>,
}

/// How a question is asked.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Until when servers are tried again.
    until: Instant,
    /// Whether it may be asked again although a server may have acted upon it.
    repeatable: bool,
    /// How long one server may take; `None` for as long as it lives.
    limit: Option<Duration>,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// No server is known.
    NoServers,
    /// None could be reached; nothing was acted upon.
    Unreachable(String),
    /// A server may have acted upon it.
    Unknown(String),
}

impl fmt::Display for Unanswered {
    /// In Consul's words, which clients know.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unanswered::NoServers => f.write_str("No known Consul servers"),
            Unanswered::Unreachable(why) => write!(f, "rpc error getting client: failed to get conn: {why}"),
            Unanswered::Unknown(why) => write!(f, "rpc error making call: {why}"),
        }
    }
}

impl std::error::Error for Unanswered {}

impl Servers {
    /// Nobody is known until [`run`] follows the pool. Answers are kept up to `seen_bytes_max`, a fifth of it DNS's.
    pub fn new(
        env: Env,
        pool: Pool,
        metrics: Arc<Metrics>,
        hold_time: Duration,
        seen_bytes_max: usize,
    ) -> Arc<Servers> {
        let list = Mutex::new(ServerList::new(env.random.u64()));
        let (changed, appeared, failed) = (watch::Sender::new(0), watch::Sender::new(0), watch::Sender::new(()));
        let seen = Mutex::new(LastSeen::new(seen_bytes_max - seen_bytes_max / 5));
        let seen_dns = Mutex::new(LastSeen::new(seen_bytes_max / 5));
        Arc::new(Servers { env, pool, metrics, hold_time, list, changed, appeared, failed, seen, seen_dns })
    }

    /// How many servers gossip hears of.
    pub fn count(&self) -> usize {
        self.list().alive()
    }

    /// Forgets what servers have answered.
    pub fn forget(&self) {
        self.seen().clear();
        self.seen_dns().clear();
    }

    fn list(&self) -> MutexGuard<'_, ServerList> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every change of it is complete in itself, so a panic elsewhere leaves it usable.
    fn seen(&self) -> MutexGuard<'_, LastSeen<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen_dns(&self) -> MutexGuard<'_, LastSeen<Reply>> {
        self.seen_dns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, input: Input) {
        let outputs = self.list().step(self.env.now(), input);
        for output in &outputs {
            match output {
                Output::Appeared(address) => {
                    tracing::info!(server = %address, "Adding server");
                    self.appeared.send_modify(|count| *count += 1);
                }
                Output::Gone(address) => {
                    tracing::info!(server = %address, "Removing server");
                    self.pool.forget(*address);
                }
            }
        }
        if !outputs.is_empty() {
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// This server could not answer; the next question goes to another one.
    fn fail(&self, address: SocketAddr) {
        self.step(Input::Failed(address));
        self.failed.send_replace(());
    }

    /// Asks one server after the other until one answers, and again for as long as `patience` says.
    async fn ask<T, F>(&self, patience: Patience, call: impl Fn(SocketAddr) -> F) -> Result<T, Unanswered>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        self.metrics.count(Counter::Rpc);
        let mut pause = PAUSE;
        loop {
            let mut changed = self.changed.subscribe();
            let failure = match self.ask_each(patience, &call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if Instant::now() >= patience.until || matches!(failure, Unanswered::Unknown(_)) {
                self.metrics.count(Counter::RpcFailed);
                return Err(failure);
            }
            tokio::select! {
                biased;
                // The sender lives as long as this.
                _ = changed.changed() => {}
                () = tokio::time::sleep_until(patience.until.min(Instant::now() + pause)) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Asks every server once at most.
    async fn ask_each<T, F>(&self, patience: Patience, call: impl Fn(SocketAddr) -> F) -> Result<T, Unanswered>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let mut failure = Unanswered::NoServers;
        let order: Vec<SocketAddr> = self.list().order().collect();
        for address in order {
            match self.ask_one(address, patience.limit, call(address)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    tracing::debug!(server = %address, %error, "RPC failed to server");
                    self.fail(address);
                    failure = match error {
                        CallError::NotSent(why) | CallError::Refused(why) => Unanswered::Unreachable(why),
                        CallError::Lost(why) if patience.repeatable => Unanswered::Unreachable(why),
                        CallError::Lost(why) => return Err(Unanswered::Unknown(why)),
                    };
                }
            }
        }
        Err(failure)
    }

    /// Waits for one server's answer for as long as it lives.
    async fn ask_one<T>(
        &self,
        address: SocketAddr,
        limit: Option<Duration>,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let too_slow = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = call => answer,
            () = self.gone(address) => Err(CallError::Lost("the pool does not hear it any more".to_owned())),
            () = too_slow => Err(CallError::Lost("it did not answer in time".to_owned())),
        }
    }

    /// Resolves when the pool, which hears this server now, does not hear it any more.
    async fn gone(&self, address: SocketAddr) {
        let mut changed = self.changed.subscribe();
        if !self.list().is_alive(address) {
            std::future::pending::<()>().await;
        }
        while self.list().is_alive(address) {
            // The sender lives as long as this.
            let _ = changed.changed().await;
        }
    }
}

/// What can wake the loop.
enum Event {
    Stop,
    Pool,
    Failed,
    Due,
}

/// Keeps the list as the pool sees it until `stop` resolves.
pub async fn run(servers: Arc<Servers>, pool: GossipHandle, datacenter: String, stop: impl Future<Output = ()>) {
    let mut failed = servers.failed.subscribe();
    let mut stop = std::pin::pin!(stop);
    loop {
        let roster = pool.roster();
        servers.step(Input::Servers(roster::servers(&roster, &datacenter)));
        loop {
            let deadline = servers.list().deadline();
            let due = async {
                match deadline {
                    Some((at, _)) => tokio::time::sleep_until(servers.env.deadline(at)).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                biased;
                () = &mut stop => Event::Stop,
                _ = pool.roster_changed(roster.version) => Event::Pool,
                _ = failed.changed() => Event::Failed,
                () = due => Event::Due,
            };
            match event {
                Event::Stop => return,
                Event::Pool => break,
                Event::Failed => {}
                Event::Due => servers.step(Input::Tick),
            }
        }
    }
}
