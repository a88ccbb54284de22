//! Keeps records on disk beside the loop, in order, and answers requests once theirs are there.

use agent_core::local::{Persisted, Record};
use agent_core::state::tables::{CheckId, ServiceId};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::error;

use super::{Answer, LocalError};
use crate::env::Env;
use crate::persist::Persist;

/// How many steps may wait for the disk before the loop does.
const JOBS_MAX: usize = 256;

/// One change of what is kept.
pub(super) enum Kept {
    Store(Record),
    ForgetService(ServiceId),
    ForgetCheck(CheckId),
}

/// The changes of one step and who waits for them.
struct Job {
    changes: Vec<Kept>,
    answer: Option<Answer>,
    result: Result<(), LocalError>,
}

/// The one writer of the agent's records.
pub(super) struct Keeper {
    /// `None` when nothing is kept.
    worker: Option<(mpsc::Sender<Job>, JoinHandle<()>)>,
}

impl Keeper {
    /// Loads what was kept and starts the writer.
    pub(super) async fn start(persist: Option<Persist>, env: Env) -> (Self, Persisted) {
        let Some(persist) = persist else { return (Keeper { worker: None }, Persisted::default()) };
        let now_ms = env.clock.wall_ms();
        let loading = persist.clone();
        let persisted = spawn_blocking(move || loading.load(now_ms)).await.unwrap_or_else(|panic| {
            error!("could not load registered services and checks: {panic}");
            Persisted::default()
        });
        let (jobs, incoming) = mpsc::channel(JOBS_MAX);
        let worker = tokio::spawn(work(persist, env, incoming));
        (Keeper { worker: Some((jobs, worker)) }, persisted)
    }

    /// Makes the changes of one step, then answers.
    pub(super) async fn keep(&mut self, changes: Vec<Kept>, answer: Option<Answer>, result: Result<(), LocalError>) {
        let job = Job { changes, answer, result };
        match &self.worker {
            Some((jobs, _)) if !job.changes.is_empty() => {
                if let Err(unsent) = jobs.send(job).await {
                    unsent.0.finish(Err("the writer has stopped".to_owned()));
                }
            }
            Some(_) | None => job.finish(Ok(())),
        }
    }

    /// Returns when everything is written.
    pub(super) async fn stop(self) {
        if let Some((jobs, worker)) = self.worker {
            drop(jobs);
            let _ = worker.await;
        }
    }
}

impl Job {
    fn finish(self, kept: Result<(), String>) {
        if let Err(why) = &kept {
            error!("could not persist: {why}");
        }
        if let Some(answer) = self.answer {
            // Whoever asked may have gone.
            let _ = answer.send(self.result.and(kept.map_err(LocalError::NotPersisted)));
        }
    }
}

async fn work(persist: Persist, env: Env, mut incoming: mpsc::Receiver<Job>) {
    while let Some(mut job) = incoming.recv().await {
        let changes = std::mem::take(&mut job.changes);
        let (persist, now_ms) = (persist.clone(), env.clock.wall_ms());
        let kept = spawn_blocking(move || {
            // One that fails must not keep the others from being tried.
            let results: Vec<_> = changes.iter().map(|change| apply(&persist, change, now_ms)).collect();
            results.into_iter().collect::<Result<(), String>>()
        });
        job.finish(kept.await.unwrap_or_else(|panic| Err(panic.to_string())));
    }
}

fn apply(persist: &Persist, change: &Kept, now_ms: u64) -> Result<(), String> {
    let applied = match change {
        Kept::Store(record) => persist.store(record, now_ms),
        Kept::ForgetService(id) => persist.forget_service(id),
        Kept::ForgetCheck(id) => persist.forget_check(id),
    };
    applied.map_err(|error| error.to_string())
}
