//! Thousands of blocking queries, each on a connection of its own, asking again as soon as it is answered.
//!
//! A thread for each core carries its share. Every answer is counted with the moment it came; who
//! makes the writes is the part.

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::caller::PATIENCE;
use crate::wire::{self, Connection};

/// Watchers that run until the agent ends or the value is dropped and one more answer comes.
pub struct Crowd {
    count: usize,
    /// How many answers were waited for so far.
    counted: usize,
    tally: Arc<Tally>,
}

/// The answers of all watchers together. Only who waits is woken, and only by the answer that is the last one waited
/// for: waking a third thread for each of ten thousand answers would take a share of the two cores that are measured.
#[derive(Default)]
struct Tally {
    seen: Mutex<Seen>,
    enough: Condvar,
}

#[derive(Default)]
struct Seen {
    answers: usize,
    wanted: usize,
    last: Option<Instant>,
    error: Option<io::Error>,
    is_over: bool,
}

impl Tally {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an answer; returns whether anybody still counts.
    fn answered(&self) -> bool {
        let now = Instant::now();
        let mut seen = self.seen();
        seen.answers += 1;
        seen.last = seen.last.max(Some(now));
        if seen.answers == seen.wanted {
            self.enough.notify_one();
        }
        !seen.is_over
    }

    fn failed(&self, error: io::Error) {
        self.seen().error = Some(error);
        self.enough.notify_one();
    }
}

impl Crowd {
    /// Starts `count` watchers of the paths that `path` names, and waits until each has been answered once.
    ///
    /// # Errors
    /// They cannot all connect, or are not all answered.
    pub fn gather(address: SocketAddr, count: usize, path: fn(usize) -> String) -> io::Result<Crowd> {
        let mut crowd = Crowd { count, counted: 0, tally: Arc::default() };
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        for first in 0..threads {
            let tally = Arc::clone(&crowd.tally);
            let paths: Vec<String> = (first..count).step_by(threads).map(path).collect();
            thread::Builder::new().name("watchers".to_owned()).spawn(move || {
                if let Err(error) = share(address, paths, &tally) {
                    // Nobody listens any more when the agent was ended on purpose.
                    tally.failed(error);
                }
            })?;
        }
        crowd.all_awake()?;
        Ok(crowd)
    }

    /// Waits for an answer to every watcher, and returns when the last one came.
    ///
    /// # Errors
    /// Some did not come in time.
    pub fn all_awake(&mut self) -> io::Result<Instant> {
        self.awake(self.count)
    }

    /// Waits for `count` answers, and returns when the last one came.
    ///
    /// # Errors
    /// Some did not come in time.
    pub fn awake(&mut self, count: usize) -> io::Result<Instant> {
        let mut seen = self.tally.seen();
        let before = self.counted;
        self.counted += count;
        seen.wanted = self.counted;
        let missing = |seen: &Seen| seen.answers < self.counted && seen.error.is_none();
        let waited = self.tally.enough.wait_timeout_while(seen, PATIENCE, |seen| missing(seen));
        seen = waited.unwrap_or_else(PoisonError::into_inner).0;
        if let Some(error) = seen.error.take() {
            return Err(error);
        }
        match seen.last {
            Some(last) if seen.answers >= self.counted => Ok(last),
            _ => Err(io::Error::other(format!("only {} of {count} watchers were answered", seen.answers - before))),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.tally.seen().is_over = true;
    }
}

/// One thread's watchers. They end with an error when the agent ends, which is how every turn ends.
fn share(address: SocketAddr, paths: Vec<String>, tally: &Arc<Tally>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async {
        let mut running = Vec::new();
        for path in paths {
            // One after the other: the agent's queue of new connections is short.
            let connection = Connection::open(address).await?;
            running.push(tokio::task::spawn_local(watch(connection, path, Arc::clone(tally))));
        }
        for watcher in running {
            watcher.await.map_err(io::Error::other)??;
        }
        Ok(())
    })
}

async fn watch(mut connection: Connection, path: String, tally: Arc<Tally>) -> io::Result<()> {
    let mut request = Vec::new();
    wire::get(&mut request, format_args!("{path}"));
    loop {
        let head = connection.exchange(&request).await?;
        if !tally.answered() {
            return Ok(());
        }
        let index = head.index.ok_or_else(|| io::Error::other("an answer without an index"))?;
        request.clear();
        wire::get(&mut request, format_args!("{path}?index={index}&wait=10m"));
    }
}
