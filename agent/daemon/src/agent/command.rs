//! The `agent` command: flags, configuration, log, signals, exit code.
//!
//! [`run`] is the life of the process. What an agent is made of stands in
//! [`super::Agent`]; what the configuration means in [`super::settings`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Interval;

use super::banner;
use super::notify::{ServiceManager, State};
use super::settings::{self, Settings};
use super::{Agent, Parts};
use crate::again;
use crate::checks::SystemProber;
use crate::config::{self, Config, Loaded, Reloadable};
use crate::control::Control;
use crate::env::{Env, ListenAddress, SystemClock, SystemDisks};
use crate::goflag::Parsed;
use crate::gossip::{self, GossipHandle, RetryJoin};
use crate::persist::Persist;
use crate::plugin::Plugins;
use crate::telemetry::LogStream;

/// Runs an agent until it leaves or is stopped, and returns the exit code: zero only after leaving. `program` is the name
/// it was called by.
pub fn run(given: &Parsed, program: &str) -> u8 {
    let name = banner::name(program);
    match prepare(given, name) {
        Ok((loaded, runtime, log)) => {
            let code = runtime.block_on(live(given.clone(), loaded, name, &log));
            tracing::info!(code, "Exit code");
            log.flush();
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("==> {error}");
            1
        }
    }
}

/// Everything that can fail before there is a log to say it in.
fn prepare(given: &Parsed, name: &str) -> Result<(Loaded, Runtime, LogStream), String> {
    if !given.positional.is_empty() {
        return Err(format!("Unexpected extra arguments: [{}]", given.positional.join(" ")));
    }
    let mut loaded = config::load(given).map_err(|error| error.to_string())?;
    if loaded.config.limits.memory_bytes_max.is_some()
        && let Err(error) = again::with_memory_given_back()
    {
        let warning =
            format!("limits.memory: freed memory is given back late, for this program can't be run again: {error}");
        loaded.warnings.push(warning);
    }
    let resources = loaded.config.resources;
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(resources.worker_threads_max);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(resources.blocking_threads_max)
        .enable_all()
        .build()
        .map_err(|error| format!("could not start threads: {error}"))?;
    let log = LogStream::install(&settings::log_options(&loaded.config.log, name), Arc::new(SystemClock))
        .map_err(|error| format!("could not open the log: {error}"))?;
    Ok((loaded, runtime, log))
}

/// How long a server that leaves waits for the others to do without it (Consul's `performance.leave_drain_time`).
const RESIGN_TIMEOUT: Duration = Duration::from_secs(5);

/// What can happen to a running agent.
enum Event {
    Hangup,
    Interrupt,
    Terminate,
    Control(Control),
    /// The service manager waits for a sign of life.
    Beat,
    RaftStopped(String),
    JoinFailed(&'static str),
}

/// How an agent ended.
enum End {
    /// It left: nobody misses it.
    Left,
    /// It was stopped: it is expected back.
    Stopped,
}

async fn live(given: Parsed, loaded: Loaded, name: &str, log: &LogStream) -> u8 {
    match lead_a_life(given, loaded, name, log).await {
        Ok(End::Left) => 0,
        Ok(End::Stopped) => 1,
        Err(error) => {
            tracing::error!(error = %error, "Error starting agent");
            1
        }
    }
}

async fn lead_a_life(given: Parsed, loaded: Loaded, name: &str, log: &LogStream) -> Result<End, String> {
    let Loaded { config, warnings, definitions, watches } = loaded;
    let manager = ServiceManager::from_environment()?;
    let env = Env::real().with_disks(Arc::new(SystemDisks { tuning: config.resources.log }));
    let persist = config.data_dir.clone().map(Persist::new);
    let node_id = settings::node_id(&config, persist.as_ref(), &env).map_err(|error| error.to_string())?;
    log.print(&banner::text(name, &config, &node_id));
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let mut signals = Signals::listen().map_err(|error| format!("could not listen for signals: {error}"))?;
    let settings = Settings::of(&config, node_id, definitions, env.random.u64());
    let (start_join, retry_join) = (settings.gossip.start_join.clone(), settings.gossip.retry_join.clone());
    let plugins = Plugins::new(settings::plugin_host(&config), config.plugins.declared.clone());
    let prober = SystemProber::default().with_plugins(Arc::clone(&plugins));
    let parts = Parts { prober: Arc::new(prober), plugins: Some(plugins), log: Some(log.clone()) };
    let mut agent = Agent::start(settings, env, parts).await.map_err(|error| error.to_string())?;
    let pid_file = PidFile::write(config.pid_file.as_deref())?;
    announce(&agent);
    if !start_join.is_empty() {
        log.print("==> Joining cluster...\n");
        let count = agent.gossip().join(&start_join).await.map_err(|error| error.to_string())?;
        log.print(&format!("    Join completed. Synced with {count} initial agents\n"));
    }
    agent.watch(watches);
    log.print(&format!("==> {name} agent running!\n"));
    manager.tell(State::Ready);
    let mut beats = manager.beats();
    let mut joining = std::pin::pin!(join_in_time(agent.gossip().clone(), retry_join));

    let mut broken = agent.broken();
    let mut running = Running { given, config, manager };
    let end = loop {
        let event = tokio::select! {
            biased;
            reason = &mut broken => Event::RaftStopped(reason),
            event = signals.next() => event,
            reason = &mut joining => Event::JoinFailed(reason),
            Some(control) = agent.control.recv() => Event::Control(control),
            () = beat(&mut beats) => Event::Beat,
        };
        if let Some(end) = running.handle(&mut agent, event).await {
            break end;
        }
    };
    drop(broken);
    running.manager.tell(State::Stopping);
    agent.shutdown().await;
    tracing::info!("shutdown complete");
    drop(pid_file);
    Ok(end)
}

/// Joins as soon as somebody answers; resolves only when that has failed for good.
async fn join_in_time(pool: GossipHandle, wanted: RetryJoin) -> &'static str {
    match gossip::keep_joining(pool, wanted).await {
        Ok(()) => std::future::pending().await,
        Err(reason) => reason,
    }
}

/// Resolves when a sign of life is due, never where nobody waits for one.
async fn beat(beats: &mut Option<Interval>) {
    match beats {
        Some(beats) => _ = beats.tick().await,
        None => std::future::pending().await,
    }
}

fn announce(agent: &Agent) {
    for address in agent.http_addresses() {
        let network = match address {
            ListenAddress::Tcp(_) => "tcp",
            ListenAddress::Unix(_) => "unix",
        };
        tracing::info!(address = %address, network, "Started HTTP server");
    }
    for address in agent.dns().addresses() {
        tracing::info!(address = %address, network = "udp", "Started DNS server");
        tracing::info!(address = %address, network = "tcp", "Started DNS server");
    }
}

/// What the main loop remembers.
struct Running {
    given: Parsed,
    config: Config,
    manager: ServiceManager,
}

impl Running {
    /// Does what an event asks for; returns how the agent ends if it does.
    async fn handle(&mut self, agent: &mut Agent, event: Event) -> Option<End> {
        match event {
            Event::Hangup => {
                tracing::info!(signal = "hangup", "Caught");
                if let Err(error) = self.reload(agent).await {
                    tracing::error!(error = %error, "Reload failed; the configuration is as before");
                }
                None
            }
            Event::Control(Control::Reload { reply }) => {
                // Whoever asked may be gone; the reload happened all the same.
                let _ = reply.send(self.reload(agent).await);
                None
            }
            Event::Control(Control::Leave { reply }) => {
                leave(agent).await;
                // Whoever asked may be gone; the agent leaves all the same.
                let _ = reply.send(Ok(()));
                Some(End::Left)
            }
            Event::Beat => {
                self.manager.tell(State::Beat);
                None
            }
            Event::Interrupt => Some(stop(agent, "interrupt", !self.config.leave.skip_on_interrupt).await),
            Event::Terminate => Some(stop(agent, "terminated", self.config.leave.on_terminate).await),
            Event::JoinFailed(reason) => {
                tracing::error!(error = %reason, "Retry join failed");
                Some(End::Stopped)
            }
            Event::RaftStopped(reason) => {
                tracing::error!(error = %reason, "Raft has stopped: nothing can be acknowledged any more");
                Some(End::Stopped)
            }
        }
    }

    /// Reads the configuration again and applies what may change while running. Nothing changes on an error.
    async fn reload(&mut self, agent: &mut Agent) -> Result<(), String> {
        tracing::info!("Reloading configuration...");
        self.manager.tell(State::Reloading);
        let result = self.read_again(agent).await;
        self.manager.tell(State::Ready);
        result
    }

    async fn read_again(&mut self, agent: &mut Agent) -> Result<(), String> {
        let given = self.given.clone();
        let loaded = tokio::task::spawn_blocking(move || config::load(&given)).await;
        let Loaded { config, warnings, definitions, watches } = loaded
            .map_err(|error| format!("could not read the configuration: {error}"))?
            .map_err(|error| error.to_string())?;
        let (old, new) = (Reloadable::of(&self.config), Reloadable::of(&config));
        agent.reload(&old, new, definitions).await.map_err(|error| error.to_string())?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let diff = config::reloadable_diff(&self.config, &config);
        for key in &diff.ignored {
            tracing::warn!("{key} can't change while the agent runs: restart it");
        }
        agent.watch(watches);
        self.config = diff.config;
        tracing::info!("Configuration reload complete");
        Ok(())
    }
}

/// Tells the pool that this agent is not expected back.
async fn leave(agent: &Agent) {
    let server = agent.server();
    tracing::info!("{} starting leave", if server.is_some() { "server" } else { "client" });
    if let Err(error) = agent.gossip().leave().await {
        tracing::warn!(%error, "could not tell the pool that this agent leaves");
    }
    let Some(server) = server else { return };
    // Not a voter that is missed from now on, if the others can agree on that in time.
    match tokio::time::timeout(RESIGN_TIMEOUT, server.consensus.resign()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "could not give up this server's vote"),
        Err(_) => tracing::warn!("could not give up this server's vote in time: the other servers will remove it"),
    }
}

async fn stop(agent: &Agent, signal: &str, graceful: bool) -> End {
    tracing::info!(signal = %signal, "Caught");
    match graceful {
        true => {
            tracing::info!("Gracefully shutting down agent...");
            leave(agent).await;
            End::Left
        }
        false => {
            tracing::info!("Graceful shutdown disabled. Exiting");
            End::Stopped
        }
    }
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Event {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Event::Interrupt,
            _ = self.terminate.recv() => Event::Terminate,
            _ = self.hangup.recv() => Event::Hangup,
        }
    }
}

/// A file with the process id, removed when dropped.
struct PidFile(Option<PathBuf>);

impl PidFile {
    fn write(path: Option<&Path>) -> Result<PidFile, String> {
        if let Some(path) = path {
            let explain = |error| format!("could not write pid_file {}: {error}", path.display());
            fs::write(path, std::process::id().to_string()).map_err(explain)?;
        }
        Ok(PidFile(path.map(Path::to_owned)))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(error) = fs::remove_file(path)
        {
            tracing::warn!(error = %error, "could not remove the pid file");
        }
    }
}
