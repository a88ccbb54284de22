//! Probes on the way: so many at once and no more, each within its own task, each with a result whatever happens.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use agent_core::health::spec::{CheckSpec, Outcome};
use agent_core::local::{Input, RunId};
use agent_core::state::tables::Status;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use crate::checks::Prober;

/// How many probes run at once. The others wait their turn; their timeouts begin with it.
const PROBES_MAX: usize = 64;

/// The probes of one agent. Dropping it ends them all.
pub(super) struct Runs {
    prober: Arc<dyn Prober>,
    reports: mpsc::Sender<Input>,
    permits: Arc<Semaphore>,
    tasks: JoinSet<()>,
    handles: BTreeMap<RunId, AbortHandle>,
}

impl Runs {
    pub(super) fn new(prober: Arc<dyn Prober>, reports: mpsc::Sender<Input>) -> Self {
        Runs {
            prober,
            reports,
            permits: Arc::new(Semaphore::new(PROBES_MAX)),
            tasks: JoinSet::new(),
            handles: BTreeMap::new(),
        }
    }

    pub(super) fn start(&mut self, spec: Arc<CheckSpec>, run: RunId) {
        while self.tasks.try_join_next().is_some() {}
        self.handles.retain(|_, handle| !handle.is_finished());
        let (prober, permits, reports) = (self.prober.clone(), self.permits.clone(), self.reports.clone());
        let handle = self.tasks.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let outcome = contained(&*prober, &spec).await;
            // The loop that asked may have ended.
            let _ = reports.send(Input::ProbeDone { id: spec.id.clone(), run, outcome }).await;
        });
        self.handles.insert(run, handle);
    }

    pub(super) fn cancel(&mut self, run: RunId) {
        if let Some(handle) = self.handles.remove(&run) {
            handle.abort();
        }
    }
}

/// Runs a probe; one that panics is a critical result, not a check that never runs again.
async fn contained(prober: &dyn Prober, spec: &CheckSpec) -> Outcome {
    let mut probe = prober.probe(spec);
    std::future::poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| probe.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            let output = "the probe failed: this is a defect of the agent, not of what it checks".to_owned();
            Poll::Ready(Outcome { status: Status::Critical, output })
        })
    })
    .await
}
