//! The composition root: builds every room, wires them, and takes them down in order.
//!
//! The only place that knows all of them. Sockets are bound before anything
//! starts, so what can't work fails early and by name. [`command`] is the
//! process around it (flags, signals, exit code); the simulator calls
//! [`Agent::start`] directly.

mod banner;
mod client;
pub mod command;
mod notify;
mod reload;
mod server;
pub mod settings;
#[cfg(test)]
mod tests;
mod unix_socket;

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use agent_core::local::Input;
use agent_raft::StartError;
use agent_raft::disk::open::OpenError;
use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::checks::Prober;
use crate::client::ServersDns;
use crate::control::{self, Control};
use crate::dns::{self, DnsOptions, DnsServer};
use crate::env::{BoxFuture, Env, ListenAddress, Listener};
use crate::gossip::{self, GossipHandle};
use crate::http::{self, AgentApi, Api, ServerApi};
use crate::memory;
use crate::persist::Persist;
use crate::plugin::fetch::Fetcher;
use crate::plugin::{self, Declared, Plugins};
use crate::shedding::Shedding;
use crate::sync::{self, Catalog, LocalError, LocalHandle};
use crate::telemetry::{LogStream, Metrics};
use crate::watch::Watch;
use crate::watch::follow::follow;

pub use settings::Settings;

/// The parts of the outside world that are not in [`Env`], because only the agent as a whole uses them.
pub struct Parts {
    /// What runs health checks.
    pub prober: Arc<dyn Prober>,
    /// The plugins it may run; `None` where there can't be any (the simulator).
    pub plugins: Option<Arc<Plugins>>,
    /// The log of the process, for those who follow it.
    pub log: Option<LogStream>,
}

/// A running agent. Dropping it ends every task at once, as a crash would.
pub struct Agent {
    /// What the API asks of the agent as a whole.
    pub control: mpsc::Receiver<Control>,
    http: Vec<ListenAddress>,
    dns: DnsServer,
    api: Arc<Api>,
    prober: Arc<dyn Prober>,
    watches: JoinSet<()>,
    /// Where versions of plugins come from.
    fetcher: Arc<Fetcher>,
    plugin_loops: JoinSet<()>,
    running: Running,
}

/// The loops of an agent and what ends them.
struct Running {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Running {
    /// Resolves when the agent is told to stop, or was dropped.
    fn until_stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopped = self.stop.subscribe();
        async move {
            // An error means that the agent is gone: that is a reason to stop, too.
            let _ = stopped.wait_for(|stop| *stop).await;
        }
    }
}

/// How long a server that stops waits for another one to lead in its place.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(2);

/// Why an agent did not start. Nothing is left running.
#[derive(Debug)]
pub enum AgentError {
    /// A listener could not be opened.
    Listen {
        /// What for.
        what: &'static str,
        /// Where.
        address: ListenAddress,
        /// Why not.
        error: io::Error,
    },
    /// DNS could not listen. The text names the address.
    Dns(io::Error),
    /// The Raft log could not be opened. The text names the file.
    Disk(OpenError),
    /// Raft could not start.
    Raft(StartError),
    /// The pool could not be opened.
    Gossip(gossip::StartError),
    /// A definition of a configuration file was refused. The text names it, in Consul's words.
    Definitions(LocalError),
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentError::Listen { what, address, error } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "could not listen for {what} on {address}: bind: address already in use: stop what listens there or choose another port"
                )
            }
            AgentError::Listen { what, address, error } => {
                write!(f, "could not listen for {what} on {address}: {error}")
            }
            AgentError::Dns(error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{error}: address already in use: stop what listens there or choose another port")
            }
            AgentError::Dns(error) => error.fmt(f),
            AgentError::Disk(error) => error.fmt(f),
            AgentError::Raft(error) => error.fmt(f),
            AgentError::Gossip(error) => error.fmt(f),
            AgentError::Definitions(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AgentError {}

/// What an agent stands on, by what it is, once every socket is open.
enum Ground {
    Server(Box<server::Ground>),
    Client(client::Rooms),
}

/// The rooms that not every agent has.
enum Rooms {
    Server(Box<server::Rooms>),
    Client(client::Rooms),
}

impl Ground {
    async fn open(settings: &Settings, env: &Env, metrics: &Arc<Metrics>) -> Result<Ground, AgentError> {
        Ok(match settings.identity.server {
            true => Ground::Server(Box::new(server::Ground::open(settings, env).await?)),
            false => Ground::Client(client::Rooms::open(settings, env, metrics)),
        })
    }

    async fn settle(self, settings: &Settings, env: &Env, metrics: &Arc<Metrics>) -> Result<Rooms, AgentError> {
        Ok(match self {
            Ground::Server(ground) => Rooms::Server(Box::new(ground.settle(settings, env, metrics).await?)),
            Ground::Client(rooms) => Rooms::Client(rooms),
        })
    }
}

impl Rooms {
    fn catalog(&self) -> Arc<dyn Catalog> {
        match self {
            Rooms::Server(rooms) => rooms.catalog(),
            Rooms::Client(rooms) => rooms.catalog(),
        }
    }
}

impl Agent {
    /// Binds, recovers, starts.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn start(mut settings: Settings, env: Env, parts: Parts) -> Result<Agent, AgentError> {
        let listeners = listen(&settings, &env).await?;
        let bound = gossip::bind(&env, settings.gossip.bind).await.map_err(AgentError::Gossip)?;
        let naming = settings.metrics.clone();
        let metrics = Arc::new(Metrics::new(Arc::clone(&env.clock), naming, http::routes::names()));
        let ground = Ground::open(&settings, &env, &metrics).await?;
        let dns = start_dns(&settings, &env, &ground, &metrics).await?;
        let rooms = ground.settle(&settings, &env, &metrics).await?;
        if let Rooms::Server(rooms) = &rooms {
            settings.gossip.identity.cluster = rooms.cluster();
        }

        let mut running = Running { stop: watch::Sender::new(false), tasks: JoinSet::new() };
        let local = start_local(&settings, &env, rooms.catalog(), &parts.prober, &mut running).await?;
        let who = settings.gossip.identity.clone();
        let registered = local.clone();
        let lan = gossip::Deps {
            env: env.clone(),
            settings: settings.gossip.clone(),
            bound,
            local: Box::new(move || registered.view()),
        };
        let stopped = running.stop.subscribe();
        let gossip = gossip::start(lan, &mut running.tasks, &stopped).await.map_err(AgentError::Gossip)?;

        let (door, control) = control::channel();
        let agent = AgentApi {
            env,
            identity: settings.identity.clone(),
            limits: settings.limits.clone(),
            adjustable: ArcSwap::from_pointee(settings.adjustable.clone()),
            local,
            gossip,
            control: door,
            metrics,
            plugins: parts.plugins,
            log: parts.log,
            shedding: settings.memory_bytes_max.map(Shedding::below).unwrap_or_default(),
        };
        let api = Arc::new(match rooms {
            Rooms::Server(rooms) => Api::Server(rooms.start(agent, &settings, who, &mut running)),
            Rooms::Client(rooms) => Api::Client(rooms.start(agent, &mut running)),
        });
        let http = listeners.iter().map(|listener| listener.local_address()).collect();
        for listener in listeners {
            running.tasks.spawn(http::server::serve(listener, Arc::clone(&api), running.until_stopped()));
        }
        if let Some(limit_bytes) = settings.memory_bytes_max {
            let (api, forget_dns) = (Arc::clone(&api), dns.forgetting());
            running.tasks.spawn(keep_below(limit_bytes, api, forget_dns, running.until_stopped()));
        }
        let fetcher =
            Fetcher::new(Arc::clone(&api), settings.data_dir.as_deref(), settings.limits.plugin_trust.clone());
        let mut agent = Agent {
            control,
            http,
            dns,
            api,
            prober: parts.prober,
            watches: JoinSet::new(),
            fetcher: Arc::new(fetcher),
            plugin_loops: JoinSet::new(),
            running,
        };
        agent.follow_plugins();
        Ok(agent)
    }

    /// Where the HTTP API really listens.
    pub fn http_addresses(&self) -> &[ListenAddress] {
        &self.http
    }

    /// The DNS server; without an address when it is disabled.
    pub fn dns(&self) -> &DnsServer {
        &self.dns
    }

    /// What this agent registered.
    pub fn local(&self) -> &LocalHandle {
        &self.api.local
    }

    /// The LAN pool.
    pub fn gossip(&self) -> &GossipHandle {
        &self.api.gossip
    }

    /// What only a server has: the replicated state and consensus. `None` for a client.
    pub fn server(&self) -> Option<&Arc<ServerApi>> {
        match &*self.api {
            Api::Server(server) => Some(server),
            Api::Client(_) => None,
        }
    }

    /// Resolves with the reason when the agent can't go on: its Raft has stopped by itself.
    pub fn broken(&self) -> BoxFuture<'static, String> {
        match self.server().map(|server| server.consensus.clone()) {
            Some(consensus) => Box::pin(async move { consensus.stopped().await }),
            None => Box::pin(std::future::pending()),
        }
    }

    /// Follows these watches and no others from now on.
    pub fn watch(&mut self, watches: Vec<Watch>) {
        self.watches = JoinSet::new();
        for watch in watches {
            self.watches.spawn(follow(Arc::clone(&self.api), Arc::clone(&self.prober), watch));
        }
    }

    /// Has these plugins and no others from now on. Versions that serve go on serving.
    pub async fn declare_plugins(&mut self, declared: Declared) {
        let Some(plugins) = &self.api.plugins else { return };
        plugins.declare(declared);
        // An agent that is shutting down registers nothing any more.
        let _ = self.api.local.send(Input::Plugins(plugins.known())).await;
        self.follow_plugins();
    }

    fn follow_plugins(&mut self) {
        self.plugin_loops = JoinSet::new();
        let Some(plugins) = &self.api.plugins else { return };
        let deps = plugin::Deps {
            plugins: Arc::clone(plugins),
            local: self.api.local.clone(),
            fetcher: Arc::clone(&self.fetcher),
        };
        for slot in plugins.slots().values() {
            self.plugin_loops.spawn(plugin::follow(deps.clone(), Arc::clone(slot)));
        }
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.api.metrics
    }

    /// Hands leadership over, lets running requests finish for a moment, stops every loop, then Raft. Returns when the
    /// disk is closed.
    pub async fn shutdown(self) {
        let consensus = self.server().map(|server| server.consensus.clone());
        let Agent { control, http: _, dns, api, watches, fetcher, plugin_loops, prober: _, running } = self;
        let Running { stop, mut tasks } = running;
        // Handlers that run are killed with their watches.
        drop((watches, plugin_loops, fetcher, api));
        if let Some(consensus) = &consensus {
            // Whoever can't hand over in time is missed for an election's time.
            let _ = tokio::time::timeout(HAND_OVER_TIMEOUT, consensus.step_down()).await;
        }
        // Nobody is listening only if every loop has ended already.
        let _ = stop.send(true);
        drop(control);
        dns.shutdown().await;
        let ended = async { while tasks.join_next().await.is_some() {} };
        // What doesn't end by itself is ended with the set.
        let _ = tokio::time::timeout(Duration::from_secs(2), ended).await;
        tasks.shutdown().await;
        if let Some(consensus) = consensus {
            consensus.shutdown().await;
        }
    }
}

/// A task that is ended when this is dropped, like those of a [`JoinSet`].
struct EndsWithUs(JoinHandle<()>);

impl EndsWithUs {
    async fn ended(mut self) {
        if let Err(error) = (&mut self.0).await
            && error.is_panic()
        {
            tracing::error!("the loop around local state broke: {error}");
        }
    }
}

impl Drop for EndsWithUs {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn listen(settings: &Settings, env: &Env) -> Result<Vec<Box<dyn Listener>>, AgentError> {
    let mut listeners = Vec::new();
    for address in &settings.http {
        let refused = |error| AgentError::Listen { what: "HTTP", address: address.clone(), error };
        unix_socket::clear_way(address).await.map_err(refused)?;
        listeners.push(env.network.listen(address).await.map_err(refused)?);
        unix_socket::hand_over(address, &settings.unix_sockets).await.map_err(refused)?;
    }
    Ok(listeners)
}

async fn keep_below(limit_bytes: u64, api: Arc<Api>, forget_dns: impl Fn(), stopped: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = stopped => {}
        () = memory::keep_below(limit_bytes, &api, forget_dns) => {}
    }
}

async fn start_dns(
    settings: &Settings,
    env: &Env,
    ground: &Ground,
    metrics: &Arc<Metrics>,
) -> Result<DnsServer, AgentError> {
    let source = match ground {
        Ground::Server(ground) => dns::Source::Here(Arc::clone(&ground.store)),
        Ground::Client(rooms) => dns::Source::Servers(Arc::new(ServersDns(Arc::clone(&rooms.servers)))),
    };
    let options = DnsOptions {
        addresses: settings.dns_addresses.clone(),
        config: settings.dns.clone(),
        datacenter: settings.identity.datacenter.clone(),
        source,
        env: env.clone(),
        metrics: Arc::clone(metrics),
        sockets_max: settings.resources.dns_sockets_max,
    };
    dns::start(options).await.map_err(AgentError::Dns)
}

/// Starts the loop around local state. Returns when every definition that was kept or configured is loaded.
async fn start_local(
    settings: &Settings,
    env: &Env,
    catalog: Arc<dyn Catalog>,
    prober: &Arc<dyn Prober>,
    running: &mut Running,
) -> Result<LocalHandle, AgentError> {
    let (local, sync) = sync::start(sync::Deps {
        env: env.clone(),
        catalog,
        prober: Arc::clone(prober),
        persist: settings.data_dir.clone().map(Persist::new),
        settings: settings.local.clone(),
        config: settings.definitions.clone(),
    })
    .await
    .map_err(AgentError::Definitions)?;
    // Nobody sees the API before: whoever asks it sees every definition.
    running.tasks.spawn(EndsWithUs(sync).ended());
    Ok(local)
}
