//! One plugin: what is declared of it, the version that serves, and what is shown of its replacement.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use agent_core::health::spec::Outcome;
use agent_core::plugin::Schema;
use agent_core::plugin::digest::Digest;
use agent_core::state::tables::Status;
use agent_wasm::{Limits, Metric, Plugin, World};
use arc_swap::ArcSwapOption;

use super::Run;
use super::settings::PluginSettings;

/// Configs whose verdict is remembered for one version. More than an agent has checks with different ones, or they are judged again.
const VERDICTS_MAX: usize = 256;

/// What is shown of a plugin beside the version that serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The version on its way, and how many trials it has passed.
    pub candidate: Option<(String, u32)>,
    /// The version that was refused last, and why.
    pub refused: Option<(String, String)>,
    /// Why the source can't be read right now.
    pub source_error: Option<String>,
    /// How often another version came to serve.
    pub swapped: u64,
    /// How often a version was refused.
    pub refusals: u64,
}

/// A declared plugin.
pub struct Slot {
    /// Its name.
    pub name: String,
    /// As it is declared.
    pub settings: PluginSettings,
    serving: Arc<ArcSwapOption<Serving>>,
    state: Mutex<State>,
}

impl Slot {
    pub(super) fn new(name: String, settings: PluginSettings) -> Arc<Slot> {
        Arc::new(Slot { name, settings, serving: Arc::default(), state: Mutex::default() })
    }

    /// The same plugin declared in another way.
    pub(super) fn with(&self, settings: PluginSettings) -> Arc<Slot> {
        let (name, serving) = (self.name.clone(), Arc::clone(&self.serving));
        Arc::new(Slot { name, settings, serving, state: Mutex::new(self.state()) })
    }

    /// The version that serves.
    pub fn serving(&self) -> Option<Arc<Serving>> {
        self.serving.load_full()
    }

    /// What is shown of its replacement.
    pub fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn serve(&self, version: Arc<Serving>) {
        self.serving.store(Some(version));
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn schema(&self) -> Option<Arc<Schema>> {
        self.serving.load().as_ref().map(|serving| Arc::clone(&serving.schema))
    }

    pub(super) fn why_not_loaded(&self) -> String {
        let State { refused, source_error, candidate, .. } = self.state();
        match (source_error, refused, candidate) {
            (Some(reason), _, _) | (None, Some((_, reason)), _) => reason,
            (None, None, Some(_)) => "it is being loaded".to_owned(),
            (None, None, None) => "its source has named no version yet".to_owned(),
        }
    }
}

/// A loaded version with what it said of configs.
pub struct Serving {
    /// The component.
    pub plugin: Plugin,
    digest: Digest,
    schema: Arc<Schema>,
    verdicts: Mutex<BTreeMap<String, Result<(), String>>>,
}

/// What a run of a check gave: an outcome, or the reason why there is none; and what it measured.
pub(super) type Ran = (Result<Outcome, String>, Vec<Metric>);

impl Serving {
    /// A version of which nothing was asked yet.
    pub(super) fn new(plugin: Plugin, digest: Digest) -> Arc<Serving> {
        let schema = Arc::new(plugin.description().schema.clone());
        Arc::new(Serving { plugin, digest, schema, verdicts: Mutex::default() })
    }

    /// The SHA-256 of its file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Runs a check with what `slot` grants.
    pub(super) async fn run(&self, slot: &Slot, run: &Run<'_>) -> Ran {
        if self.plugin.world() != World::HealthCheck {
            let reason = format!("plugin {:?} is a template renderer, not a health check", slot.name);
            return (Err(reason), Vec::new());
        }
        if let Err(reason) = self.accepts(run.config) {
            return (Err(reason), Vec::new());
        }
        let limits = limits(&slot.settings.limits, run);
        let ran = self.plugin.check(&slot.settings.grants, &limits, run.check, run.config).await;
        match ran.result {
            Ok(found) => {
                let mut output = found.output;
                if found.status != Status::Passing && !ran.denied.is_empty() {
                    // The plugin saw an error without a reason: here it is.
                    let _ = write!(output, "\nThe plugin {}", ran.denied.join(", and "));
                }
                (Ok(Outcome { status: found.status, output }), found.metrics)
            }
            Err(failure) => (Err(failure.to_string()), Vec::new()),
        }
    }

    /// Whether the config fits the version's schema. Judged once for each config.
    fn accepts(&self, config: &str) -> Result<(), String> {
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verdict) = verdicts.get(config) {
            return verdict.clone();
        }
        let verdict = match serde_json::from_str(config) {
            Ok(value) => self.schema.check(&value).map_err(|mistakes| format!("config: {}", mistakes.join("; "))),
            Err(error) => Err(format!("config is not JSON: {error}")),
        };
        if verdicts.len() >= VERDICTS_MAX {
            verdicts.clear();
        }
        verdicts.insert(config.to_owned(), verdict.clone());
        verdict
    }
}

/// The plugin's limits, tightened by the check's own.
fn limits(declared: &Limits, run: &Run<'_>) -> Limits {
    let mut limits = declared.clone();
    if let Some(timeout) = run.timeout {
        limits.wall = limits.wall.min(timeout);
    }
    if let Some(bytes) = run.output_bytes_max {
        limits.output_bytes = limits.output_bytes.min(bytes as u64);
    }
    limits
}
