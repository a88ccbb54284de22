//! The host: one engine, one linker, one budget of memory, one cache of compiled code. Made once a process and shared.

use crate::error::{HostError, LoadError};
use crate::limits::Budget;
use crate::log::PluginLog;
use crate::lookup::Lookup;
use crate::plugin::Plugin;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What a host is made of.
#[derive(Clone)]
pub struct HostSettings {
    /// The folder of compiled code; it is made, with mode 0700, when something is first kept. None: compile again in each process.
    pub cache: Option<PathBuf>,
    /// Memory of all runs together, in bytes.
    pub memory_bytes_max: u64,
    /// What HTTPS requests of plugins trust.
    pub http_tls: Arc<rustls::ClientConfig>,
    /// Where plugins' lines go.
    pub log: Arc<dyn PluginLog>,
    /// How names are looked up: [`crate::SystemLookup`] outside tests.
    pub lookup: Arc<dyn Lookup>,
}

/// Loads plugins and bounds what they use together. A clone is the same host.
#[derive(Clone)]
pub struct Host {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) settings: HostSettings,
    pub(crate) budget: Arc<Budget>,
}

/// What to compile ahead for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// 64-bit ARM, Linux.
    Aarch64,
    /// 64-bit x86, Linux.
    X86_64,
    /// Any 64-bit processor, interpreted: one file for all, some ten times slower.
    Portable,
}

impl Target {
    /// Parses `aarch64`, `x86_64` or `portable`.
    pub fn parse(text: &str) -> Option<Target> {
        match text {
            "aarch64" => Some(Target::Aarch64),
            "x86_64" => Some(Target::X86_64),
            "portable" => Some(Target::Portable),
            _ => None,
        }
    }
}

impl Host {
    /// Makes a host. Starts one thread, which sleeps whenever no plugin runs.
    pub fn new(settings: HostSettings) -> Result<Host, HostError> {
        let budget = Budget::new(settings.memory_bytes_max);
        Ok(Host { shared: Arc::new(Shared { settings, budget }) })
    }

    /// Loads a component (`.wasm`): compiles it off the runtime or takes it from the cache, asks it to describe itself with nothing granted,
    /// and checks what it says. Refuses what was compiled ahead, which anybody could have made.
    pub async fn load(&self, component: Vec<u8>) -> Result<Plugin, LoadError> {
        drop(component);
        Err(LoadError::NeedsCompiler)
    }

    /// Loads what [`Host::compile`] made (`.cwasm`), on the caller's word that it is so.
    ///
    /// Such a file is native code: what is in it can do all that this process can, sandbox or not. Call this for a path that stands in the
    /// operator's own configuration, or for a file whose signature was checked against a trusted key; never for anything else.
    pub async fn load_trusted_compiled(&self, compiled: Vec<u8>) -> Result<Plugin, LoadError> {
        drop(compiled);
        Err(LoadError::NeedsCompiler)
    }

    /// Compiles a component ahead for a target. Takes seconds for large ones: call it off the runtime.
    pub fn compile(component: &[u8], target: Target) -> Result<Vec<u8>, LoadError> {
        let _ = (component, target);
        Err(LoadError::NeedsCompiler)
    }

    /// Memory that running plugins hold at this moment, in bytes: 0 when none runs.
    pub fn memory_in_use(&self) -> u64 {
        self.shared.budget.used()
    }

    /// The most that running plugins may hold together, in bytes.
    pub fn memory_max(&self) -> u64 {
        self.shared.budget.max()
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("memory_in_use", &self.memory_in_use()).finish_non_exhaustive()
    }
}
