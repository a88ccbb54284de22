//! A disk that flushes late and crashes.
//!
//! Writes are visible at once and durable after a seeded delay, in order and
//! in groups, as the real log thread does it. A crash keeps a random prefix of
//! what was not flushed yet; an acknowledged write is never among what is lost,
//! unless the test asked for a disk that lies.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_daemon::env::Disks;
use agent_raft::disk::memory::Records;
use agent_raft::disk::open::OpenError;
use agent_raft::disk::{BoxFuture, Bytes, Disk, Done, Loaded, Op, StoredSnapshot, closed};
use tokio::sync::Notify;

use crate::outside::SimRandom;

/// How a disk behaves.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// The shortest flush, in microseconds.
    pub flush_us_min: u64,
    /// The longest flush, in microseconds.
    pub flush_us_max: u64,
}

impl Speed {
    /// A solid-state disk.
    pub const FAST: Speed = Speed { flush_us_min: 200, flush_us_max: 4_000 };
    /// A worn memory card.
    pub const SLOW: Speed = Speed { flush_us_min: 10_000, flush_us_max: 100_000 };
}

/// The disks of one server: what survives its crashes, and the one it has open. Cheap to clone.
#[derive(Clone)]
pub struct SimDisks {
    random: SimRandom,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    durable: Records,
    speed: Speed,
    /// Acknowledges before it flushes: the planted bug that the durability check must find.
    lies: bool,
    open: Option<Arc<SimDisk>>,
}

impl SimDisks {
    /// An empty disk.
    pub fn new(random: SimRandom) -> Self {
        let inner = Inner { durable: Records::default(), speed: Speed::FAST, lies: false, open: None };
        SimDisks { random, inner: Arc::new(Mutex::new(inner)) }
    }

    /// Changes how long flushes take from now on.
    pub fn set_speed(&self, speed: Speed) {
        self.inner().speed = speed;
    }

    /// Makes every write acknowledged before it is flushed.
    pub fn lie(&self) {
        self.inner().lies = true;
    }

    /// Cuts the power: keeps a random prefix of what is not flushed, and fails everything from now on.
    pub fn crash(&self) {
        let Some(disk) = self.inner().open.take() else { return };
        let lost = {
            let mut queue = disk.queue();
            queue.dead = true;
            std::mem::take(&mut queue.waiting)
        };
        let kept = usize::try_from(self.random.below(lost.len() as u64 + 1)).expect("no more than there are");
        let mut inner = self.inner();
        lost.iter().take(kept).for_each(|(op, _)| inner.durable.apply(op.clone()));
        drop(inner);
        // Dropping what waits tells it that it failed.
        drop(lost);
        disk.filled.notify_one();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush_time(&self) -> Duration {
        let inner = self.inner();
        // Who lies takes its time.
        let Speed { flush_us_min, flush_us_max } = if inner.lies { Speed::SLOW } else { inner.speed };
        drop(inner);
        Duration::from_micros(flush_us_min + self.random.below(flush_us_max - flush_us_min + 1))
    }
}

impl Disks for SimDisks {
    fn open<'a>(&'a self, _: Option<&'a Path>) -> BoxFuture<'a, Result<Arc<dyn Disk>, OpenError>> {
        Box::pin(async {
            let live = self.inner().durable.clone();
            let queue = Queue { live, waiting: VecDeque::new(), dead: false };
            let disk = Arc::new(SimDisk { disks: self.clone(), queue: Mutex::new(queue), filled: Notify::new() });
            self.inner().open = Some(disk.clone());
            tokio::spawn(disk.clone().flush());
            Ok(disk as Arc<dyn Disk>)
        })
    }
}

/// A disk between two crashes.
struct SimDisk {
    disks: SimDisks,
    queue: Mutex<Queue>,
    filled: Notify,
}

struct Queue {
    /// What reads see.
    live: Records,
    waiting: VecDeque<(Op, Done)>,
    dead: bool,
}

impl SimDisk {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Flushes what waits, group after group, until the disk dies.
    async fn flush(self: Arc<Self>) {
        loop {
            let group = {
                let queue = self.queue();
                if queue.dead {
                    return;
                }
                queue.waiting.len()
            };
            if group == 0 {
                self.filled.notified().await;
                continue;
            }
            tokio::time::sleep(self.disks.flush_time()).await;
            self.flushed(group);
        }
    }

    fn flushed(&self, group: usize) {
        let group: Vec<_> = {
            let mut queue = self.queue();
            let group = group.min(queue.waiting.len());
            queue.waiting.drain(..group).collect()
        };
        let mut inner = self.disks.inner();
        group.iter().for_each(|(op, _)| inner.durable.apply(op.clone()));
        drop(inner);
        group.into_iter().for_each(|(_, done)| done.complete(Ok(())));
    }

    fn read<T>(&self, what: impl FnOnce(&Records) -> T) -> io::Result<T> {
        let queue = self.queue();
        if queue.dead { Err(closed()) } else { Ok(what(&queue.live)) }
    }
}

impl Disk for SimDisk {
    fn load(&self) -> BoxFuture<'_, io::Result<Loaded>> {
        Box::pin(async { self.read(Records::load) })
    }

    fn submit(&self, op: Op, done: Done) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let lies = self.disks.inner().lies;
            let mut queue = self.queue();
            if queue.dead {
                drop(queue);
                return drop(done);
            }
            queue.live.apply(op.clone());
            let (early, late) = if lies { (done, Done::nobody()) } else { (Done::nobody(), done) };
            queue.waiting.push_back((op, late));
            drop(queue);
            early.complete(Ok(()));
            self.filled.notify_one();
        })
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> BoxFuture<'_, io::Result<Vec<Bytes>>> {
        Box::pin(async move { self.read(|records| records.read(from, to, bytes_max)) })
    }

    fn read_snapshot(&self) -> BoxFuture<'_, io::Result<Option<StoredSnapshot>>> {
        Box::pin(async { self.read(Records::read_snapshot) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let group = self.queue().waiting.len();
            self.flushed(group);
            self.queue().dead = true;
            self.filled.notify_one();
        })
    }
}
