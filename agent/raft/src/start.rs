//! From a disk to a running [`Consensus`].
//!
//! Owns Raft's settings and the order of a start: read the disk, restore the
//! state, bootstrap when asked, and for a server that is alone lead before
//! anything is answered. Read `Settings` before changing a default: two of
//! openraft's own are unsafe here.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use agent_core::store::Store;
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{Fatal, RaftError};
use openraft::metrics::RaftServerMetrics;
use openraft::{RaftLogReader, ReadPolicy, SnapshotPolicy};

use crate::compaction::Meter;
use crate::consensus::{Consensus, Expired, Hold, Inner, Raft, Server, explain};
use crate::disk::Disk;
use crate::log::LogStore;
use crate::machine::Machine;
use crate::members::{ChangeError, initialize};
use crate::network::{Network, Transport};
use crate::proposals::Proposals;
use crate::snapshot::SnapshotStore;
use crate::types::{Membership, SnapshotMeta, TypeConfig, is_quorum, raft_id};

/// The time all pieces of a snapshot may take. What has arrived by then is not sent again.
const SNAPSHOT_TIMEOUT_MS: u64 = 600_000;

/// The time an only voter may take to elect itself and apply its log. Only a disk that hangs exceeds it.
const LEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// The time between two requests for a snapshot that is still due.
const SNAPSHOT_RETRY: Duration = Duration::from_millis(100);

/// Makes what a proposer decides before the log: a random id and the wall time in milliseconds since the Unix epoch.
pub type Stamp = Arc<dyn Fn() -> (u128, u64) + Send + Sync>;

/// How quickly servers notice each other's death. A server that is alone never waits for any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats; more than 4/3 of a round trip including a flush.
    pub heartbeat: Duration,
    /// The shortest time without a leader after which a server stands for election.
    pub election_min: Duration,
    /// The longest; also the leader's lease.
    pub election_max: Duration,
}

impl Default for Timing {
    /// For servers in one place: a new leader within about a second.
    fn default() -> Self {
        let millis = Duration::from_millis;
        Timing { heartbeat: millis(100), election_min: millis(300), election_max: millis(600) }
    }
}

/// What a server needs to take part.
pub struct Config {
    /// This server. Its id decides who it is in the log.
    pub server: Server,
    /// Whether to become a data centre of one if the disk knows of none.
    pub bootstrap: bool,
    /// How quickly servers notice each other's death.
    pub timing: Timing,
    /// How long a write or read waits for a leader (Consul's `rpc_hold_timeout`).
    pub hold_time: Duration,
    /// Where the log is kept.
    pub disk: Arc<dyn Disk>,
    /// How the other servers are reached.
    pub transport: Arc<dyn Transport>,
    /// Where the state is published.
    pub store: Arc<Store>,
    /// Ids and wall time for proposals.
    pub stamp: Stamp,
}

/// Why Raft did not start.
#[derive(Debug)]
pub enum StartError {
    /// The disk failed or holds what cannot be read.
    Disk(io::Error),
    /// The disk belongs to another server.
    OtherServer {
        /// The node id of the server it belongs to.
        owner: String,
        /// The node id of this one.
        id: String,
    },
    /// The settings contradict each other.
    Settings(String),
    /// Raft stopped while it started.
    Stopped(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Disk(source) => write!(f, "could not read the raft log: {source}"),
            StartError::OtherServer { owner, id } => write!(
                f,
                "the data dir belongs to node id {owner}, but this agent is {id}: set -node-id={owner}, or start with \
                 an empty -data-dir"
            ),
            StartError::Settings(why) => write!(f, "raft settings are invalid: {why}"),
            StartError::Stopped(why) => write!(f, "raft stopped while starting: {why}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<Fatal<TypeConfig>> for StartError {
    fn from(fatal: Fatal<TypeConfig>) -> Self {
        StartError::Stopped(explain(&fatal))
    }
}

impl Consensus {
    /// Restores the state from the disk and takes part in Raft.
    ///
    /// A server that is alone leads and has published everything its log holds before this returns. One that is not
    /// has published its snapshot and what it knows to be committed.
    ///
    /// # Errors
    /// [`StartError`]; the disk is closed again.
    pub async fn start(config: Config) -> Result<Consensus, StartError> {
        let disk = config.disk.clone();
        let started = start(config).await;
        if started.is_err() {
            disk.close().await;
        }
        started
    }
}

async fn start(config: Config) -> Result<Consensus, StartError> {
    let Config { server, bootstrap, timing, hold_time, disk, transport, store, stamp } = config;
    let id = raft_id(&server.id);
    let meter = Arc::new(Meter::default());
    let snapshots = SnapshotStore::load(disk.clone(), meter.clone()).await.map_err(StartError::Disk)?;
    let log = LogStore::load(disk.clone(), meter.clone()).await.map_err(StartError::Disk)?;
    let machine = Machine::new(store, snapshots);
    let reached = machine.reached();
    let settings = Arc::new(settings(timing)?);
    let network = Network { id, transport: transport.clone() };
    let raft = Raft::build(id, settings, network, log.clone(), machine).await?;

    let membership = newest_membership(&log, &reached).await.map_err(StartError::Disk)?;
    if bootstrap {
        check_owner(&membership, id, &server)?;
    }
    let is_new = membership.nodes().next().is_none();
    let alone = is_alone(&membership, id) || (is_new && bootstrap);
    if !alone || voted_for_another(&log, id).await.map_err(StartError::Disk)? {
        // A lease granted before the restart is forgotten, and its holder may still read under it: let it run out.
        if log.has_vote() {
            tokio::time::sleep(timing.election_max).await;
        }
    }
    raft.run();
    if is_new && bootstrap {
        initialize(&raft, std::slice::from_ref(&server), stamp().0).await.map_err(not_initialized)?;
    }
    if !is_new {
        show_membership(&raft).await?;
    }
    if alone {
        lead(&raft).await?;
    }
    let inner = Arc::new(Inner {
        raft,
        raft_id: id,
        server,
        timing,
        disk,
        transport,
        stamp,
        hold_time,
        lease_reads: Arc::default(),
        quorum_reads: Arc::default(),
        changing: tokio::sync::Mutex::default(),
        receiving: Mutex::default(),
        heard: Mutex::default(),
        proposals: Proposals::default(),
        alone: AtomicBool::new(alone),
        shut_down: AtomicBool::new(false),
    });
    tokio::spawn(note_lead(Arc::downgrade(&inner), inner.raft.server_metrics()));
    tokio::spawn(attend(Arc::downgrade(&inner), inner.raft.server_metrics(), meter));
    Ok(Consensus { inner })
}

/// Raft's settings. Everything not named is openraft's default.
fn settings(timing: Timing) -> Result<openraft::Config, StartError> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let settings = openraft::Config {
        cluster_name: "lictor".to_owned(),
        heartbeat_interval: millis(timing.heartbeat),
        election_timeout_min: millis(timing.election_min),
        election_timeout_max: millis(timing.election_max),
        install_snapshot_timeout: SNAPSHOT_TIMEOUT_MS,
        // A server that was cut off must not unseat a leader that works when it comes back.
        enable_pre_vote: Some(true),
        quorum_loss_probe_interval: Some(2 * millis(timing.election_max) + 100),
        // Entries are replicated before they are flushed here. A leader that crashed and took its term up again without
        // an election could write other entries under numbers that followers hold already: state machines diverge.
        enable_leader_restore: Some(false),
        // Snapshots follow the log's size in bytes, see `compaction`.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        ..openraft::Config::default()
    };
    settings.validate().map_err(|error| StartError::Settings(error.to_string()))
}

/// The membership in force: the newest in the log, committed or not, else that of the state.
async fn newest_membership(log: &LogStore, reached: &Mutex<SnapshotMeta>) -> io::Result<Membership> {
    let reached = reached.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let newer = log.newest_membership(reached.last_log_id).await?;
    Ok(newer.unwrap_or_else(|| reached.last_membership.membership().clone()))
}

/// Whether the last vote was another server's. Then this one may be the last of several, and one that was removed may not know.
async fn voted_for_another(log: &LogStore, id: u64) -> io::Result<bool> {
    let vote = log.clone().read_vote().await?;
    Ok(vote.is_some_and(|vote| vote.leader_id.voted_for != id))
}

fn is_alone(membership: &Membership, id: u64) -> bool {
    membership.nodes().count() == 1 && is_quorum(membership, id)
}

/// Refuses the log of a data centre of one that is another server's, where this one was to be one itself: it could not
/// lead. A server that joins others may well hold the first entries of a log that began with one of them.
fn check_owner(membership: &Membership, id: u64, server: &Server) -> Result<(), StartError> {
    let mut nodes = membership.nodes();
    match (nodes.next(), nodes.next()) {
        (Some((owner, node)), None) if *owner != id => {
            Err(StartError::OtherServer { owner: node.id.clone(), id: server.id.clone() })
        }
        _ => Ok(()),
    }
}

fn not_initialized(error: ChangeError) -> StartError {
    match error {
        ChangeError::Refused(why) => StartError::Settings(why),
        ChangeError::Unknown | ChangeError::NoLeader => StartError::Stopped(error.to_string()),
    }
}

/// Waits until the figures show the membership that was found: whoever asks next which cluster this is would otherwise
/// hear that it is none, and tell others so.
async fn show_membership(raft: &Raft) -> Result<(), StartError> {
    let mut metrics = raft.server_metrics();
    while metrics.borrow_and_update().membership_config.membership().nodes().next().is_none() {
        metrics.changed().await.map_err(|_| StartError::Stopped("it ended before it began".to_owned()))?;
    }
    Ok(())
}

/// Elects the only voter at once, waits until it has applied its whole log, and lets Raft's clock rest.
async fn lead(raft: &Raft) -> Result<(), StartError> {
    raft.trigger().elect(false).await?;
    let mut hold = Hold::new(LEAD_TIMEOUT);
    loop {
        match raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => break,
            Err(RaftError::Fatal(fatal)) => return Err(fatal.into()),
            Err(RaftError::APIError(error)) => {
                let why = error.to_string();
                hold.pause().await.map_err(|Expired| StartError::Stopped(why))?;
            }
        }
    }
    // Nobody else can be elected and nobody needs a heartbeat: an idle server sleeps.
    raft.runtime_config().tick(false);
    Ok(())
}

/// Asks for snapshots when they are due, finishes what a dead leader began, and ends the read shortcut when Raft stops.
async fn attend(
    inner: Weak<Inner>,
    mut metrics: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>,
    meter: Arc<Meter>,
) {
    loop {
        tokio::select! {
            biased;
            changed = metrics.changed() => match changed {
                Ok(()) => {
                    finish_change(&inner, &metrics);
                    continue;
                }
                Err(_) => break,
            },
            () = meter.due() => {}
        }
        // Raft ignores the request while it has not noticed yet that the last snapshot is done.
        while meter.is_due() {
            let Some(inner) = inner.upgrade() else { return };
            if inner.raft.trigger().snapshot().await.is_err() {
                break;
            }
            drop(inner);
            tokio::time::sleep(SNAPSHOT_RETRY).await;
        }
    }
    if let Some(inner) = inner.upgrade() {
        inner.alone.store(false, Ordering::Release);
    }
}

/// Counts the begin of leading and its end as hearing: nobody has heard a leader that was just elected, and one that no
/// longer leads has heard others until then.
async fn note_lead(inner: Weak<Inner>, mut metrics: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>) {
    let mut led = false;
    while metrics.changed().await.is_ok() {
        let Some(inner) = inner.upgrade() else { return };
        let leads = metrics.borrow_watched().current_leader == Some(inner.raft_id);
        if leads != led {
            inner.hear();
        }
        led = leads;
    }
}

/// A leader that finds the servers half-way between two sets goes the other half, unless it is at it already.
fn finish_change(inner: &Weak<Inner>, metrics: &WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>) {
    let Some(inner) = inner.upgrade() else { return };
    let is_due = {
        let metrics = metrics.borrow_watched();
        metrics.current_leader == Some(inner.raft_id)
            && metrics.membership_config.membership().get_joint_config().len() > 1
    };
    if is_due && inner.changing.try_lock().is_ok() {
        tokio::spawn(async move {
            let _one_at_a_time = inner.changing.lock().await;
            // Another leader does it if this one does not.
            inner.finish_joint().await.ok();
        });
    }
}
