//! The composition root: builds every room, wires them, and takes them down in order.
//!
//! The only place that knows all of them. Sockets are bound before anything
//! starts, so what can't work fails early and by name. [`command`] is the
//! process around it (flags, signals, exit code); the simulator calls
//! [`Agent::start`] directly.

mod banner;
pub mod command;
pub mod settings;
#[cfg(test)]
mod tests;
mod unix_socket;

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agent_core::local::Input;
use agent_core::state::State;
use agent_core::store::Store;
use agent_raft::disk::open::OpenError;
use agent_raft::{Consensus, Server, StartError};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::checks::Prober;
use crate::control::{self, Control};
use crate::dns::{self, DnsOptions, DnsServer};
use crate::env::{Env, ListenAddress, Listener};
use crate::gossip::{self, GossipHandle};
use crate::http::{self, Api};
use crate::leader;
use crate::persist::Persist;
use crate::rpc;
use crate::servers;
use crate::sync::{self, LocalHandle, RaftCatalog};
use crate::telemetry::{LogStream, Metrics};
use crate::watch::Watch;
use crate::watch::follow::follow;

pub use settings::Settings;

/// Session renewals on their way to the leader's timers; more wait at the sender.
const RENEWALS: usize = 1024;

/// How long a write or read waits for a leader (Consul's `performance.rpc_hold_timeout`).
const HOLD_TIME: Duration = Duration::from_secs(7);

/// The parts of the outside world that are not in [`Env`], because only the agent as a whole uses them.
pub struct Parts {
    /// What runs health checks.
    pub prober: Arc<dyn Prober>,
    /// The log of the process, for those who follow it.
    pub log: Option<LogStream>,
}

/// A running agent. Dropping it ends every task at once, as a crash would.
pub struct Agent {
    /// What the API asks of the agent as a whole.
    pub control: mpsc::Receiver<Control>,
    http: Vec<ListenAddress>,
    dns: DnsServer,
    store: Arc<Store>,
    consensus: Consensus,
    local: LocalHandle,
    gossip: GossipHandle,
    metrics: Arc<Metrics>,
    api: Arc<Api>,
    prober: Arc<dyn Prober>,
    watches: JoinSet<()>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

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
        }
    }
}

impl std::error::Error for AgentError {}

impl Agent {
    /// Binds, recovers, starts.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn start(mut settings: Settings, env: Env, parts: Parts) -> Result<Agent, AgentError> {
        let listeners = listen(&settings, &env).await?;
        let bound = gossip::bind(&env, settings.gossip.bind).await.map_err(AgentError::Gossip)?;
        let store = Arc::new(Store::new(State::default()));
        let naming = settings.metrics.clone();
        let metrics = Arc::new(Metrics::new(Arc::clone(&env.clock), naming, http::routes::names()));
        let dns = start_dns(&settings, &env, &store, &metrics).await?;
        let rpc_listener = listen_for_rpc(&settings, &env).await?;
        let cluster = Arc::new(OnceLock::new());
        let identity = rpc_identity(&settings, &cluster);
        let pool = rpc::Pool::new(env.clone(), identity.clone());
        let consensus = start_raft(&settings, &env, &store, pool.clone()).await?;

        let mut tasks = JoinSet::new();
        let (stop, stopped) = watch::channel(false);
        let (local, sync) = sync::start(sync::Deps {
            env: env.clone(),
            catalog: Arc::new(RaftCatalog {
                consensus: consensus.clone(),
                store: Arc::clone(&store),
                metrics: Arc::clone(&metrics),
            }),
            prober: Arc::clone(&parts.prober),
            persist: settings.data_dir.map(Persist::new),
            settings: settings.local,
            config: settings.definitions,
        });
        // The loop takes no input before it has loaded: whoever asks the API sees every definition.
        if let Err(error) = local.send(Input::Tick).await {
            tracing::error!("the loop around local state did not start: {error}");
        }
        let sync = EndsWithUs(sync);
        tasks.spawn(sync.ended());
        let registered = local.clone();
        if let Some(known) = consensus.cluster() {
            settings.gossip.identity.cluster = Some(known);
            // Empty until here.
            let _ = cluster.set(known);
        }
        let who = settings.gossip.identity.clone();
        let lan = gossip::Deps {
            env: env.clone(),
            settings: settings.gossip,
            bound,
            local: Box::new(move || registered.view()),
        };
        let gossip = gossip::start(lan, &mut tasks, &stopped).await.map_err(AgentError::Gossip)?;

        let (renewed, renewals) = mpsc::channel(RENEWALS);
        let duties = leader::Deps {
            env: env.clone(),
            store: Arc::clone(&store),
            consensus: consensus.clone(),
            own_name: settings.identity.node_name.clone(),
            datacenter: settings.identity.datacenter.clone(),
            gossip: gossip.clone(),
            renewed: renewals,
            metrics: Arc::clone(&metrics),
        };
        tasks.spawn(leader::run(duties, until(stopped.clone())));
        let care = servers::Deps {
            env: env.clone(),
            consensus: consensus.clone(),
            gossip: gossip.clone(),
            identity: who,
            expect: settings.expect,
            settings: settings.autopilot,
            cluster,
        };
        tasks.spawn(servers::run(care, until(stopped.clone())));

        let (door, control) = control::channel();
        let api = Arc::new(Api {
            store: Arc::clone(&store),
            consensus: consensus.clone(),
            env,
            identity: settings.identity,
            limits: settings.limits,
            local: local.clone(),
            gossip: gossip.clone(),
            control: door,
            metrics: Arc::clone(&metrics),
            log: parts.log,
            servers: pool,
            encoded: http::Encoded::default(),
            renewed,
        });
        let for_clients = dns::DnsDesk::new(Arc::clone(&store), &api.identity.datacenter, api.env.clone());
        let desk = rpc::forward::ServerDesk { consensus: consensus.clone(), api: Arc::clone(&api), dns: for_clients };
        let counts = Arc::new(rpc::Counts::default());
        tasks.spawn(rpc::serve(rpc_listener, identity, Arc::new(desk), counts, until(stopped.clone())));
        let http = listeners.iter().map(|listener| listener.local_address()).collect();
        for listener in listeners {
            tasks.spawn(http::server::serve(listener, Arc::clone(&api), until(stopped.clone())));
        }
        let (prober, watches) = (parts.prober, JoinSet::new());
        Ok(Agent { control, http, dns, store, consensus, local, gossip, metrics, api, prober, watches, stop, tasks })
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
        &self.local
    }

    /// The LAN pool.
    pub fn gossip(&self) -> &GossipHandle {
        &self.gossip
    }

    /// The replicated state as this agent sees it.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The consensus handle.
    pub fn consensus(&self) -> &Consensus {
        &self.consensus
    }

    /// Follows these watches and no others from now on.
    pub fn watch(&mut self, watches: Vec<Watch>) {
        self.watches = JoinSet::new();
        for watch in watches {
            self.watches.spawn(follow(Arc::clone(&self.api), Arc::clone(&self.prober), watch));
        }
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Lets running requests finish for a moment, stops every loop, then Raft. Returns when the disk is closed.
    pub async fn shutdown(self) {
        let Agent { control, http: _, dns, consensus, local, gossip, api, watches, stop, mut tasks, .. } = self;
        // Handlers that run are killed with their watches.
        drop((watches, api));
        // Nobody is listening only if every loop has ended already.
        let _ = stop.send(true);
        drop((control, local, gossip));
        dns.shutdown().await;
        let ended = async { while tasks.join_next().await.is_some() {} };
        // What doesn't end by itself is ended with the set.
        let _ = tokio::time::timeout(Duration::from_secs(2), ended).await;
        tasks.shutdown().await;
        consensus.shutdown().await;
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

/// Resolves when the agent is told to stop, or was dropped.
async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the agent is gone: that is a reason to stop, too.
    let _ = stopped.wait_for(|stop| *stop).await;
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

async fn start_dns(
    settings: &Settings,
    env: &Env,
    store: &Arc<Store>,
    metrics: &Arc<Metrics>,
) -> Result<DnsServer, AgentError> {
    let options = DnsOptions {
        addresses: settings.dns_addresses.clone(),
        config: settings.dns.clone(),
        datacenter: settings.identity.datacenter.clone(),
        source: dns::Source::Here(Arc::clone(store)),
        env: env.clone(),
        metrics: Arc::clone(metrics),
    };
    dns::start(options).await.map_err(AgentError::Dns)
}

async fn listen_for_rpc(settings: &Settings, env: &Env) -> Result<Box<dyn Listener>, AgentError> {
    let address = ListenAddress::Tcp(settings.rpc_bind);
    let listening = env.network.listen(&address).await;
    listening.map_err(|error| AgentError::Listen { what: "RPC", address, error })
}

/// Who this server is to others. `cluster` is empty until it is a member of one.
fn rpc_identity(settings: &Settings, cluster: &Arc<OnceLock<u128>>) -> rpc::Identity {
    let cluster = Arc::clone(cluster);
    rpc::Identity {
        datacenter: settings.identity.datacenter.clone(),
        node: settings.identity.node_name.clone(),
        cluster: Arc::new(move || cluster.get().copied()),
    }
}

async fn start_raft(
    settings: &Settings,
    env: &Env,
    store: &Arc<Store>,
    pool: rpc::Pool,
) -> Result<Consensus, AgentError> {
    let disk = env.disks.open(settings.data_dir.as_deref()).await.map_err(AgentError::Disk)?;
    let identity = &settings.identity;
    let stamping = env.clone();
    let config = agent_raft::Config {
        server: Server {
            id: identity.node_id.clone(),
            node: identity.node_name.clone(),
            address: settings.rpc_address,
            voter: true,
        },
        bootstrap: settings.elects_itself,
        timing: settings.timing,
        hold_time: HOLD_TIME,
        disk,
        transport: Arc::new(rpc::RpcTransport::new(pool)),
        store: Arc::clone(store),
        stamp: Arc::new(move || {
            let id = (u128::from(stamping.random.u64()) << 64) | u128::from(stamping.random.u64());
            (id, stamping.clock.wall_ms())
        }),
    };
    Consensus::start(config).await.map_err(AgentError::Raft)
}
