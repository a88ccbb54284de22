//! The HTTP API, on hyper, in Consul's manner.
//!
//! [`routes`] is the table of every endpoint; [`server`] reads requests off
//! sockets; [`query`] holds what reads have in common (consistency, blocking);
//! the families are one file each. [`handle`] is the whole API without sockets.

mod acl;
mod agent_check;
mod agent_health;
mod agent_plugin;
mod agent_pool;
mod agent_process;
mod agent_self;
mod agent_service;
pub mod agent_verdict;
pub mod authorize;
mod autopilot;
mod autopilot_body;
mod catalog;
pub mod catalog_body;
pub mod catalog_listing;
mod catalog_write;
mod coordinate;
pub mod decode;
mod encoded;
pub mod error;
mod event;
mod health;
pub mod json;
mod keyring;
mod kv;
mod operator;
pub mod path;
pub mod plugin;
pub mod plugin_view;
pub mod query;
pub mod request;
mod request_line;
pub mod response;
pub mod routes;
pub mod server;
mod session;
mod status;
#[cfg(test)]
mod story_tests;
mod txn;
pub mod txn_body;
pub mod view;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use agent_core::plugin::signature::PublicKey;
use agent_core::state::tables::SessionId;
use agent_core::state::{Applied, Command, Reply};
use agent_core::store::Store;
use agent_raft::Consensus;
use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::client::Servers;
use crate::config::Network;
use crate::control::ControlHandle;
use crate::env::Env;
use crate::gossip::GossipHandle;
use crate::plugin::Plugins;
use crate::propose::propose;
use crate::rpc::{Head, HttpHead, Pool};
use crate::servers::Board;
use crate::shedding::Shedding;
use crate::sync::LocalHandle;
use crate::telemetry::{LogStream, Metrics};

pub use encoded::{Encoded, key as question_of};
pub use error::ApiError;
pub use request::Request;
pub use response::Response;

/// The Consul version whose API this is: what clients look at to decide what they may use.
pub const API_VERSION: &str = "1.8.7";

/// Who this agent is.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The data centre.
    pub datacenter: String,
    /// The node name.
    pub node_name: String,
    /// The node id: a UUID in text form.
    pub node_id: String,
    /// The address others reach it at.
    pub address: String,
    /// The port of its servers' RPC.
    pub rpc_port: u16,
    /// The port of LAN gossip.
    pub serf_port: u16,
    /// Whether it is a server.
    pub server: bool,
    /// Whether it may elect itself.
    pub bootstrap: bool,
}

/// Bounds and habits that configuration sets.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest value of a key, in bytes.
    pub kv_value_bytes_max: usize,
    /// The largest body of a transaction, in bytes.
    pub txn_bytes_max: usize,
    /// The largest buffer of a connection, which bounds a request's line and headers, in bytes.
    pub buffer_bytes_max: usize,
    /// How long a blocking query waits when it does not say, in milliseconds.
    pub wait_default_ms: u64,
    /// The longest a blocking query may wait, in milliseconds.
    pub wait_max_ms: u64,
    /// The shortest session TTL, in milliseconds.
    pub session_ttl_min_ms: u64,
    /// Print JSON with indentation even when not asked to (`-dev`).
    pub pretty: bool,
    /// Headers added to every response (`http_config.response_headers`).
    pub response_headers: BTreeMap<String, String>,
    /// Path prefixes that answer 403 (`http_config.block_endpoints`).
    pub blocked: Vec<String>,
    /// Where requests that may change something come from (`http_config.allow_write_http_from`); empty for anywhere.
    pub writers: Vec<Network>,
    /// Whose plugins are published (`plugin_trust`); empty for anybody's.
    pub plugin_trust: Vec<PublicKey>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            kv_value_bytes_max: agent_core::state::kv::VALUE_BYTES_MAX,
            txn_bytes_max: agent_core::state::kv::VALUE_BYTES_MAX,
            buffer_bytes_max: 16 << 10,
            wait_default_ms: 300_000,
            wait_max_ms: 600_000,
            session_ttl_min_ms: 10_000,
            pretty: false,
            response_headers: BTreeMap::new(),
            blocked: Vec::new(),
            writers: Vec::new(),
            plugin_trust: Vec::new(),
        }
    }
}

/// What a reload may change of this agent, as far as the API shows or minds it.
#[derive(Clone, Debug)]
pub struct Adjustable {
    /// The node's metadata.
    pub meta: BTreeMap<String, String>,
    /// Connections of one client address at a time.
    pub connections_per_client_max: usize,
}

impl Default for Adjustable {
    fn default() -> Self {
        Adjustable { meta: BTreeMap::new(), connections_per_client_max: 200 }
    }
}

/// What every agent answers with: itself, and the pool it is a member of.
pub struct AgentApi {
    /// The outside world.
    pub env: Env,
    /// Who this agent is.
    pub identity: Identity,
    /// Bounds and habits.
    pub limits: Limits,
    /// What may change while the agent runs.
    pub adjustable: ArcSwap<Adjustable>,
    /// What this agent registered.
    pub local: LocalHandle,
    /// The LAN pool.
    pub gossip: GossipHandle,
    /// What the agent does as a whole.
    pub control: ControlHandle,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// The plugins of this agent; `None` where there can't be any (the simulator).
    pub plugins: Option<Arc<Plugins>>,
    /// The log to follow; `None` where the process has none of its own (the simulator).
    pub log: Option<LogStream>,
    /// What is given up for want of memory.
    pub shedding: Shedding,
}

/// What a server answers with beside that: the replicated state.
pub struct ServerApi {
    /// What it has in common with clients.
    pub agent: AgentApi,
    /// The replicated state.
    pub store: Arc<Store>,
    /// How it is changed.
    pub consensus: Consensus,
    /// Reaches the other servers.
    pub servers: Pool,
    /// Answers that many ask for.
    pub encoded: Encoded,
    /// Tells the leader's timers that a session was renewed.
    pub renewed: mpsc::Sender<SessionId>,
    /// How the leader cares for the servers.
    pub board: Arc<Board>,
}

/// What a client answers with beside that: servers that know more.
pub struct ClientApi {
    /// What it has in common with servers.
    pub agent: AgentApi,
    /// Whom it asks.
    pub servers: Arc<Servers>,
}

/// Everything a handler may touch, by what the agent is.
pub enum Api {
    /// A server.
    Server(Arc<ServerApi>),
    /// A client, which has servers answer whatever is not about itself.
    Client(Arc<ClientApi>),
}

impl Api {
    /// Forgets what was kept to be quicker, or for the time without servers.
    pub fn forget(&self) {
        match self {
            Api::Server(server) => server.encoded.clear(),
            Api::Client(client) => client.servers.forget(),
        }
    }
}

impl Deref for Api {
    type Target = AgentApi;

    fn deref(&self) -> &AgentApi {
        match self {
            Api::Server(server) => &server.agent,
            Api::Client(client) => &client.agent,
        }
    }
}

impl Deref for ServerApi {
    type Target = AgentApi;

    fn deref(&self) -> &AgentApi {
        &self.agent
    }
}

impl Deref for ClientApi {
    type Target = AgentApi;

    fn deref(&self) -> &AgentApi {
        &self.agent
    }
}

impl ServerApi {
    /// Proposes a command and waits for its result. A refusal becomes Consul's error.
    ///
    /// # Errors
    /// No leader, Raft has stopped, or the command was refused; only the last promises that nothing was written.
    pub async fn write(&self, command: Command) -> Result<Applied, ApiError> {
        let applied = propose(&self.consensus, &self.metrics, command).await;
        let applied = applied.map_err(|error| ApiError::internal(error.to_string()))?;
        match &applied.reply {
            Reply::Refused(refusal) => Err(ApiError::internal(refusal.to_string())),
            Reply::Done | Reply::Bool(_) | Reply::Txn(_) | Reply::TxnRefused(_) => Ok(applied),
        }
    }
}

/// Has the leader answer, where it is another server. `None` when it is this one, or nobody.
///
/// # Errors
/// The leader could not be reached.
async fn by_leader(api: &ServerApi, request: &Request) -> Option<Result<Response, ApiError>> {
    let leadership = api.consensus.leadership();
    let leader = leadership.leader.filter(|_| !leadership.is_self)?;
    let head = Head::Http(HttpHead::of(request, &api.identity.node_name));
    let answer = api.servers.forward_http(leader.address, &head, request.body.clone()).await;
    Some(answer.map_err(|error| ApiError::internal(format!("rpc error making call: {error}"))))
}

/// Answers one request.
pub async fn handle(api: &Api, mut request: Request) -> Response {
    respond(api, &mut request).await
}

/// Answers one request that the caller keeps: the future of a query that waits stays small.
pub async fn respond(api: &Api, request: &mut Request) -> Response {
    let started = tokio::time::Instant::now();
    let (mut response, route) = routes::dispatch(api, request).await;
    for (name, value) in &api.limits.response_headers {
        response.set_header(name, value);
    }
    let ms = started.elapsed().as_secs_f64() * 1000.0;
    api.metrics.http(&request.method, route, ms);
    tracing::debug!(method = %request.method, url = %request.shown_url(), from = %request.shown_peer(), latency = %format!("{ms:.3}ms"), "Request finished");
    response
}

/// Answers a request that another agent passed on, which did already what an agent does to requests that come in.
pub async fn respond_to_agent(api: &ServerApi, mut request: Request) -> Response {
    if let Err(error) = api.shedding.admit(&request) {
        return error.last_response();
    }
    api.shedding.came_in(request.body.len() as u64);
    match api.shedding.may_let_go(&request) {
        true => api.shedding.or_let_go(routes::dispatch_for_agent(api, &mut request)).await,
        false => routes::dispatch_for_agent(api, &mut request).await,
    }
}

#[cfg(test)]
mod tests;
