//! What the machine of local state accepts, what it wants done, and how it refuses.
//!
//! Owns only the types. Refusals carry Consul's words, because clients match on them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::anti_entropy::Remote;
use super::view::Source;
use crate::health::spec::{CheckSpec, Outcome, ServiceSpec};
use crate::plugin::Schema;
use crate::state::Command;
use crate::state::tables::{CheckId, NodeName, ServiceId, Status};

/// Names one run of a check, so that a late result of an earlier run is not taken for the current one.
pub type RunId = u64;

/// Names one batch of catalog writes.
pub type SyncId = u64;

/// Services and checks from configuration files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definitions {
    /// Services with their checks.
    pub services: Vec<ServiceSpec>,
    /// Checks defined on their own.
    pub checks: Vec<CheckSpec>,
}

/// What an earlier life of this agent kept in its data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Persisted {
    /// Services registered over HTTP, without their checks.
    pub services: Vec<ServiceSpec>,
    /// Checks registered over HTTP.
    pub checks: Vec<CheckSpec>,
    /// Results of TTL checks that have not expired meanwhile.
    pub ttl: BTreeMap<CheckId, TtlState>,
}

/// The latest word of a TTL check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TtlState {
    /// The status it was given.
    pub status: Status,
    /// The note that came with it.
    pub output: String,
}

/// The plugins that the agent's configuration declares, with what the version that serves takes for a config; `None` while none does.
pub type Plugins = BTreeMap<String, Option<Arc<Schema>>>;

/// What can happen to local state. Those marked *replies* yield exactly one [`Output::Reply`].
#[derive(Clone, Debug)]
pub enum Input {
    /// The agent starts: definitions from files, and what was persisted. The files win over persisted records of the same id.
    /// *Replies* with the first refusal; what was not refused is registered.
    Load {
        /// From configuration files.
        config: Definitions,
        /// From the data directory.
        persisted: Persisted,
    },
    /// The configuration was read again. Services and checks of the API stay, those of files are replaced; statuses are kept.
    /// *Replies* with the first refusal; what was not refused is registered.
    Reload(Definitions),
    /// Registers a service with its checks, or replaces it. Checks that exist keep their status. *Replies.*
    AddService {
        /// The definition.
        spec: Box<ServiceSpec>,
        /// Who defines it.
        source: Source,
        /// Whether checks of the service that are not in `spec` go away.
        replace_existing_checks: bool,
    },
    /// Removes a service and its checks; one that is not there is no error, as in Consul. *Replies.*
    RemoveService {
        /// The service.
        id: ServiceId,
    },
    /// Registers a check, or replaces it. *Replies.*
    AddCheck {
        /// The definition.
        spec: Box<CheckSpec>,
        /// Who defines it.
        source: Source,
    },
    /// Removes a check; one that is not there is no error, as in Consul. *Replies.*
    RemoveCheck {
        /// The check.
        id: CheckId,
    },
    /// A client speaks for a TTL check. *Replies.*
    TtlUpdate {
        /// The check.
        id: CheckId,
        /// What it is now.
        status: Status,
        /// The note.
        output: String,
    },
    /// Takes the node out of service or back. *Replies.*
    NodeMaintenance {
        /// Out of service.
        enable: bool,
        /// Why, empty for Consul's default text.
        reason: String,
    },
    /// Takes a service out of service or back. *Replies.*
    ServiceMaintenance {
        /// The service.
        id: ServiceId,
        /// Out of service.
        enable: bool,
        /// Why, empty for Consul's default text.
        reason: String,
    },
    /// A run ended.
    ProbeDone {
        /// The check.
        id: CheckId,
        /// The run.
        run: RunId,
        /// What it found.
        outcome: Outcome,
    },
    /// The catalog's records of a node that alias checks mirror.
    AliasNode {
        /// The node, as the alias check names it.
        node: NodeName,
        /// Its records.
        remote: Box<Remote>,
    },
    /// Settings that may change while the agent runs. Checks keep the output they have. *Replies.*
    Adjust {
        /// The node's metadata.
        node_meta: BTreeMap<String, String>,
        /// Keep no output at all from now on.
        discard_check_output: bool,
    },
    /// Which plugins the agent has from now on. Checks that are registered already stay. *Replies.*
    Plugins(Plugins),
    /// The number of members of the cluster: spaces full syncs out.
    ClusterSize(usize),
    /// A leader became known or servers changed: compare with the catalog soon.
    ServersChanged,
    /// The catalog's records of this node, as [`Output::ReadRemote`] asked for, or why they could not be read.
    RemoteView(Result<Box<Remote>, String>),
    /// A batch of [`Output::Sync`] ended: one result for each of its commands, in order.
    SyncDone {
        /// The batch.
        id: SyncId,
        /// What came of each command.
        results: Vec<SyncResult>,
    },
    /// The time of [`super::Local::deadline`] has come.
    Tick,
}

/// What came of one command of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncResult {
    /// The catalog has it.
    Done,
    /// It was refused or its outcome is unknown; the reason is for the log.
    Failed(String),
}

/// What should be kept in the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A service, without its checks.
    Service(Box<ServiceSpec>),
    /// A check.
    Check(Box<CheckSpec>),
    /// The latest word of a TTL check.
    Ttl {
        /// The check.
        id: CheckId,
        /// What was said.
        state: TtlState,
        /// For how long it holds, in milliseconds.
        ttl_ms: u64,
    },
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Run a check once and answer with [`Input::ProbeDone`].
    Run {
        /// The check.
        spec: Arc<CheckSpec>,
        /// The run.
        run: RunId,
    },
    /// Stop caring for a run: its check is gone or has changed.
    Cancel {
        /// The check.
        id: CheckId,
        /// The run.
        run: RunId,
    },
    /// Read the catalog's records of this node and answer with [`Input::RemoteView`].
    ReadRemote,
    /// Write these to the catalog and answer with [`Input::SyncDone`]. The first goes first, the others in any order.
    Sync {
        /// The batch.
        id: SyncId,
        /// What to write.
        commands: Vec<Command>,
    },
    /// Keep this in the data directory.
    Persist(Record),
    /// Remove a service from the data directory.
    ForgetService(ServiceId),
    /// Remove a check and its TTL state from the data directory.
    ForgetCheck(CheckId),
    /// The set of nodes that alias checks mirror: report the checks of each, now and when they change, as [`Input::AliasNode`].
    WatchNodes(Vec<NodeName>),
    /// The answer to the input that was stepped.
    Reply(Result<(), Refusal>),
    /// Something an operator would want to know.
    Log(LogLine),
}

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weight {
    /// For finding out why.
    Debug,
    /// An operator would want to know.
    #[default]
    Info,
    /// Odd but working.
    Warn,
}

/// A line for the log. Its texts are Consul's where Consul has the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub weight: Weight,
    /// What happened.
    pub message: &'static str,
    /// To which service.
    pub service: Option<ServiceId>,
    /// To which check.
    pub check: Option<CheckId>,
    /// The check's status.
    pub status: Option<Status>,
    /// Why.
    pub error: Option<String>,
}

impl LogLine {
    /// A line without fields.
    pub fn new(weight: Weight, message: &'static str) -> Self {
        LogLine { weight, message, ..LogLine::default() }
    }

    /// The line, about a service.
    pub fn service(self, id: &str) -> Self {
        LogLine { service: Some(id.to_owned()), ..self }
    }

    /// The line, about a check.
    pub fn check(self, id: &str) -> Self {
        LogLine { check: Some(id.to_owned()), ..self }
    }

    /// The line, with a reason.
    pub fn error(self, why: impl fmt::Display) -> Self {
        LogLine { error: Some(why.to_string()), ..self }
    }
}

/// Why an input was refused; nothing was changed. `Display` gives Consul's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No check of this id, or not a TTL check.
    NoTtl(CheckId),
    /// Maintenance of a service that is not registered here.
    UnknownService(ServiceId),
    /// A check names a service that is not registered here.
    MissingService(ServiceId),
    /// A script check, and scripts are not enabled for who defined it.
    ScriptsDisabled(Source),
    /// A check of a plugin that is not declared here.
    UnknownPlugin(String),
    /// A check whose plugin does not take its config.
    PluginConfig {
        /// The plugin.
        plugin: String,
        /// What is wrong, a field each.
        mistakes: Vec<String>,
    },
    /// As many services or checks as one agent may have.
    TooMany,
    /// A service of a configuration file.
    DefinedService {
        /// Its name.
        name: String,
        /// Why it was refused.
        why: Box<Refusal>,
    },
    /// A check of a configuration file.
    DefinedCheck {
        /// Its name.
        name: String,
        /// Why it was refused.
        why: Box<Refusal>,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoTtl(id) => write!(f, "CheckID {id:?} does not have associated TTL"),
            Refusal::UnknownService(id) => write!(f, "No service registered with ID {id:?}"),
            Refusal::MissingService(id) => write!(f, "ServiceID {id:?} does not exist"),
            Refusal::ScriptsDisabled(Source::Api) => f.write_str(
                "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
            ),
            Refusal::ScriptsDisabled(Source::Config) => f.write_str(
                "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true",
            ),
            Refusal::UnknownPlugin(name) => write!(
                f,
                "Plugin {name:?} is not declared on this agent; declare it with a plugin block in the agent's configuration"
            ),
            Refusal::PluginConfig { plugin, mistakes } => {
                write!(f, "Invalid check: Config does not fit plugin {plugin:?}: {}", mistakes.join("; "))
            }
            Refusal::TooMany => f.write_str("too many services or checks on this agent"),
            Refusal::DefinedService { name, why } => write!(f, "Failed to register service {name:?}: {why}"),
            Refusal::DefinedCheck { name, why } => write!(f, "Failed to register check '{name}': {why}"),
        }
    }
}

impl std::error::Error for Refusal {}
