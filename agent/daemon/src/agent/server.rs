//! The rooms that only a server has: the replicated state, Raft, the leader's duties, and the door for other agents.

use std::sync::{Arc, OnceLock};

use agent_core::state::State;
use agent_core::store::Store;
use agent_raft::{Consensus, Server};
use tokio::sync::mpsc;

use super::{AgentError, Running, Settings};
use crate::dns::DnsDesk;
use crate::env::{Env, ListenAddress, Listener};
use crate::gossip;
use crate::http::{self, AgentApi, ServerApi};
use crate::leader;
use crate::rpc;
use crate::servers;
use crate::sync::{Catalog, RaftCatalog};
use crate::telemetry::Metrics;

/// Session renewals on their way to the leader's timers; more wait at the sender.
const RENEWALS: usize = 1024;

/// What a server needs before Raft starts: all that can be refused by the system.
pub(super) struct Ground {
    pub(super) store: Arc<Store>,
    listener: Box<dyn Listener>,
    identity: rpc::Identity,
    pool: rpc::Pool,
    /// Empty until this server is a member of a cluster.
    cluster: Arc<OnceLock<u128>>,
}

/// A server's own rooms.
pub(super) struct Rooms {
    ground: Ground,
    consensus: Consensus,
    catalog: Arc<dyn Catalog>,
}

impl Ground {
    pub(super) async fn open(settings: &Settings, env: &Env) -> Result<Ground, AgentError> {
        let address = ListenAddress::Tcp(settings.rpc_bind);
        let listening = env.network.listen(&address).await;
        let listener = listening.map_err(|error| AgentError::Listen { what: "RPC", address, error })?;
        let cluster = Arc::<OnceLock<u128>>::default();
        let known = Arc::clone(&cluster);
        let identity = rpc::Identity {
            datacenter: settings.identity.datacenter.clone(),
            node: settings.identity.node_name.clone(),
            cluster: Arc::new(move || known.get().copied()),
        };
        let pool = rpc::Pool::new(env.clone(), identity.clone());
        Ok(Ground { store: Arc::new(Store::new(State::default())), listener, identity, pool, cluster })
    }

    /// Recovers what is on the disk and starts Raft.
    pub(super) async fn settle(
        self,
        settings: &Settings,
        env: &Env,
        metrics: &Arc<Metrics>,
    ) -> Result<Rooms, AgentError> {
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
            hold_time: settings.hold_time,
            disk,
            transport: Arc::new(rpc::RpcTransport::new(self.pool.clone().counting(Arc::clone(metrics)))),
            store: Arc::clone(&self.store),
            stamp: Arc::new(move || {
                let id = (u128::from(stamping.random.u64()) << 64) | u128::from(stamping.random.u64());
                (id, stamping.clock.wall_ms())
            }),
        };
        let consensus = Consensus::start(config).await.map_err(AgentError::Raft)?;
        if let Some(known) = consensus.cluster() {
            // Empty until here.
            let _ = self.cluster.set(known);
        }
        let (store, metrics) = (Arc::clone(&self.store), Arc::clone(metrics));
        let catalog = Arc::new(RaftCatalog { consensus: consensus.clone(), store, metrics });
        Ok(Rooms { ground: self, consensus, catalog })
    }
}

impl Rooms {
    pub(super) fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.catalog)
    }

    /// The cluster this server was a member of before it stopped.
    pub(super) fn cluster(&self) -> Option<u128> {
        self.consensus.cluster()
    }

    /// Starts the duties of a server, and answers other agents.
    pub(super) fn start(
        self,
        agent: AgentApi,
        settings: &Settings,
        who: gossip::Identity,
        running: &mut Running,
    ) -> Arc<ServerApi> {
        let Rooms { ground: Ground { store, listener, identity, pool, cluster }, consensus, catalog } = self;
        let (renewed, renewals) = mpsc::channel(RENEWALS);
        let duties = leader::Deps {
            env: agent.env.clone(),
            store: Arc::clone(&store),
            consensus: consensus.clone(),
            own_name: settings.identity.node_name.clone(),
            datacenter: settings.identity.datacenter.clone(),
            gossip: agent.gossip.clone(),
            renewed: renewals,
            metrics: Arc::clone(&agent.metrics),
        };
        running.tasks.spawn(leader::run(duties, running.until_stopped()));
        let board = Arc::new(servers::Board::new(settings.autopilot.clone(), settings.timing.heartbeat));
        let care = servers::Deps {
            env: agent.env.clone(),
            consensus: consensus.clone(),
            gossip: agent.gossip.clone(),
            identity: who,
            expect: settings.expect,
            board: Arc::clone(&board),
            store: Arc::clone(&store),
            metrics: Arc::clone(&agent.metrics),
            cluster,
        };
        running.tasks.spawn(servers::run(care, running.until_stopped()));
        let encoded = http::Encoded::default();
        let api =
            Arc::new(ServerApi { agent, store, consensus: consensus.clone(), servers: pool, encoded, renewed, board });
        let dns = DnsDesk::new(Arc::clone(&api.store), &api.identity.datacenter, api.env.clone());
        let desk = rpc::forward::ServerDesk { consensus, api: Arc::clone(&api), catalog, dns };
        let counts = Arc::new(rpc::Counts::default());
        let serving = rpc::serve(listener, identity, Arc::new(desk), counts, running.until_stopped());
        running.tasks.spawn(serving);
        api
    }
}
