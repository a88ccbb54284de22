//! The loop around local state: runs checks, and syncs what changed to the catalog.
//!
//! Owns the [`Local`] machine. Holds no rules: an event comes in, the machine
//! steps, its outputs are performed. Others talk to it through [`LocalHandle`].
//! Slow work (probes, files, the catalog) runs beside the loop and reports back.

mod catalog;
mod keeper;
mod mirrors;
mod runs;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use agent_core::local::{Definitions, Input, Local, LocalView, LogLine, Output, Refusal, Settings, Weight};
use agent_core::state::tables::Status;
use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use catalog::{Catalog, RaftCatalog};

use crate::checks::Prober;
use crate::env::Env;
use crate::persist::Persist;
use keeper::{Keeper, Kept};
use mirrors::Mirrors;
use runs::Runs;

/// How many requests may wait for the loop before their senders do.
const REQUESTS_MAX: usize = 256;

/// How many results of work beside the loop may wait before that work does.
const REPORTS_MAX: usize = 256;

/// What the loop works with.
pub struct Deps {
    /// The outside world.
    pub env: Env,
    /// Where the catalog is read and written.
    pub catalog: Arc<dyn Catalog>,
    /// What runs checks.
    pub prober: Arc<dyn Prober>,
    /// The data directory; `None` keeps nothing (`-dev`).
    pub persist: Option<Persist>,
    /// What the machine is told.
    pub settings: Settings,
    /// Services and checks from configuration files.
    pub config: Definitions,
}

/// Why an input was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalError {
    /// The machine refused it; nothing was changed. The text is Consul's.
    Refused(Refusal),
    /// It was carried out, but could not be kept on disk: a restart forgets it.
    NotPersisted(String),
    /// The loop has ended: the agent is shutting down.
    Stopped,
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalError::Refused(refusal) => refusal.fmt(f),
            LocalError::NotPersisted(why) => write!(f, "could not persist the definition: {why}"),
            LocalError::Stopped => f.write_str("the agent is shutting down"),
        }
    }
}

impl std::error::Error for LocalError {}

type Answer = oneshot::Sender<Result<(), LocalError>>;

/// The door to local state. Cheap to clone. The loop ends when the last handle is gone.
#[derive(Clone)]
pub struct LocalHandle {
    requests: mpsc::Sender<(Input, Answer)>,
    view: Arc<ArcSwap<LocalView>>,
    version: watch::Receiver<u64>,
}

impl LocalHandle {
    /// Steps the machine with `input` and waits until it is carried out and, for definitions, on disk.
    ///
    /// # Errors
    /// [`LocalError`]. Inputs that do not reply answer `Ok` when they were stepped.
    pub async fn send(&self, input: Input) -> Result<(), LocalError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send((input, answer)).await.map_err(|_| LocalError::Stopped)?;
        answered.await.unwrap_or(Err(LocalError::Stopped))
    }

    /// The latest snapshot. Never waits.
    pub fn view(&self) -> Arc<LocalView> {
        self.view.load_full()
    }

    /// Returns when the snapshot's version differs from `seen`, with the new snapshot; never when the loop has ended.
    pub async fn changed(&self, seen: u64) -> Arc<LocalView> {
        let mut version = self.version.clone();
        if version.wait_for(|v| *v != seen).await.is_err() {
            std::future::pending::<()>().await;
        }
        self.view()
    }
}

/// Starts the loop. Returns when everything that was kept or configured is loaded.
///
/// # Errors
/// [`LocalError::Refused`] names the first definition of a configuration file that was refused; the loop ends.
/// What was kept and is refused is only logged.
pub async fn start(deps: Deps) -> Result<(LocalHandle, JoinHandle<()>), LocalError> {
    let (requests, incoming) = mpsc::channel(REQUESTS_MAX);
    let view = Arc::new(ArcSwap::from_pointee(LocalView::default()));
    let (published, version) = watch::channel(0);
    let handle = LocalHandle { requests, view: view.clone(), version };
    let (answer, loaded) = oneshot::channel();
    let task = tokio::spawn(Loop::run(deps, incoming, view, published, answer));
    match loaded.await.unwrap_or(Err(LocalError::Stopped)) {
        // What the disk did not take is in the log: an agent starts all the same.
        Ok(()) | Err(LocalError::NotPersisted(_)) => Ok((handle, task)),
        Err(error @ (LocalError::Refused(_) | LocalError::Stopped)) => Err(error),
    }
}

fn log(line: &LogLine) {
    let LogLine { weight, message, service, check, status, error } = line;
    let (service, check, error) = (service.as_deref(), check.as_deref(), error.as_deref());
    let status = status.map(Status::as_str);
    match weight {
        Weight::Debug => tracing::debug!(service, check, status, error, "{message}"),
        Weight::Info => tracing::info!(service, check, status, error, "{message}"),
        Weight::Warn => tracing::warn!(service, check, status, error, "{message}"),
    }
}

enum Event {
    Request(Input, Answer),
    Report(Input),
    Tick,
    Closed,
}

struct Loop {
    env: Env,
    local: Local,
    catalog: Arc<dyn Catalog>,
    runs: Runs,
    mirrors: Mirrors,
    keeper: Keeper,
    /// Where work beside the loop reports to.
    reports: mpsc::Sender<Input>,
    view: Arc<ArcSwap<LocalView>>,
    published: watch::Sender<u64>,
}

impl Loop {
    async fn run(
        deps: Deps,
        mut incoming: mpsc::Receiver<(Input, Answer)>,
        view: Arc<ArcSwap<LocalView>>,
        published: watch::Sender<u64>,
        loaded: Answer,
    ) {
        let Deps { env, catalog, prober, persist, settings, config } = deps;
        let (reports, mut reported) = mpsc::channel(REPORTS_MAX);
        let (keeper, persisted) = Keeper::start(persist, env.clone()).await;
        let runs = Runs::new(prober, reports.clone());
        let mirrors = Mirrors::new(catalog.clone(), reports.clone());
        let servers = tokio::spawn(catalog::report_servers(catalog.clone(), reports.clone()));
        let local = Local::new(settings);
        let mut this = Loop { env, local, catalog, runs, mirrors, keeper, reports, view, published };
        this.step(Input::Load { config, persisted }, Some(loaded)).await;
        loop {
            match this.next(&mut incoming, &mut reported).await {
                Event::Request(input, answer) => this.step(input, Some(answer)).await,
                Event::Report(input) => this.step(input, None).await,
                Event::Tick => this.step(Input::Tick, None).await,
                Event::Closed => break,
            }
        }
        servers.abort();
        this.keeper.stop().await;
    }

    /// Work that ended comes first, then what is due, then what is new.
    async fn next(
        &self,
        incoming: &mut mpsc::Receiver<(Input, Answer)>,
        reported: &mut mpsc::Receiver<Input>,
    ) -> Event {
        let due = async {
            match self.local.deadline() {
                Some((at, _)) => tokio::time::sleep_until(self.env.deadline(at)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(input) = reported.recv() => Event::Report(input),
            () = due => Event::Tick,
            request = incoming.recv() => match request {
                Some((input, answer)) => Event::Request(input, answer),
                None => Event::Closed,
            },
        }
    }

    async fn step(&mut self, input: Input, answer: Option<Answer>) {
        let outputs = self.local.step(self.env.now(), input);
        let mut kept = Vec::new();
        let mut result = Ok(());
        self.publish();
        for output in outputs {
            match output {
                Output::Run { spec, run } => self.runs.start(spec, run),
                Output::Cancel { id: _, run } => self.runs.cancel(run),
                Output::ReadRemote => self.read_remote(),
                Output::Sync { id, commands } => {
                    tokio::spawn(catalog::write_all(self.catalog.clone(), id, commands, self.reports.clone()));
                }
                Output::Persist(record) => kept.push(Kept::Store(record)),
                Output::ForgetService(id) => kept.push(Kept::ForgetService(id)),
                Output::ForgetCheck(id) => kept.push(Kept::ForgetCheck(id)),
                Output::WatchNodes(nodes) => self.mirrors.watch(nodes),
                Output::Reply(replied) => result = replied.map_err(LocalError::Refused),
                Output::Log(line) => log(&line),
            }
        }
        self.keeper.keep(kept, answer, result).await;
    }

    fn publish(&self) {
        let view = self.local.view();
        if *self.published.borrow() != view.version {
            self.view.store(Arc::new(view.clone()));
            self.published.send_replace(view.version);
        }
    }

    fn read_remote(&self) {
        let (catalog, reports) = (self.catalog.clone(), self.reports.clone());
        let node = self.local.node_name().to_owned();
        tokio::spawn(async move {
            let remote = catalog.read(&node, 0).await;
            let remote = remote.map(|(_, remote)| Box::new(remote)).map_err(|error| error.to_string());
            // The loop that asked may have ended.
            let _ = reports.send(Input::RemoteView(remote)).await;
        });
    }
}
