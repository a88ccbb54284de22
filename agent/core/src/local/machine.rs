//! The machine of local state: what it is told, what it holds, and the step.
//!
//! Holds the state and dispatches; the rules are in the sibling files.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::anti_entropy::{Pending, Remote};
use super::cadence::{Cadence, part};
use super::input::{Input, LogLine, Output, Plugins, Refusal, TtlState};
use super::timers::Timers;
use super::view::LocalView;
use crate::Instant;
use crate::health::schedule::Schedule;
use crate::health::streak::Streak;
use crate::health::text::OUTPUT_BYTES_MAX;
use crate::state::tables::{CheckId, Node, NodeName, ServiceId, Status};

/// Who may define script checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptPolicy {
    /// Configuration files may (`enable_local_script_checks` or `enable_script_checks`).
    pub from_config: bool,
    /// The HTTP API may (`enable_script_checks`).
    pub from_api: bool,
}

/// What the machine is told when it is made; [`Input::Adjust`] and [`Input::Plugins`] change some of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's record as it goes to the catalog; indexes are ignored.
    pub node: Node,
    /// Who may define script checks.
    pub scripts: ScriptPolicy,
    /// The plugins that checks may name.
    pub plugins: Plugins,
    /// How long a change of output alone may wait before it goes to the catalog; zero for at once. Consul's default is five minutes.
    pub check_update_interval: Duration,
    /// Keep no output at all (`discard_check_output`).
    pub discard_check_output: bool,
    /// Longest output of a check that names no limit of its own (`check_output_max_size`), in bytes.
    pub output_bytes_max: usize,
    /// Time between full comparisons with the catalog, before the random part (`-dev` and tests may shorten it).
    pub sync_interval: Duration,
    /// Where the machine's own random choices start from: spreads first runs and syncs.
    pub seed: u64,
}

impl Settings {
    /// Consul's defaults for a node.
    pub fn new(node: Node, seed: u64) -> Self {
        Settings {
            node,
            scripts: ScriptPolicy::default(),
            plugins: Plugins::new(),
            check_update_interval: Duration::from_secs(300),
            discard_check_output: false,
            output_bytes_max: OUTPUT_BYTES_MAX,
            sync_interval: Duration::from_secs(60),
            seed,
        }
    }
}

/// What the machine remembers of a check beside its record.
#[derive(Debug, Default)]
pub(super) struct Track {
    pub(super) streak: Streak,
    /// Since when it has been critical by a result, not by default.
    pub(super) critical_since: Option<Instant>,
    /// The latest note of a TTL check.
    pub(super) note: String,
    /// The status that a probe of it was last logged with.
    pub(super) logged: Option<Status>,
}

/// Everything this agent registered.
#[derive(Debug)]
pub struct Local {
    pub(super) settings: Settings,
    pub(super) view: LocalView,
    pub(super) tracks: BTreeMap<CheckId, Track>,
    pub(super) schedule: Schedule,
    pub(super) timers: Timers,
    pub(super) cadence: Cadence,
    /// What the catalog does not have yet, as far as known.
    pub(super) pending: Pending,
    /// Alias checks.
    pub(super) aliases: BTreeSet<CheckId>,
    /// The catalog's records of nodes that alias checks mirror.
    pub(super) mirrored: BTreeMap<NodeName, Remote>,
    /// Nodes that alias checks mirror, as last told.
    pub(super) watched: BTreeSet<NodeName>,
    /// Services (empty for the node) and nodes of which something changed that aliases may mirror.
    pub(super) touched: BTreeSet<(NodeName, ServiceId)>,
    /// Results of TTL checks from an earlier life, until their checks are registered.
    pub(super) restored: BTreeMap<CheckId, TtlState>,
    seed: u64,
    out: Vec<Output>,
}

impl Local {
    /// An agent that registered nothing yet.
    pub fn new(settings: Settings) -> Self {
        Local {
            view: LocalView::default(),
            tracks: BTreeMap::new(),
            schedule: Schedule::default(),
            timers: Timers::default(),
            cadence: Cadence::new(settings.sync_interval),
            pending: Pending::default(),
            aliases: BTreeSet::new(),
            mirrored: BTreeMap::new(),
            watched: BTreeSet::new(),
            touched: BTreeSet::new(),
            restored: BTreeMap::new(),
            seed: settings.seed,
            out: Vec::new(),
            settings,
        }
    }

    /// The current snapshot.
    pub fn view(&self) -> &LocalView {
        &self.view
    }

    /// This node's name.
    pub fn node_name(&self) -> &str {
        &self.settings.node.name
    }

    /// Takes one input and says what should be done.
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Output> {
        match input {
            Input::Load { config, persisted } => {
                let result = self.load(now, config, persisted);
                self.reply(result);
            }
            Input::Reload(definitions) => {
                let result = self.reload(now, definitions);
                self.reply(result);
            }
            Input::AddService { spec, source, replace_existing_checks } => {
                let result = self.add_service(now, *spec, source, replace_existing_checks);
                self.reply(result);
            }
            Input::AddCheck { spec, source } => {
                let result = self.add_check(now, *spec, source);
                self.reply(result);
            }
            Input::RemoveService { id } => {
                self.remove_service(&id);
                self.reply(Ok(()));
            }
            Input::RemoveCheck { id } => {
                self.remove_check(&id);
                self.reply(Ok(()));
            }
            Input::TtlUpdate { id, status, output } => {
                let result = self.ttl_update(now, &id, status, output);
                self.reply(result);
            }
            Input::NodeMaintenance { enable, reason } => {
                let result = self.node_maintenance(now, enable, reason);
                self.reply(result);
            }
            Input::ServiceMaintenance { id, enable, reason } => {
                let result = self.service_maintenance(now, &id, enable, reason);
                self.reply(result);
            }
            Input::ProbeDone { id, run, outcome } => self.probe_done(now, &id, run, outcome),
            Input::AliasNode { node, remote } => self.alias_node(node, *remote),
            Input::Plugins(plugins) => {
                self.settings.plugins = plugins;
                self.reply(Ok(()));
            }
            Input::Adjust { node_meta, discard_check_output } => {
                self.settings.discard_check_output = discard_check_output;
                self.set_node_meta(node_meta);
                self.reply(Ok(()));
            }
            Input::ClusterSize(members) => self.cadence.set_cluster_size(members),
            Input::ServersChanged => self.servers_changed(now),
            Input::RemoteView(remote) => self.remote_view(now, remote),
            Input::SyncDone { id, results } => self.sync_done(now, id, results),
            Input::Tick => {}
        }
        self.settle(now);
        std::mem::take(&mut self.out)
    }

    /// When to step with [`Input::Tick`] at the latest, and why.
    pub fn deadline(&self) -> Option<(Instant, &'static str)> {
        let runs = self.schedule.deadline().map(|at| (at, "a check runs"));
        [runs, self.timers.deadline(), self.cadence.deadline()].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    pub(super) fn emit(&mut self, output: Output) {
        self.out.push(output);
    }

    pub(super) fn log(&mut self, line: LogLine) {
        self.emit(Output::Log(line));
    }

    fn reply(&mut self, result: Result<(), Refusal>) {
        self.emit(Output::Reply(result));
    }

    /// Notes that the view differs from what was published.
    pub(super) fn changed(&mut self) {
        self.view.version += 1;
    }

    /// A random time from zero up to `span`.
    pub(super) fn draw(&mut self, span: Duration) -> Duration {
        let random = self.random();
        part(span, random)
    }

    /// The next number of the machine's own sequence (SplitMix64).
    pub(super) fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.seed;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }
}
