//! The loop that forms a cluster and cares for its servers.
//!
//! Tells the rules of [`agent_core::autopilot`] what gossip and Raft see, and
//! does what they say: one change of the membership at a time. The first leader
//! writes the settings down for all. A lone server that hears of no other
//! sleeps until it does.

mod board;

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agent_core::autopilot::{self, Autopilot, Known, Step, View};
use agent_core::gossip::Tags;
use agent_core::state::Command;
use agent_core::store::Store;
use agent_raft::{Change, Consensus, Server};

use crate::env::Env;
use crate::gossip::{self, GossipHandle};
use crate::propose::propose;
use crate::roster;
use crate::telemetry::Metrics;

pub use board::Board;

/// How often the leader looks at the other servers, and how often a change that failed is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the loop works with.
pub struct Deps {
    /// The outside world.
    pub env: Env,
    /// How the servers are changed.
    pub consensus: Consensus,
    /// Who is in the pool.
    pub gossip: GossipHandle,
    /// Who this server is in the pool.
    pub identity: gossip::Identity,
    /// How many servers form a new cluster together; zero or one when this one does alone.
    pub expect: usize,
    /// What the operator set, and where the servers' health is written down.
    pub board: Arc<Board>,
    /// The replicated state.
    pub store: Arc<Store>,
    /// Where proposals are counted.
    pub metrics: Arc<Metrics>,
    /// Told which cluster this server is a member of, once it is.
    pub cluster: Arc<OnceLock<u128>>,
}

/// What can wake the loop.
enum Event {
    Stop,
    Changed,
    Look,
}

/// Runs until `stop` resolves.
pub async fn run(deps: Deps, stop: impl Future<Output = ()>) {
    let mut autopilot = Autopilot::default();
    let mut stop = std::pin::pin!(stop);
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut warned = String::new();
    loop {
        if let Some(cluster) = deps.consensus.cluster()
            && deps.cluster.set(cluster).is_ok()
        {
            tell_pool(&deps, cluster).await;
        }
        let (leadership, known) = (deps.consensus.leadership(), deps.gossip.roster());
        let candidates = roster::servers(&known, &deps.identity.datacenter);
        if leadership.is_self {
            let ours = autopilot::of_cluster(deps.consensus.cluster(), &candidates);
            settle(&deps).await;
            care(&deps, &mut autopilot, &ours).await;
        } else {
            autopilot = Autopilot::default();
            form(&deps, &candidates, &mut warned).await;
        }
        deps.board.note(autopilot.health());
        // Alone, nothing changes by the mere passing of time.
        let has_company = candidates.len() > 1 || deps.consensus.servers().len() > 1;
        let event = tokio::select! {
            biased;
            () = &mut stop => Event::Stop,
            _ = deps.consensus.leadership_changed(&leadership) => Event::Changed,
            _ = deps.gossip.roster_changed(known.version) => Event::Changed,
            _ = look.tick(), if has_company => Event::Look,
        };
        match event {
            Event::Stop => return,
            Event::Changed | Event::Look => {}
        }
    }
}

/// Lets the other servers know which cluster this one is a member of.
async fn tell_pool(deps: &Deps, cluster: u128) {
    let identity = gossip::Identity { cluster: Some(cluster), ..deps.identity.clone() };
    match Tags::new(identity.tags()) {
        Ok(tags) => {
            if let Err(error) = deps.gossip.set_tags(tags).await {
                tracing::warn!(%error, "could not tell the pool which cluster this is");
            }
        }
        Err(error) => tracing::warn!(%error, "could not tell the pool which cluster this is"),
    }
}

/// Forms a cluster once as many servers are there as all of them expect.
async fn form(deps: &Deps, candidates: &[autopilot::Candidate], warned: &mut String) {
    if deps.expect < 2 || !deps.consensus.servers().is_empty() {
        return;
    }
    match autopilot::founders(deps.expect, candidates) {
        Ok(None) => {}
        Ok(Some(founders)) => {
            let servers: Vec<Server> = founders.iter().map(|known| server(known, true)).collect();
            match deps.consensus.bootstrap(&servers).await {
                Ok(true) => {
                    tracing::info!(servers = servers.len(), "Found expected number of peers, attempting bootstrap");
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(error = %error, "could not form a cluster"),
            }
        }
        Err(why) if why == *warned => {}
        Err(why) => {
            tracing::warn!("{why}");
            *warned = why;
        }
    }
}

/// Writes the configured settings where nobody has yet. After that only the API changes them: what the servers'
/// files say may differ from one to the next.
async fn settle(deps: &Deps) {
    if deps.store.snapshot().autopilot.is_some() {
        return;
    }
    let command = Command::Autopilot { config: Box::new(deps.board.initial().clone()), cas: Some(0) };
    if let Err(error) = propose(&deps.consensus, &deps.metrics, command).await {
        tracing::warn!(%error, "could not initialize autopilot configuration: will try again");
    }
}

/// Does what is due, step by step. A step that fails, or changes nothing, is left for the next look.
async fn care(deps: &Deps, autopilot: &mut Autopilot, known: &[Known]) {
    let mut last = None;
    loop {
        let peers = board::peers(&deps.consensus);
        let settings = deps.board.settings(&deps.store.snapshot());
        let view = View { own_id: &deps.identity.id, known, peers: &peers };
        let Some(step) = autopilot.look(deps.env.now(), &settings, view) else { return };
        if last.as_ref() == Some(&step) {
            return;
        }
        let (what, change) = match &step {
            Step::Add(known) => ("Adding server", Change::Add(server(known, false))),
            Step::Promote(id) => ("Promoting server", Change::Promote(id.clone())),
            Step::Remove(id) => ("Removing server", Change::Remove(id.clone())),
        };
        tracing::info!(change = ?change, "{what}");
        if let Err(error) = deps.consensus.change(&change).await {
            tracing::warn!(change = ?change, error = %error, "could not change the servers: will try again");
            return;
        }
        last = Some(step);
    }
}

fn server(known: &Known, voter: bool) -> Server {
    Server { id: known.id.clone(), node: known.name.clone(), address: known.address, voter }
}
