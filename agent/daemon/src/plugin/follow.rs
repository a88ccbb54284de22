//! The loop of one plugin: its source names a version, the rollout's rules say what to do, and it is done.
//!
//! Ends when it is dropped. Compiling and trials run beside the loop, so a newer version is heard of meanwhile.

use std::sync::Arc;

use agent_core::local;
use agent_core::plugin::digest::Digest;
use agent_core::plugin::rollout::{Input, Output, Rollout};
use tokio::task::JoinSet;

use super::Plugins;
use super::fetch::Fetcher;
use super::settings::Origin;
use super::slot::{Serving, Slot};
use super::source::{FileSource, Found, StoreSource};
use super::trial;
use crate::sync::LocalHandle;

/// What a loop works with.
#[derive(Clone)]
pub struct Deps {
    /// All plugins.
    pub plugins: Arc<Plugins>,
    /// Where checks are registered.
    pub local: LocalHandle,
    /// Where published plugins are had.
    pub fetcher: Arc<Fetcher>,
}

/// Where this plugin's versions come from.
enum Source {
    File(FileSource),
    Store(StoreSource),
}

impl Source {
    /// What it tells next, and the source to ask after that. To drop this future is to lose what it has noticed so far.
    async fn next(mut self) -> (Source, Result<Found, String>) {
        let found = match &mut self {
            Source::File(source) => source.next().await,
            Source::Store(source) => source.next().await,
        };
        (self, found)
    }
}

/// What work beside the loop came to.
enum Done {
    Loaded(Digest, Result<Arc<Serving>, String>),
    Tried(Digest, Option<String>),
}

struct Loop {
    deps: Deps,
    slot: Arc<Slot>,
    rollout: Rollout<Digest>,
    /// What the source offered last, until it is loaded.
    offered: Option<Found>,
    /// The version on its way, once it is loaded.
    candidate: Option<Arc<Serving>>,
    work: JoinSet<Done>,
}

/// Follows a plugin for as long as it is polled.
pub async fn follow(deps: Deps, slot: Arc<Slot>) {
    let stored = |pinned| StoreSource::new(Arc::clone(&deps.fetcher), slot.name.clone(), pinned);
    let source = match &slot.settings.origin {
        Origin::File(path) => Source::File(FileSource::new(path.clone())),
        Origin::Digest(digest) => Source::Store(stored(Some(*digest))),
        Origin::Published => Source::Store(stored(None)),
    };
    let serving = slot.serving().map(|serving| serving.digest());
    let rollout = Rollout::new(serving, slot.settings.trials);
    let mut this = Loop { deps, slot, rollout, offered: None, candidate: None, work: JoinSet::new() };
    let mut next = std::pin::pin!(source.next());
    loop {
        let input = tokio::select! {
            biased;
            Some(done) = this.work.join_next() => this.done(done),
            (source, found) = &mut next => {
                next.set(source.next());
                this.found(found)
            }
        };
        let output = input.and_then(|input| this.rollout.step(input));
        this.show();
        if let Some(output) = output {
            this.perform(output).await;
        }
        this.offered = None;
    }
}

impl Loop {
    fn found(&mut self, found: Result<Found, String>) -> Option<Input<Digest>> {
        let (input, error) = match found {
            Ok(found) => {
                let digest = found.digest;
                self.offered = Some(found);
                (Some(Input::Wanted(digest)), None)
            }
            Err(error) => (None, Some(error)),
        };
        // On show first: whoever reads the line looks there.
        self.slot.note(|state| state.source_error.clone_from(&error));
        if let Some(error) = error {
            tracing::warn!(plugin = %self.slot.name, %error, "no version of a plugin could be read");
        }
        input
    }

    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) -> Option<Input<Digest>> {
        match done {
            Ok(Done::Loaded(digest, Ok(serving))) => {
                // One that nobody wants any more comes too late.
                self.rollout.candidate().filter(|(wanted, _)| **wanted == digest)?;
                self.candidate = Some(serving);
                Some(Input::Loaded(digest))
            }
            Ok(Done::Loaded(version, Err(reason))) => Some(Input::Refused { version, reason }),
            Ok(Done::Tried(version, fault)) => Some(Input::Tried { version, fault }),
            Err(error) if error.is_cancelled() => None,
            Err(_) => {
                let (version, _) = self.rollout.candidate()?;
                let reason = "the agent failed while it loaded or tried it: this is a defect of the agent".to_owned();
                Some(Input::Refused { version: *version, reason })
            }
        }
    }

    async fn perform(&mut self, output: Output<Digest>) {
        match output {
            Output::Load(version) => self.load(version),
            Output::Try(version) => self.try_once(version),
            Output::Serve(version) => self.serve(version).await,
            Output::Refuse { version, reason } => {
                self.candidate = None;
                self.slot.note(|state| state.refusals += 1);
                let (plugin, digest) = (&self.slot.name, version);
                tracing::warn!(%plugin, %digest, %reason, "a version of a plugin was refused; what served before goes on");
            }
        }
    }

    fn load(&mut self, version: Digest) {
        self.work.abort_all();
        self.candidate = None;
        let found = self.offered.take().expect("a version is wanted when it was found");
        let plugins = Arc::clone(&self.deps.plugins);
        self.work.spawn(async move {
            let loaded = plugins.load(found).await.map(|plugin| Serving::new(plugin, version));
            Done::Loaded(version, loaded)
        });
    }

    fn try_once(&mut self, version: Digest) {
        let serving = self.slot.serving().expect("only what replaces another is tried");
        let candidate = self.candidate.clone().expect("what is tried was loaded");
        let slot = Arc::clone(&self.slot);
        let checks = trial::checks(&self.deps.local.view(), &slot.name);
        self.work.spawn(async move { Done::Tried(version, trial::run(&slot, &serving, &candidate, &checks).await) });
    }

    async fn serve(&mut self, version: Digest) {
        let loaded = self.candidate.take().expect("what comes to serve was loaded");
        let swapped = self.slot.serving().is_some();
        self.slot.serve(Arc::clone(&loaded));
        self.slot.note(|state| state.swapped += u64::from(swapped));
        // An agent that is shutting down registers nothing any more.
        let _ = self.deps.local.send(local::Input::Plugins(self.deps.plugins.known())).await;
        let (plugin, digest) = (&self.slot.name, version);
        tracing::info!(%plugin, %digest, version = %loaded.plugin.description().version, "a plugin serves");
    }

    /// Puts where the replacement stands on show.
    fn show(&self) {
        let candidate = self.rollout.candidate().map(|(version, passed)| (version.to_string(), passed));
        let refused = self.rollout.refused().map(|(version, reason)| (version.to_string(), reason.to_owned()));
        self.slot.note(|state| (state.candidate, state.refused) = (candidate, refused));
    }
}
