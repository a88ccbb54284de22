//! The host: one engine, one linker, one budget of memory, one cache of compiled code. Made once a process and shared.

use crate::compiled::{self, Cache};
use crate::engine::{self, Ticker};
use crate::error::{HostError, LoadError};
use crate::limits::Budget;
use crate::load::{self, Template};
use crate::log::{LogLine, PluginLog};
use crate::lookup::Lookup;
use crate::plugin::Plugin;
use crate::state::{self, RunState};
use agent_core::plugin::digest::Digest;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

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
    pub(crate) ticker: Ticker,
    /// As the settings have it, without protocols to negotiate: requests are HTTP/1.1.
    pub(crate) tls: Arc<rustls::ClientConfig>,
    native: Machine,
    portable: OnceLock<Machine>,
    cache: Option<Cache>,
    /// One component is compiled at a time: it takes memory in proportion to the component.
    compiling: Arc<Semaphore>,
}

/// An engine with its linker.
struct Machine {
    engine: Engine,
    linker: Linker<RunState>,
}

impl Machine {
    fn new(engine: Engine) -> wasmtime::Result<Machine> {
        let linker = state::linker(&engine)?;
        Ok(Machine { engine, linker })
    }
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
    /// Makes a host. Starts one thread, which sleeps unless a plugin computes for long.
    pub fn new(settings: HostSettings) -> Result<Host, HostError> {
        let failed = |error: wasmtime::Error| HostError(format!("{error:#}"));
        let native = engine::native().and_then(Machine::new).map_err(failed)?;
        let ticker = Ticker::start().map_err(|error| HostError(format!("no thread: {error}")))?;
        ticker.add(&native.engine);
        let mut tls = (*settings.http_tls).clone();
        tls.alpn_protocols.clear();
        let shared = Shared {
            budget: Budget::new(settings.memory_bytes_max),
            ticker,
            tls: Arc::new(tls),
            cache: settings.cache.as_ref().map(|folder| Cache::new(folder.clone(), &native.engine)),
            native,
            portable: OnceLock::new(),
            compiling: Arc::new(Semaphore::new(1)),
            settings,
        };
        Ok(Host { shared: Arc::new(shared) })
    }

    /// Loads a component (`.wasm`): compiles it off the runtime or takes it from the cache, asks it to describe itself with nothing granted,
    /// and checks what it says. Refuses what was compiled ahead, which anybody could have made.
    pub async fn load(&self, component: Vec<u8>) -> Result<Plugin, LoadError> {
        load::is_component(&component)?;
        let one = self.shared.compiling.clone().acquire_owned().await.expect("the semaphore is never closed");
        let begun = Instant::now();
        let shared = self.shared.clone();
        let loaded = off_the_runtime(move || {
            // Held until the work is done, which it is also when nobody waits for it any more.
            let _one = one;
            let digest = Digest::of(&component);
            let code = shared.compiled(digest, &component)?;
            let template = load::template(&shared.native.engine, &shared.native.linker, &code)?;
            Ok((digest, template))
        });
        let (digest, template) = loaded.await?;
        self.plugin(digest, self.shared.native.engine.clone(), template, begun).await
    }

    /// Loads a component as [`Host::load`] does, and also what [`Host::compile`] made (`.cwasm`), on the caller's word that it is so.
    ///
    /// Such a file is native code: what is in it can do all that this process can, sandbox or not. Call this for a path that stands in the
    /// operator's own configuration, or for a file whose signature was checked against a trusted key; never for anything else.
    pub async fn load_trusted(&self, file: Vec<u8>) -> Result<Plugin, LoadError> {
        match Self::is_compiled(&file) {
            true => self.load_compiled(file).await,
            false => self.load(file).await,
        }
    }

    async fn load_compiled(&self, compiled: Vec<u8>) -> Result<Plugin, LoadError> {
        if compiled.len() as u64 > load::COMPILED_BYTES_MAX {
            return Err(LoadError::TooLarge(load::COMPILED_BYTES_MAX));
        }
        let begun = Instant::now();
        let shared = self.shared.clone();
        let loaded = off_the_runtime(move || {
            let digest = Digest::of(&compiled);
            let native = compiled::trusted(&shared.native.engine, &compiled);
            let (code, machine) = match native {
                Ok(code) => (code, &shared.native),
                Err(error) => {
                    let machine = shared.portable()?;
                    let code = compiled::trusted(&machine.engine, &compiled);
                    (code.map_err(|_| LoadError::CompiledForAnother(error.root_cause().to_string()))?, machine)
                }
            };
            let template = load::template(&machine.engine, &machine.linker, &code)?;
            Ok((digest, machine.engine.clone(), template))
        });
        let (digest, engine, template) = loaded.await?;
        self.plugin(digest, engine, template, begun).await
    }

    /// Whether a file is one that was compiled ahead (`.cwasm`), by its first bytes.
    pub fn is_compiled(file: &[u8]) -> bool {
        Engine::detect_precompiled(file) == Some(wasmtime::Precompiled::Component)
    }

    /// Compiles a component ahead for a target. Takes seconds for large ones: call it off the runtime. Without the feature `compiler` it
    /// says where there is one.
    pub fn compile(component: &[u8], target: Target) -> Result<Vec<u8>, LoadError> {
        load::is_component(component)?;
        ahead(component, target)
    }

    async fn plugin(
        &self,
        digest: Digest,
        engine: Engine,
        template: Template,
        begun: Instant,
    ) -> Result<Plugin, LoadError> {
        let description = load::describe(&self.shared, &engine, &template).await?;
        Ok(Plugin::new(self.shared.clone(), digest, engine, template, description, begun.elapsed()))
    }

    /// Memory that running plugins hold at this moment, in bytes: 0 when none runs.
    pub fn memory_in_use(&self) -> u64 {
        self.shared.budget.used()
    }
}

impl Shared {
    fn compiled(&self, digest: Digest, component: &[u8]) -> Result<Component, LoadError> {
        let log = |level, message: &str| {
            self.settings.log.line(&LogLine { plugin: "-", subject: "", level, message });
        };
        if let Some(cache) = &self.cache
            && let Some(code) = cache.load(digest, &self.native.engine, &log)
        {
            return Ok(code);
        }
        compile(&self.native.engine, component, |code| match &self.cache {
            Some(cache) => cache.keep(digest, &self.native.engine, code, &log),
            None => None,
        })
    }

    fn portable(&self) -> Result<&Machine, LoadError> {
        if let Some(machine) = self.portable.get() {
            return Ok(machine);
        }
        let made = engine::portable().and_then(Machine::new);
        let made = made.map_err(|error| LoadError::CompiledForAnother(format!("{error:#}")))?;
        let machine = self.portable.get_or_init(|| {
            self.ticker.add(&made.engine);
            made
        });
        Ok(machine)
    }

    /// The code of a loaded plugin stays in the cache for as long as the plugin is loaded.
    pub(crate) fn in_use(&self, digest: Digest, used: bool) {
        if let Some(cache) = &self.cache {
            cache.in_use(digest, used);
        }
    }
}

/// Compiles, and takes the file-backed code that `keep` made of it if it could.
#[cfg(feature = "compiler")]
fn compile(
    engine: &Engine,
    component: &[u8],
    keep: impl FnOnce(&[u8]) -> Option<Component>,
) -> Result<Component, LoadError> {
    let failed = |error: wasmtime::Error| LoadError::DoesNotCompile(format!("{error:#}"));
    let code = engine.precompile_component(component).map_err(failed)?;
    match keep(&code) {
        Some(kept) => Ok(kept),
        None => compiled::own(engine, &code).map_err(failed),
    }
}

#[cfg(not(feature = "compiler"))]
fn compile(_: &Engine, _: &[u8], _: impl FnOnce(&[u8]) -> Option<Component>) -> Result<Component, LoadError> {
    Err(LoadError::NeedsCompiler)
}

#[cfg(feature = "compiler")]
fn ahead(component: &[u8], target: Target) -> Result<Vec<u8>, LoadError> {
    let failed = |error: wasmtime::Error| LoadError::DoesNotCompile(format!("{error:#}"));
    let config = engine::config(Some(engine::triple(target))).map_err(failed)?;
    let engine = Engine::new(&config).map_err(failed)?;
    engine.precompile_component(component).map_err(failed)
}

#[cfg(not(feature = "compiler"))]
fn ahead(_: &[u8], _: Target) -> Result<Vec<u8>, LoadError> {
    Err(LoadError::NeedsCompiler)
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(LoadError::DoesNotCompile(error.to_string())))
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("memory_in_use", &self.memory_in_use()).finish_non_exhaustive()
    }
}
