//! The rooms that only a client has: the servers it knows.

use std::sync::Arc;

use super::{Running, Settings};
use crate::client::{self, Servers, ServersCatalog};
use crate::env::Env;
use crate::http::{AgentApi, ClientApi};
use crate::rpc;
use crate::sync::Catalog;
use crate::telemetry::Metrics;

/// A client's own rooms.
pub(super) struct Rooms {
    pub(super) servers: Arc<Servers>,
}

impl Rooms {
    pub(super) fn open(settings: &Settings, env: &Env, metrics: &Arc<Metrics>) -> Rooms {
        let identity = rpc::Identity {
            datacenter: settings.identity.datacenter.clone(),
            node: settings.identity.node_name.clone(),
            cluster: Arc::new(|| None),
        };
        let pool = rpc::Pool::new(env.clone(), identity).counting(Arc::clone(metrics));
        Rooms {
            servers: Servers::new(
                env.clone(),
                pool,
                Arc::clone(metrics),
                settings.hold_time,
                settings.resources.seen_bytes_max,
            ),
        }
    }

    pub(super) fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::new(ServersCatalog(Arc::clone(&self.servers)))
    }

    /// Follows the servers in the pool.
    pub(super) fn start(self, agent: AgentApi, running: &mut Running) -> Arc<ClientApi> {
        let Rooms { servers } = self;
        let (pool, datacenter) = (agent.gossip.clone(), agent.identity.datacenter.clone());
        running.tasks.spawn(client::run(Arc::clone(&servers), pool, datacenter, running.until_stopped()));
        Arc::new(ClientApi { agent, servers })
    }
}
