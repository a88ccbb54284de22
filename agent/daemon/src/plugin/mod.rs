//! The plugins of this agent: which are declared, which version of each serves, and running checks with them.
//!
//! ```text
//!  settings.rs  the `plugin` blocks of the configuration
//!  slot.rs      one plugin: the version that serves, and how its replacement goes
//!  follow.rs    the loop of one plugin: its source names a version, the rollout's rules say what to do
//!  source.rs    where versions come from: a file of this host, or what servers publish (fetch.rs, files.rs, trust.rs)
//!  file.rs      tells when a file has changed
//!  trial.rs     a new version beside the old one, without effect
//!  measured.rs  what checks measured, for `/v1/agent/metrics`
//! ```
//!
//! The rules of replacement are `core::plugin::rollout`'s, running a component is `agent-wasm`'s.

pub mod fetch;
mod file;
pub mod files;
mod follow;
mod measured;
pub mod settings;
mod slot;
mod source;
mod tracing_log;
mod trial;
pub mod trust;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_core::health::spec::{CheckKind, CheckSpec, Outcome};
use agent_core::local;
use agent_core::state::tables::Status;
use agent_wasm::{Host, HostSettings, Plugin, SystemLookup};
use arc_swap::ArcSwap;
use tokio::sync::OnceCell;

pub use follow::{Deps, follow};
pub use measured::Measured;
pub use settings::Declared;
pub use slot::{Slot, State};

use crate::checks::TlsConnector;
use measured::Measurements;
use source::Found;
use tracing_log::Tracing;

/// What the host of this agent's plugins needs.
pub struct HostOptions {
    /// Where compiled plugins are kept; `None` compiles them anew at every start.
    pub cache: Option<PathBuf>,
    /// What all runs may take together, in bytes.
    pub memory_bytes_max: u64,
}

/// The plugins of one agent. Shared by reference.
pub struct Plugins {
    options: HostOptions,
    /// Made for the first plugin: an agent without plugins does without an engine.
    host: OnceCell<Host>,
    slots: ArcSwap<BTreeMap<String, Arc<Slot>>>,
    measured: Measurements,
}

/// A check that a plugin is to run.
pub struct Run<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// The check's id.
    pub check: &'a str,
    /// What the plugin is told: a JSON object.
    pub config: &'a str,
    /// The check's own limit of time, if it has one.
    pub timeout: Option<Duration>,
    /// The check's own limit of output, in bytes, if it has one.
    pub output_bytes_max: Option<usize>,
}

impl<'a> Run<'a> {
    /// What a check asks of its plugin; nothing when it is of another kind.
    pub fn of(spec: &'a CheckSpec) -> Option<Run<'a>> {
        let CheckKind::Plugin { plugin, config } = &spec.kind else { return None };
        Some(Run {
            plugin,
            check: &spec.id,
            config,
            timeout: (spec.timeout_ms > 0).then(|| Duration::from_millis(spec.timeout_ms)),
            output_bytes_max: (spec.output_bytes_max > 0).then_some(spec.output_bytes_max),
        })
    }
}

impl Plugins {
    /// The plugins that are declared; none of them has a version yet.
    pub fn new(options: HostOptions, declared: Declared) -> Arc<Plugins> {
        let slots = declared.into_iter().map(|(name, settings)| (name.clone(), Slot::new(name, settings))).collect();
        let slots = ArcSwap::from_pointee(slots);
        Arc::new(Plugins { options, host: OnceCell::new(), slots, measured: Measurements::default() })
    }

    /// Takes another declaration over. A plugin whose name stays keeps the version that serves; the loops must be started anew.
    pub fn declare(&self, declared: Declared) {
        let old = self.slots.load();
        let slot = |(name, settings): (String, _)| {
            let slot = match old.get(&name) {
                Some(slot) => slot.with(settings),
                None => Slot::new(name.clone(), settings),
            };
            (name, slot)
        };
        self.slots.store(Arc::new(declared.into_iter().map(slot).collect()));
    }

    /// Every plugin, by name.
    pub fn slots(&self) -> Arc<BTreeMap<String, Arc<Slot>>> {
        self.slots.load_full()
    }

    /// What the rules of registration need to know: who is declared, and what configs the serving versions take.
    pub fn known(&self) -> local::Plugins {
        let slots = self.slots.load();
        slots.iter().map(|(name, slot)| (name.clone(), slot.schema())).collect()
    }

    /// Runs a check once. Whatever goes wrong is the outcome.
    pub async fn probe(&self, run: &Run<'_>) -> Outcome {
        let critical = |output| Outcome { status: Status::Critical, output };
        let Some(slot) = self.slots.load().get(run.plugin).cloned() else {
            return critical(format!(
                "plugin {:?} is not declared on this agent: add a plugin block to its configuration",
                run.plugin
            ));
        };
        let Some(serving) = slot.serving() else {
            return critical(format!("plugin {:?} is not loaded: {}", run.plugin, slot.why_not_loaded()));
        };
        let (result, metrics) = serving.run(&slot, run).await;
        self.measured.take(run.plugin, run.check, metrics);
        match result {
            Ok(outcome) => outcome,
            Err(reason) => critical(reason),
        }
    }

    /// What the checks in `current` measured last. Values of checks that are gone are forgotten.
    pub fn measured(&self, current: impl Fn(&str) -> bool) -> Vec<Measured> {
        self.measured.shown(current)
    }

    /// Memory that runs hold at this moment, in bytes.
    pub fn memory_in_use(&self) -> u64 {
        self.host.get().map_or(0, Host::memory_in_use)
    }

    async fn load(&self, found: Found) -> Result<Plugin, String> {
        let host = self.host.get_or_try_init(|| self.start_host()).await?;
        let loaded = match found.may_be_native {
            true => host.load_trusted(found.component).await,
            false => host.load(found.component).await,
        };
        loaded.map_err(|error| error.to_string())
    }

    async fn start_host(&self) -> Result<Host, String> {
        let settings = HostSettings {
            cache: self.options.cache.clone(),
            memory_bytes_max: self.options.memory_bytes_max,
            http_tls: TlsConnector::default().client_config().await?,
            log: Arc::new(Tracing),
            lookup: Arc::new(SystemLookup),
        };
        Host::new(settings).map_err(|error| error.to_string())
    }
}
