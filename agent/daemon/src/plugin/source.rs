//! Where the versions of a plugin come from.
//!
//! A source tells a version when asked first, and again whenever another may be wanted. It reads no file larger than a
//! component may be.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_core::plugin::digest::Digest;
use agent_core::state::tables::{Index, PluginVersion};
use agent_wasm::COMPILED_BYTES_MAX;

use super::fetch::{FetchError, Fetcher, Published};
use super::file::FileWatch;

/// A version with its bytes.
pub(super) struct Found {
    pub(super) digest: Digest,
    pub(super) component: Vec<u8>,
    /// Whether it may be run as the native code it is when it was compiled ahead: the operator chose the file, or somebody
    /// trusted has signed it.
    pub(super) may_be_native: bool,
}

/// A file of this host.
pub(super) struct FileSource {
    path: PathBuf,
    watch: Option<FileWatch>,
}

impl FileSource {
    pub(super) fn new(path: PathBuf) -> FileSource {
        FileSource { path, watch: None }
    }

    /// What the file holds: at once the first time, after its next change from then on.
    ///
    /// # Errors
    /// It can't be read. Asked again, this waits for a change.
    pub(super) async fn next(&mut self) -> Result<Found, String> {
        match &self.watch {
            Some(watch) => {
                if watch.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            // Watched before it is read, so that no change falls in between.
            None => match FileWatch::new(&self.path) {
                Ok(watch) => self.watch = Some(watch),
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), %error, "changes of a plugin's file are noticed on reload only");
                    self.watch = Some(FileWatch::never());
                }
            },
        }
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        read.unwrap_or_else(|error| Err(format!("reading it failed: {error}")))
    }
}

fn read(path: &Path) -> Result<Found, String> {
    let explain = |error| format!("could not read {}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(explain)?;
    let mut component = Vec::new();
    file.take(COMPILED_BYTES_MAX + 1).read_to_end(&mut component).map_err(explain)?;
    if component.len() as u64 > COMPILED_BYTES_MAX {
        return Err(format!("{} is larger than {} MiB", path.display(), COMPILED_BYTES_MAX >> 20));
    }
    Ok(Found { digest: Digest::of(&component), component, may_be_native: true })
}

/// The longest wait before the servers are asked again after they could not be reached.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The cluster's store.
pub(super) struct StoreSource {
    fetcher: Arc<Fetcher>,
    name: String,
    pinned: Option<Digest>,
    /// What the servers said was at this index of theirs.
    index: Index,
    /// How often in a row they could not be reached.
    failures: u32,
    /// The version told last.
    told: Option<Digest>,
}

impl StoreSource {
    /// What is published under `name`: the file its key says, or the one with the digest `pinned`.
    pub(super) fn new(fetcher: Arc<Fetcher>, name: String, pinned: Option<Digest>) -> StoreSource {
        StoreSource { fetcher, name, pinned, index: 0, failures: 0, told: None }
    }

    /// The version that is wanted: at once the first time, whenever another is wanted from then on.
    ///
    /// # Errors
    /// There is none, or it can't be had. Asked again, this waits: for the servers to be reached, or to say something else.
    pub(super) async fn next(&mut self) -> Result<Found, String> {
        loop {
            let published = self.ask().await?;
            let version = self.choose(published)?;
            if self.told == Some(version.digest) {
                continue;
            }
            match self.fetcher.fetch(&version).await {
                Ok(component) => {
                    self.told = Some(version.digest);
                    let may_be_native = self.fetcher.trusts_by_signature();
                    return Ok(Found { digest: version.digest, component: component.into(), may_be_native });
                }
                Err(error) => {
                    if matches!(error, FetchError::Unavailable(_)) {
                        self.ask_again();
                    }
                    return Err(error.to_string());
                }
            }
        }
    }

    async fn ask(&mut self) -> Result<Option<Published>, String> {
        if self.failures > 0 {
            tokio::time::sleep(Duration::from_secs(1 << self.failures.min(5)).min(RETRY_MAX)).await;
        }
        let error = match self.fetcher.published(&self.name, self.index).await {
            Ok((index, published)) => {
                (self.index, self.failures) = (index, 0);
                return Ok(published);
            }
            Err(error) => error.to_string(),
        };
        let first = self.index == 0 && self.failures == 0;
        self.ask_again();
        // Right after a start, what ran before is better than nothing.
        let last = if first { self.fetcher.last_published(&self.name).await } else { None };
        last.map(Some).ok_or(error)
    }

    /// The next question is answered at once, whatever was heard before.
    fn ask_again(&mut self) {
        (self.failures, self.index) = (self.failures.saturating_add(1), 0);
    }

    fn choose(&self, published: Option<Published>) -> Result<PluginVersion, String> {
        let name = &self.name;
        let Some(published) = published else {
            return Err(format!(
                "nothing is published as {name:?}: `lictor plugin push FILE -name {name}`, or set path"
            ));
        };
        match &self.pinned {
            Some(digest) => published
                .pinned(digest)
                .cloned()
                .ok_or_else(|| format!("none of the files of {name:?} has the digest {digest}: push it again")),
            None => published.wanted.ok_or_else(|| {
                let said = &published.wanted_text;
                format!("the key lictor/plugins/{name} says {said:?}, which is none of the plugin's files")
            }),
        }
    }
}
