//! A loaded plugin: what it says of itself, and its runs.

use crate::catalog::Catalog;
use crate::description::Description;
use crate::{CheckOutcome, Failure, FailureKind, File, Grants, Limits, Ran, RenderRequest, Usage};
use std::fmt;
use std::sync::Arc;

/// The SHA-256 of a plugin's file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of a file's bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut digest = [0; 32];
        digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
        Digest(digest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

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
    digest: Digest,
    world: World,
    description: Description,
}

impl Plugin {
    /// The SHA-256 of the file it was loaded from.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// What it is for.
    pub fn world(&self) -> World {
        self.inner.world
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
        let _ = (grants, limits, subject, config);
        let result = Err(FailureKind::WrongWorld("not a health check".to_owned()).into());
        Ran { result, usage: Usage::default(), reads: Vec::new(), denied: Vec::new() }
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
        let _ = (grants, limits, subject, request, catalog);
        let result = Err(FailureKind::WrongWorld("not a renderer".to_owned()).into());
        Ran { result, usage: Usage::default(), reads: Vec::new(), denied: Vec::new() }
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { digest, world, description } = &*self.inner;
        f.debug_struct("Plugin")
            .field("name", &description.name)
            .field("version", &description.version)
            .field("world", world)
            .field("digest", digest)
            .finish()
    }
}
