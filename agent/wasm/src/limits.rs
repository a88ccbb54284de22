//! What one run may use at most, each with its bounds, and the memory all runs share.
//!
//! [`Limits`] comes from the `limits` block of a plugin. [`Budget`] is the host's; a run takes from it as its memory grows and gives back when
//! its store is dropped, also when it was cancelled. Nothing here measures time: see `run.rs`.

use crate::failure::Denials;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wasmtime::ResourceLimiter;

/// What one run may use at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of all modules of the component together, in bytes: 16 MiB unless set; 64 KiB to 1 GiB.
    pub memory_bytes: u64,
    /// CPU time of the run, not counting what it waits: 100 ms unless set; 1 ms to 1 minute. It is noticed within about 10 ms.
    pub cpu: Duration,
    /// Time from start to end, waiting included: 10 s unless set; 10 ms to 1 hour.
    pub wall: Duration,
    /// Bytes of a check's output, which is cut there, at a character's end: 4 KiB unless set; at most 1 MiB.
    pub output_bytes: u64,
    /// Bytes of all files of a renderer together, paths included; a render with more fails: 1 MiB unless set; at most 64 MiB.
    pub files_bytes: u64,
    /// Sockets (TCP and UDP) and HTTP requests a run may open, counted when they are made: 8 unless set; at most 256.
    pub sockets: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes: 16 << 20,
            cpu: Duration::from_millis(100),
            wall: Duration::from_secs(10),
            output_bytes: 4 << 10,
            files_bytes: 1 << 20,
            sockets: 8,
        }
    }
}

impl Limits {
    /// Whether every limit is within its bounds; otherwise which is not, and what they are. A run does not check again.
    pub fn check(&self) -> Result<(), String> {
        let Limits { memory_bytes, cpu, wall, output_bytes, files_bytes, sockets } = self;
        let within = |ok: bool, text: &str| if ok { Ok(()) } else { Err(text.to_owned()) };
        within((64 << 10..=1 << 30).contains(memory_bytes), "limits.memory must be 64 KiB to 1 GiB")?;
        within(
            (Duration::from_millis(1)..=Duration::from_secs(60)).contains(cpu),
            "limits.cpu must be 1 ms to 1 minute, such as \"100ms\"",
        )?;
        within(
            (Duration::from_millis(10)..=Duration::from_secs(3600)).contains(wall),
            "limits.wall must be 10 ms to 1 hour, such as \"10s\"",
        )?;
        within(*output_bytes <= 1 << 20, "limits.output must be at most 1 MiB")?;
        within(*files_bytes <= 64 << 20, "limits.files must be at most 64 MiB")?;
        within(*sockets <= 256, "limits.sockets must be at most 256")
    }
}

/// The memory of all runs of a host together, with tables counted at eight bytes an element.
#[derive(Debug)]
pub(crate) struct Budget {
    max: u64,
    used: AtomicU64,
}

impl Budget {
    pub(crate) fn new(max: u64) -> Arc<Budget> {
        Arc::new(Budget { max, used: AtomicU64::new(0) })
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.max)
            })
            .is_ok()
    }
}

/// Elements of all tables of a run. CPython and SpiderMonkey need some ten thousand.
const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Core instances, memories and tables of one component instance.
const PARTS_MAX: usize = 64;

/// The memory of one run. What it took goes back when it is dropped, which happens with the run's store.
pub(crate) struct Meter {
    budget: Arc<Budget>,
    denials: Arc<Denials>,
    max: u64,
    used: u64,
    table_elements: usize,
}

impl Meter {
    pub(crate) fn new(budget: Arc<Budget>, denials: Arc<Denials>, max: u64) -> Meter {
        Meter { budget, denials, max, used: 0, table_elements: 0 }
    }

    /// Memory never shrinks within a run, so what is used is the peak.
    pub(crate) fn peak(&self) -> u64 {
        self.used
    }

    fn grow(&mut self, by: u64) -> bool {
        let Some(wanted) = self.used.checked_add(by).filter(|sum| *sum <= self.max) else {
            self.denials.memory_limit();
            return false;
        };
        if !self.budget.take(by) {
            self.denials.memory_budget(self.budget.max);
            return false;
        }
        self.used = wanted;
        true
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.used, Ordering::Relaxed);
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // What the module's own maximum refuses was never taken, so it must not be counted.
        if maximum.is_some_and(|max| desired > max) {
            return Ok(false);
        }
        Ok(self.grow(desired.saturating_sub(current) as u64))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|max| desired > max) {
            return Ok(false);
        }
        let by = desired.saturating_sub(current);
        if self.table_elements.saturating_add(by) > TABLE_ELEMENTS_MAX || !self.grow(by as u64 * 8) {
            return Ok(false);
        }
        self.table_elements += by;
        Ok(true)
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }
}
