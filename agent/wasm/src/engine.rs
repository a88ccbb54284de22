//! The engine's settings and the thread that ticks it.
//!
//! All of a host's runs share one engine for native code and, once something portable is loaded, one for Pulley's bytecode. An epoch passes
//! every [`TICK`] while something runs, which is how a spinning guest is interrupted; when nothing ran for a while the thread sleeps.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;
use wasmtime::{Config, Engine, EngineWeak};

/// How often epochs pass: how long a guest can hold a thread, and how late CPU time is noticed.
const TICK: Duration = Duration::from_millis(10);

/// Ticks without a run before the thread sleeps. Waking it costs more than a tick, so checks that follow each other closely find it awake.
const IDLE_TICKS_MAX: u32 = 20;

/// Stack of a guest. wasmtime's own 512 KiB let CPython and SpiderMonkey run, with little left for deep recursion in scripts; this is address
/// space, and only pages that were touched are memory.
const GUEST_STACK_BYTES: usize = 1 << 20;

/// What host functions need of the same stack on top of the guest's.
const HOST_STACK_BYTES: usize = 512 << 10;

/// The target of portable code.
const PORTABLE: &str = "pulley64";

/// Settings that are part of every compiled file: code compiled with others is refused when it is loaded.
///
/// Memories reserve no address space beyond what they hold and have no guards, so that hosts with strict overcommit and thousands of
/// instances are fine; the bounds checks this needs cost less than the page tables it saves. Nothing symbolises backtraces here.
pub(crate) fn config(target: Option<&str>) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .memory_reservation(0)
        .memory_reservation_for_growth(1 << 20)
        .memory_guard_size(0)
        .guard_before_linear_memory(false)
        .memory_init_cow(true)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(GUEST_STACK_BYTES + HOST_STACK_BYTES)
        .wasm_backtrace_max_frames(None)
        .native_unwind_info(false)
        .generate_address_map(false);
    if let Some(target) = target {
        config.target(target)?;
    }
    Ok(config)
}

pub(crate) fn native() -> wasmtime::Result<Engine> {
    Engine::new(&config(None)?)
}

pub(crate) fn portable() -> wasmtime::Result<Engine> {
    Engine::new(&config(Some(PORTABLE))?)
}

/// The triple to compile for.
#[cfg(feature = "compiler")]
pub(crate) fn triple(target: crate::Target) -> &'static str {
    match target {
        crate::Target::Aarch64 => "aarch64-unknown-linux-musl",
        crate::Target::X86_64 => "x86_64-unknown-linux-musl",
        crate::Target::Portable => PORTABLE,
    }
}

/// Makes epochs pass while something runs. The thread ends when this is dropped.
pub(crate) struct Ticker {
    shared: Arc<Ticks>,
    thread: Thread,
}

struct Ticks {
    running: AtomicUsize,
    asleep: AtomicBool,
    ended: AtomicBool,
    engines: Mutex<Vec<EngineWeak>>,
}

impl Ticker {
    pub(crate) fn start() -> std::io::Result<Ticker> {
        let shared = Arc::new(Ticks {
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            engines: Mutex::new(Vec::new()),
        });
        let ticks = shared.clone();
        let thread = std::thread::Builder::new().name("plugin-ticks".to_owned()).stack_size(64 << 10);
        let thread = thread.spawn(move || ticks.run())?.thread().clone();
        Ok(Ticker { shared, thread })
    }

    pub(crate) fn add(&self, engine: &Engine) {
        self.shared.engines.lock().unwrap_or_else(PoisonError::into_inner).push(engine.weak());
    }

    /// Says that a run is in progress until the returned value is dropped.
    pub(crate) fn enter(&self) -> Running {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(self.shared.clone())
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// A run in progress.
pub(crate) struct Running(Arc<Ticks>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticks {
    fn run(&self) {
        let mut idle = 0;
        while !self.ended.load(Ordering::SeqCst) {
            match self.running.load(Ordering::SeqCst) {
                0 => idle += 1,
                _ => idle = 0,
            }
            if idle > IDLE_TICKS_MAX {
                self.sleep();
                idle = 0;
            }
            std::thread::park_timeout(TICK);
            let engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
            engines.iter().filter_map(EngineWeak::upgrade).for_each(|engine| engine.increment_epoch());
        }
    }

    /// Sleeps until a run begins. Both sides write their flag before they read the other's, so one of them sees.
    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        while self.running.load(Ordering::SeqCst) == 0 && !self.ended.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}
