//! One run: a fresh store with what is granted, bounded in CPU time, wall time and memory, and what became of it.
//!
//! CPU time is that of the thread around each poll of the run, so waiting is free and a busy neighbour costs nothing. It is looked at when an
//! epoch passes inside the guest and after each poll.

use crate::catalog::Catalog;
use crate::engine::Ticker;
use crate::failure::{Denials, Failure, FailureKind};
use crate::host::Shared;
use crate::http::Http;
use crate::limits::Meter;
use crate::lines::{Lines, Printed};
use crate::sockets::Opened;
use crate::state::RunState;
use crate::{Grants, Limits, Ran, Usage};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, Trap, UpdateDeadline};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtx, WasiCtxBuilder};
use wasmtime_wasi_http::WasiHttpCtx;

/// Host resources (streams, sockets, files, pollables) of a run at a time.
const RESOURCES_MAX: usize = 1024;
/// Bytes that one call may hand from guest to host, beside a renderer's files.
const HANDED_BYTES_MAX: u64 = 8 << 20;
/// Random bytes of one call.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// What a run is started with.
pub(crate) struct Start<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) engine: &'a Engine,
    pub(crate) plugin: Arc<str>,
    pub(crate) subject: &'a str,
    pub(crate) grants: &'a Grants,
    pub(crate) limits: &'a Limits,
    pub(crate) catalog: Option<Arc<dyn Catalog>>,
}

/// A run that was prepared: call the guest with its store inside [`CpuClock::bound`], then [`Run::finish`].
pub(crate) struct Run {
    pub(crate) store: Store<RunState>,
    pub(crate) clock: Arc<CpuClock>,
    limits: Limits,
    started: Instant,
    denials: Arc<Denials>,
    lines: Arc<Lines>,
}

/// What ended the future of a run before it was ready.
pub(crate) enum Ended {
    Cpu,
    Wall,
}

impl Run {
    pub(crate) async fn prepare(start: Start<'_>) -> Result<Run, Failure> {
        let Start { shared, engine, plugin, subject, grants, limits, catalog } = start;
        let started = Instant::now();
        let denials = Arc::new(Denials::default());
        let opened = Opened::new(limits.sockets);
        let grants = Arc::new(grants.clone());
        let lines = Lines::new(shared.settings.log.clone(), plugin, subject);
        let wasi = context(&grants, &denials, &lines, limits.wall).await?;
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let (lookup, tls) = (shared.settings.lookup.clone(), shared.tls.clone());
        let requests = Http {
            grants: grants.clone(),
            denials: denials.clone(),
            opened: opened.clone(),
            lookup: lookup.clone(),
            tls,
        };
        let meter = Meter::new(shared.budget.clone(), denials.clone(), limits.memory_bytes);
        let state = RunState {
            wasi,
            table,
            http: WasiHttpCtx::new(),
            requests,
            meter,
            denials: denials.clone(),
            opened,
            grants,
            lookup,
            lines: lines.clone(),
            catalog,
            reads: BTreeSet::new(),
        };
        let clock = Arc::new(CpuClock::new(limits.cpu));
        let store = store(engine, state, limits, &clock);
        Ok(Run { store, clock, limits: limits.clone(), started, denials, lines })
    }

    /// Gives back what the run held, and says what became of it.
    pub(crate) fn finish<T>(self, ended: Result<wasmtime::Result<T>, Ended>) -> Ran<Result<T, Failure>> {
        let Run { store, clock, limits, started, denials, lines } = self;
        let state = store.into_data();
        let memory_bytes_peak = state.meter.peak();
        let reads = state.reads.iter().cloned().collect();
        // Drops what the guest printed without a line's end into the log, and frees its memory.
        drop(state);
        let denied = denials.clauses();
        let kind = match ended {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(why(&error, &limits, &denials, &lines)),
            Err(Ended::Cpu) => Err(FailureKind::OutOfCpu(limits.cpu)),
            Err(Ended::Wall) => Err(FailureKind::TimedOut(limits.wall)),
        };
        let usage =
            Usage { cpu: clock.used(), wall: started.elapsed(), memory_bytes_peak, log_lines_dropped: lines.end() };
        let result = kind.map_err(|kind| Failure { kind, denied: denied.clone() });
        Ran { result, usage, reads, denied }
    }
}

/// A run that did not start.
pub(crate) fn not_started<T>(failure: Failure) -> Ran<Result<T, Failure>> {
    Ran { result: Err(failure), usage: Usage::default(), reads: Vec::new(), denied: Vec::new() }
}

fn store(engine: &Engine, state: RunState, limits: &Limits, clock: &Arc<CpuClock>) -> Store<RunState> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.meter);
    let handed = usize::try_from(HANDED_BYTES_MAX + limits.files_bytes).unwrap_or(usize::MAX);
    store.set_hostcall_fuel(handed);
    store.set_epoch_deadline(1);
    let clock = clock.clone();
    store.epoch_deadline_callback(move |_| match clock.is_used_up() {
        true => Ok(UpdateDeadline::Interrupt),
        false => Ok(UpdateDeadline::Yield(1)),
    });
    store
}

/// WASI with nothing but what is granted.
async fn context(
    grants: &Arc<Grants>,
    denials: &Arc<Denials>,
    lines: &Arc<Lines>,
    wall: Duration,
) -> Result<WasiCtx, Failure> {
    let mut wasi = WasiCtx::builder();
    wasi.max_random_size(RANDOM_BYTES_MAX);
    wasi.stdout(Printed::new(lines.clone()));
    wasi.stderr(Printed::new(lines.clone()));
    if !grants.network.is_empty() {
        let (grants, denials) = (grants.clone(), denials.clone());
        wasi.allow_tcp(true).allow_udp(true).socket_addr_check(move |address, used| {
            let allowed = crate::sockets::allowed(&grants, &denials, address, used);
            Box::pin(std::future::ready(allowed))
        });
    }
    for name in &grants.environment {
        if let Ok(value) = std::env::var(name) {
            wasi.env(name, value);
        }
    }
    if !grants.directories.is_empty() {
        let grants = grants.clone();
        let opened = tokio::task::spawn_blocking(move || open_directories(wasi, &grants));
        wasi = match tokio::time::timeout(wall, opened).await {
            Ok(Ok(opened)) => opened?,
            Ok(Err(error)) => return Err(FailureKind::NotStarted(error.to_string()).into()),
            // A directory on a server that does not answer.
            Err(_) => return Err(FailureKind::TimedOut(wall).into()),
        };
    }
    Ok(wasi.build())
}

fn open_directories(mut wasi: WasiCtxBuilder, grants: &Grants) -> Result<WasiCtxBuilder, Failure> {
    for directory in &grants.directories {
        wasi.preopened_dir(&directory.host, &directory.guest, FsPerms::ReadOnly).map_err(|error| {
            let path = directory.host.display();
            FailureKind::NotStarted(format!(
                "allow.directories grants {path}, which cannot be opened: {}",
                error.root_cause()
            ))
        })?;
    }
    Ok(wasi)
}

/// What an error of the engine means.
fn why(error: &wasmtime::Error, limits: &Limits, denials: &Denials, lines: &Lines) -> FailureKind {
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return FailureKind::OutOfCpu(limits.cpu);
    }
    match denials.memory() {
        (true, _) => return FailureKind::OutOfMemory(limits.memory_bytes),
        (false, true) => return FailureKind::HostOutOfMemory(denials.budget()),
        (false, false) => {}
    }
    let text = error.root_cause().to_string();
    if text.contains("fuel allocated for hostcalls") {
        let max = crate::failure::bytes(HANDED_BYTES_MAX + limits.files_bytes);
        return FailureKind::BrokenPromise(format!("it hands over more than {max} at once"));
    }
    let what = match (trap, error.downcast_ref::<I32Exit>()) {
        (Some(Trap::StackOverflow), _) => "its call stack is exhausted, as by endless recursion".to_owned(),
        // Guests keep most of their stack in their memory, below its start there is nothing.
        (Some(Trap::MemoryOutOfBounds), _) => {
            "it reached outside its memory: a fault in it, or endless recursion".to_owned()
        }
        (Some(Trap::UnreachableCodeReached), _) => "it gave up (a panic or abort)".to_owned(),
        (_, Some(I32Exit(code))) => format!("it exited with code {code} instead of returning"),
        (Some(trap), None) => trap.to_string(),
        (None, None) => text,
    };
    let printed = lines.last_printed();
    FailureKind::Trapped(match printed.as_slice() {
        [] => what,
        printed => format!("{what}; it last printed: {}", printed.join(" | ")),
    })
}

/// The CPU time of one run, in nanoseconds.
pub(crate) struct CpuClock {
    max: u64,
    spent: AtomicU64,
    /// The thread's clock when the poll in progress began.
    since: AtomicU64,
}

impl CpuClock {
    fn new(max: Duration) -> CpuClock {
        let max = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX);
        CpuClock { max, spent: AtomicU64::new(0), since: AtomicU64::new(0) }
    }

    /// Runs a future until it is ready, or used its CPU time, or its wall time is over.
    pub(crate) async fn bound<T>(
        self: Arc<Self>,
        ticker: &Ticker,
        wall: Duration,
        future: impl Future<Output = T> + Send,
    ) -> Result<T, Ended> {
        let metered = Metered { clock: self, ticker, future: Box::pin(future) };
        tokio::time::timeout(wall, metered).await.unwrap_or(Err(Ended::Wall))
    }

    fn used(&self) -> Duration {
        Duration::from_nanos(self.spent.load(Ordering::Relaxed))
    }

    /// Within a poll: whether all time is used.
    fn is_used_up(&self) -> bool {
        let poll = thread_cpu_ns().saturating_sub(self.since.load(Ordering::Relaxed));
        self.spent.load(Ordering::Relaxed) + poll >= self.max
    }
}

fn thread_cpu_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

struct Metered<'a, F> {
    clock: Arc<CpuClock>,
    ticker: &'a Ticker,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Metered<'_, F> {
    type Output = Result<F::Output, Ended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let begin = thread_cpu_ns();
        self.clock.since.store(begin, Ordering::Relaxed);
        let running = self.ticker.enter();
        let polled = self.future.as_mut().poll(cx);
        drop(running);
        let took = thread_cpu_ns().saturating_sub(begin);
        let spent = self.clock.spent.fetch_add(took, Ordering::Relaxed) + took;
        match polled {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending if spent >= self.clock.max => Poll::Ready(Err(Ended::Cpu)),
            Poll::Pending => Poll::Pending,
        }
    }
}
