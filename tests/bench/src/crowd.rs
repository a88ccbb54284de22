//! Thousands of blocking queries, each on a connection of its own, asking again as soon as it is answered.
//!
//! A thread for each core carries its share. Every answer is reported with the moment it came; who counts them and
//! makes the writes is the part.

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::thread;

use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{Instant, timeout_at};

use crate::caller::PATIENCE;
use crate::wire::{self, Connection};

/// Watchers that run until the agent ends or the value is dropped and one more answer comes.
pub struct Crowd {
    count: usize,
    answers: mpsc::Receiver<io::Result<Instant>>,
}

impl Crowd {
    /// Starts `count` watchers of the paths that `path` names, and waits until each has been answered once.
    ///
    /// # Errors
    /// They cannot all connect, or are not all answered.
    pub fn gather(address: SocketAddr, count: usize, path: fn(usize) -> String) -> io::Result<Crowd> {
        let (report, answers) = mpsc::channel(count);
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        for first in 0..threads {
            let report = report.clone();
            let paths: Vec<String> = (first..count).step_by(threads).map(path).collect();
            thread::Builder::new().name("watchers".to_owned()).spawn(move || {
                if let Err(error) = share(address, paths, &report) {
                    // Nobody listens any more when the agent was ended on purpose.
                    let _ = report.blocking_send(Err(error));
                }
            })?;
        }
        drop(report);
        let mut crowd = Crowd { count, answers };
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
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let deadline = Instant::now() + PATIENCE;
        runtime.block_on(async {
            let mut last = None;
            for number in 0..count {
                let answer = timeout_at(deadline, self.answers.recv()).await;
                let missing = || io::Error::other(format!("only {number} of {count} watchers were answered"));
                last = last.max(Some(answer.ok().flatten().ok_or_else(missing)??));
            }
            last.ok_or_else(|| io::Error::other("nobody watches"))
        })
    }
}

/// One thread's watchers. They end with an error when the agent ends, which is how every turn ends.
fn share(address: SocketAddr, paths: Vec<String>, report: &mpsc::Sender<io::Result<Instant>>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async {
        let mut running = Vec::new();
        for path in paths {
            // One after the other: the agent's queue of new connections is short.
            let connection = Connection::open(address).await?;
            running.push(tokio::task::spawn_local(watch(connection, path, report.clone())));
        }
        for watcher in running {
            watcher.await.map_err(io::Error::other)??;
        }
        Ok(())
    })
}

async fn watch(mut connection: Connection, path: String, report: mpsc::Sender<io::Result<Instant>>) -> io::Result<()> {
    let mut request = Vec::new();
    wire::get(&mut request, format_args!("{path}"));
    loop {
        let head = connection.exchange(&request).await?;
        if report.send(Ok(Instant::now())).await.is_err() {
            return Ok(());
        }
        let index = head.index.ok_or_else(|| io::Error::other("an answer without an index"))?;
        request.clear();
        wire::get(&mut request, format_args!("{path}?index={index}&wait=10m"));
    }
}
