//! The engine's settings and the thread that ticks it.
//!
//! All of a host's runs share one engine for native code and, once something portable is loaded, one for Pulley's bytecode. An epoch passes
//! every [`TICK`] that guests hold threads, which is how a spinning guest is interrupted.

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wasmtime::{Config, Engine, EngineWeak};

/// How often epochs pass: how long a guest can hold a thread, and how late CPU time is noticed.
const TICK: Duration = Duration::from_millis(10);

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

/// Makes epochs pass while guests hold threads. Its own thread ends when this is dropped.
///
/// A timer of the kernel is set when a guest gets a thread and unset when the last one gives its thread back, so a run that is over within
/// a tick, or waits, wakes nobody: on an idle machine a thread that wakes costs more than a short run.
pub(crate) struct Ticker(Arc<Ticks>);

struct Ticks {
    /// How many guests hold a thread. The timer is set and unset under this lock, so it is always as the number says.
    running: Mutex<usize>,
    timer: OwnedFd,
    ended: AtomicBool,
    engines: Mutex<Vec<EngineWeak>>,
}

impl Ticker {
    pub(crate) fn start() -> io::Result<Ticker> {
        let ticks = Arc::new(Ticks {
            running: Mutex::new(0),
            timer: timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?,
            ended: AtomicBool::new(false),
            engines: Mutex::new(Vec::new()),
        });
        let same = ticks.clone();
        let thread = std::thread::Builder::new().name("plugin-ticks".to_owned()).stack_size(64 << 10);
        thread.spawn(move || same.run())?;
        Ok(Ticker(ticks))
    }

    pub(crate) fn add(&self, engine: &Engine) {
        self.0.engines.lock().unwrap_or_else(PoisonError::into_inner).push(engine.weak());
    }

    /// Says that a guest holds a thread until the returned value is dropped.
    pub(crate) fn enter(&self) -> Running<'_> {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        if *running == 0 {
            self.0.set(Some(TICK));
        }
        *running += 1;
        Running(&self.0)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
        self.0.set(Some(Duration::from_nanos(1)));
    }
}

/// A guest that holds a thread.
pub(crate) struct Running<'a>(&'a Ticks);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        *running -= 1;
        if *running == 0 {
            self.0.set(None);
        }
    }
}

impl Ticks {
    /// Lets the timer pass this often from now on, or not any more. What passed before is forgotten.
    fn set(&self, every: Option<Duration>) {
        let every = every.unwrap_or_default();
        let every = Timespec { tv_sec: every.as_secs() as i64, tv_nsec: every.subsec_nanos().into() };
        let times = Itimerspec { it_interval: every, it_value: every };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &times).expect("an open timer takes a valid time");
    }

    fn run(&self) {
        let mut passed = [0; 8];
        while !self.ended.load(Ordering::SeqCst) {
            match rustix::io::read(&self.timer, &mut passed) {
                Ok(_) => {}
                // A signal; or what can't be, and then the guests are still bounded by their polls.
                Err(Errno::INTR) => continue,
                Err(_) => return,
            }
            let engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
            engines.iter().filter_map(EngineWeak::upgrade).for_each(|engine| engine.increment_epoch());
        }
    }
}
