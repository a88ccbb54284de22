//! A loaded plugin: what it says of itself, and its runs.

use crate::bindings::exports::lictor::plugin::renderer;
use crate::catalog::Catalog;
use crate::description::Description;
use crate::host::Shared;
use crate::load::Template;
use crate::run::{Run, Start, not_started};
use crate::{CheckOutcome, Failure, FailureKind, File, Grants, Limits, Ran, RenderRequest, results};
use agent_core::plugin::digest::Digest;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::Engine;

/// The worlds of `wit/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// `health-check`.
    HealthCheck,
    /// `template-renderer`.
    TemplateRenderer,
}

/// A loaded plugin. A clone is the same one; the code is freed with the last.
#[derive(Clone)]
pub struct Plugin {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    engine: Engine,
    template: Template,
    name: Arc<str>,
    digest: Digest,
    description: Description,
    loaded_in: Duration,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.in_use(self.digest, false);
    }
}

impl Plugin {
    pub(crate) fn new(
        shared: Arc<Shared>,
        digest: Digest,
        engine: Engine,
        template: Template,
        description: Description,
        loaded_in: Duration,
    ) -> Plugin {
        shared.in_use(digest, true);
        let name = description.name.as_str().into();
        Plugin { inner: Arc::new(Inner { shared, engine, template, name, digest, description, loaded_in }) }
    }

    /// The SHA-256 of the file it was loaded from.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// How long it took to load: to read or compile its code, to link it, and to ask what it is. Waiting for others to load is not counted.
    pub fn loaded_in(&self) -> Duration {
        self.inner.loaded_in
    }

    /// What it is for.
    pub fn world(&self) -> World {
        match self.inner.template {
            Template::Check(_) => World::HealthCheck,
            Template::Renderer(_) => World::TemplateRenderer,
        }
    }

    /// What it says of itself.
    pub fn description(&self) -> &Description {
        &self.inner.description
    }

    /// Runs a check once. `subject` names it in log lines (a check's id); `config` is a JSON object that its schema allows, see
    /// [`Description::schema`]. Dropping the future ends the run and frees all it held.
    pub async fn check(
        &self,
        grants: &Grants,
        limits: &Limits,
        subject: &str,
        config: &str,
    ) -> Ran<Result<CheckOutcome, Failure>> {
        let Template::Check(pre) = &self.inner.template else {
            return not_started(self.wrong_world("renders templates and cannot check"));
        };
        let mut run = match Run::prepare(self.start(grants, limits, subject, None)).await {
            Ok(run) => run,
            Err(failure) => return not_started(failure),
        };
        let ended = run.clock.clone().bound(&self.inner.shared.ticker, limits.wall, async {
            let instance = pre.instantiate_async(&mut run.store).await?;
            instance.lictor_plugin_check().call_run(&mut run.store, config).await
        });
        let ended = ended.await;
        run.finish(ended).map(|outcome| Ok(results::outcome(outcome, limits)))
    }

    /// Renders once. What was read comes back even when the render failed: it should be tried again when that changes.
    pub async fn render(
        &self,
        grants: &Grants,
        limits: &Limits,
        subject: &str,
        request: RenderRequest,
        catalog: Arc<dyn Catalog>,
    ) -> Ran<Result<Vec<File>, Failure>> {
        let Template::Renderer(pre) = &self.inner.template else {
            return not_started(self.wrong_world("is a health check and cannot render"));
        };
        let mut run = match Run::prepare(self.start(grants, limits, subject, Some(catalog))).await {
            Ok(run) => run,
            Err(failure) => return not_started(failure),
        };
        let RenderRequest { config, template, node, datacenter } = request;
        let request = renderer::Request { config, template, node, datacenter };
        let ended = run.clock.clone().bound(&self.inner.shared.ticker, limits.wall, async {
            let instance = pre.instantiate_async(&mut run.store).await?;
            instance.lictor_plugin_renderer().call_render(&mut run.store, &request).await
        });
        let ended = ended.await;
        run.finish(ended).map(|rendered| results::files(rendered, limits))
    }

    fn start<'a>(
        &'a self,
        grants: &'a Grants,
        limits: &'a Limits,
        subject: &'a str,
        catalog: Option<Arc<dyn Catalog>>,
    ) -> Start<'a> {
        let Inner { shared, engine, name, .. } = &*self.inner;
        Start { shared, engine, plugin: name.clone(), subject, grants, limits, catalog }
    }

    fn wrong_world(&self, what: &str) -> Failure {
        FailureKind::WrongWorld(format!("the plugin {} {what}", self.inner.name)).into()
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { digest, description, .. } = &*self.inner;
        f.debug_struct("Plugin")
            .field("name", &description.name)
            .field("version", &description.version)
            .field("world", &self.world())
            .field("digest", digest)
            .finish()
    }
}
