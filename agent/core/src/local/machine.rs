//! The machine of local state.

use std::time::Duration;

use super::input::{Input, Output};
use super::view::LocalView;
use crate::Instant;
use crate::state::tables::Node;

/// Who may define script checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptPolicy {
    /// Configuration files may (`enable_local_script_checks` or `enable_script_checks`).
    pub from_config: bool,
    /// The HTTP API may (`enable_script_checks`).
    pub from_api: bool,
}

/// What the machine is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's record as it goes to the catalog; indexes are ignored.
    pub node: Node,
    /// Who may define script checks.
    pub scripts: ScriptPolicy,
    /// How long a change of output alone may wait before it goes to the catalog; zero for at once. Consul's default is five minutes.
    pub check_update_interval: Duration,
    /// Keep no output at all (`discard_check_output`).
    pub discard_check_output: bool,
    /// Longest output of a check that names no limit of its own (`check_output_max_size`), in bytes.
    pub output_bytes_max: usize,
    /// Time between full comparisons with the catalog in a small cluster (`-dev` and tests may shorten it).
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
            check_update_interval: Duration::from_secs(300),
            discard_check_output: false,
            output_bytes_max: 4096,
            sync_interval: Duration::from_secs(60),
            seed,
        }
    }
}

/// Everything this agent registered.
#[derive(Debug)]
pub struct Local {
    view: LocalView,
}

impl Local {
    /// An agent that registered nothing yet.
    pub fn new(settings: Settings) -> Self {
        let _ = settings;
        Local { view: LocalView::default() }
    }

    /// The current snapshot.
    pub fn view(&self) -> &LocalView {
        &self.view
    }

    /// Takes one input and says what should be done.
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let _ = (now, input);
        unimplemented!()
    }

    /// When to step with [`Input::Tick`] at the latest, and why.
    pub fn deadline(&self) -> Option<(Instant, &'static str)> {
        unimplemented!()
    }
}
