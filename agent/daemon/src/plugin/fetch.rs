//! Gets plugins from the servers: which file is to run, and the file itself.
//!
//! Works on servers and on clients alike, by the agent's own API. A file is
//! believed for its digest and its signature, wherever it comes from: also the
//! copies on this agent's disk are checked each time they are read. What was
//! last said about a plugin is kept beside them, so that an agent that starts
//! while no server can be reached runs what it ran. Decides nothing about when
//! to look and what to do with what was found.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use agent_core::plugin::digest::Digest;
use agent_core::plugin::signature::{self, Distrust, PublicKey};
use agent_core::state::plugin::FILE_BYTES_MAX;
use agent_core::state::tables::{Index, PluginVersion};
use bytes::Bytes;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};

use super::files::Files;
use super::trust::distrust_text;
use crate::http::plugin::SIZE_HEADER;
use crate::http::plugin_view::PluginView;
use crate::http::response::{Content, names};
use crate::http::{Api, Request, Response, respond_to_agent};

/// Why a plugin could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// No server answers, or not properly; later one may.
    Unavailable(String),
    /// The servers have no such file.
    Missing(Digest),
    /// It is not to be run.
    Distrusted(Digest, Distrust),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Unavailable(why) => write!(f, "could not ask the servers: {why}"),
            FetchError::Missing(digest) => write!(f, "the servers have no file {digest}: push it again"),
            FetchError::Distrusted(digest, distrust) => {
                write!(f, "{}, and is not run ({digest})", distrust_text(distrust))
            }
        }
    }
}

impl std::error::Error for FetchError {}

/// What the servers say about a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// What the key `lictor/plugins/<name>` says, for people.
    pub wanted_text: String,
    /// The file that is to run; `None` when the key names none of the plugin's files.
    pub wanted: Option<PluginVersion>,
    /// All files there are, the newest first.
    pub versions: Vec<PluginVersion>,
}

impl Published {
    fn read(view: &PluginView) -> Result<Published, String> {
        let versions = view.versions.iter().map(|version| version.record()).collect::<Result<Vec<_>, _>>()?;
        let digest = Digest::parse(&view.digest).ok();
        let wanted = digest.and_then(|digest| versions.iter().find(|version| version.digest == digest).cloned());
        Ok(Published { wanted_text: view.digest.clone(), wanted, versions })
    }

    /// The file with this digest, for who is told to run that one.
    pub fn pinned(&self, digest: &Digest) -> Option<&PluginVersion> {
        self.versions.iter().find(|version| version.digest == *digest)
    }
}

/// Gets plugins from the servers. Shared by all who want some.
pub struct Fetcher {
    api: Arc<Api>,
    files: Option<Files>,
    trusted: Vec<PublicKey>,
}

impl Fetcher {
    /// A fetcher that asks by `api`, keeps files below `data_dir` if there is one, and refuses those that no key of
    /// `trusted` has signed, unless that is empty.
    pub fn new(api: Arc<Api>, data_dir: Option<&Path>, trusted: Vec<PublicKey>) -> Fetcher {
        Fetcher { api, files: data_dir.map(Files::new), trusted }
    }

    /// Whether every file it gives out was signed by somebody who is trusted.
    pub fn trusts_by_signature(&self) -> bool {
        !self.trusted.is_empty()
    }

    /// What the servers say about a plugin, once that is newer than `past`; zero asks for what they say now. Comes with
    /// the index to go on from, also after some minutes without news. `None` where there is no such plugin.
    ///
    /// # Errors
    /// [`FetchError::Unavailable`].
    pub async fn published(&self, name: &str, past: Index) -> Result<(Index, Option<Published>), FetchError> {
        let wait = if past == 0 { String::new() } else { format!("?index={past}") };
        let response = self.ask(&format!("/v1/plugin/name/{name}{wait}")).await?;
        let index = header(&response, names::INDEX.as_str()).ok_or_else(|| unavailable("the answer has no index"))?;
        if response.status == StatusCode::NOT_FOUND {
            self.forget(name).await;
            return Ok((index, None));
        }
        let body = whole(response)?;
        let view = serde_json::from_slice(&body).map_err(|error| unavailable(&error.to_string()))?;
        let published = Published::read(&view).map_err(|error| unavailable(&error))?;
        self.remember(name, body).await;
        Ok((index, Some(published)))
    }

    /// What the servers last said about a plugin, as kept on this agent's disk.
    pub async fn last_published(&self, name: &str) -> Option<Published> {
        let bytes = self.files.as_ref()?.record(name).await?;
        Published::read(&serde_json::from_slice(&bytes).ok()?).ok()
    }

    /// The whole file of a version: from this agent's disk, or else from the servers.
    ///
    /// # Errors
    /// [`FetchError`]; a file that is not trusted is not even looked for.
    pub async fn fetch(&self, version: &PluginVersion) -> Result<Bytes, FetchError> {
        let digest = version.digest;
        signature::check(&digest, version.signature.as_ref(), &self.trusted)
            .map_err(|distrust| FetchError::Distrusted(digest, distrust))?;
        if let Some(files) = &self.files
            && let Some(bytes) = files.file(digest, self.api.env.clock.wall_ms()).await
        {
            return Ok(bytes);
        }
        let bytes = self.download(digest).await?;
        let hashed = bytes.clone();
        let found = tokio::task::spawn_blocking(move || Digest::of(&hashed)).await;
        let found = found.map_err(|error| unavailable(&error.to_string()))?;
        if found != digest {
            return Err(unavailable(&format!("what came as {digest} is {found}")));
        }
        if let Some(files) = &self.files
            && let Err(error) = files.keep(digest, bytes.clone(), self.api.env.clock.wall_ms()).await
        {
            tracing::warn!(%digest, %error, "could not keep the plugin's file; it will be fetched again");
        }
        Ok(bytes)
    }

    /// The bytes that the servers have under a digest, unchecked.
    async fn download(&self, digest: Digest) -> Result<Bytes, FetchError> {
        let mut bytes = Vec::new();
        loop {
            let response = self.ask(&format!("/v1/plugin/chunk/{digest}?offset={}", bytes.len())).await?;
            if response.status == StatusCode::NOT_FOUND {
                return Err(FetchError::Missing(digest));
            }
            let size = header(&response, SIZE_HEADER).filter(|size| (1..=FILE_BYTES_MAX).contains(size));
            let size = size.ok_or_else(|| unavailable("the answer does not say how long the file is"))?;
            let chunk = whole(response)?;
            bytes.extend_from_slice(&chunk);
            let have = bytes.len() as u64;
            if have == size {
                return Ok(bytes.into());
            }
            if chunk.is_empty() || have > size {
                return Err(unavailable(&format!("a file of {size} bytes came as one of {have}")));
            }
        }
    }

    /// An answer with status 200 or 404.
    async fn ask(&self, uri: &str) -> Result<Response, FetchError> {
        let uri = uri.parse().map_err(|error| unavailable(&format!("{uri}: {error}")))?;
        let request = Request::new(Method::GET, &uri, &HeaderMap::new(), Bytes::new(), None);
        let request = request.map_err(|error| unavailable(&error.to_string()))?;
        let response = match &*self.api {
            Api::Server(server) => respond_to_agent(server, request).await,
            Api::Client(client) => client.by_server(&request).await.map_err(|error| unavailable(&error.to_string()))?,
        };
        match response.status {
            StatusCode::OK | StatusCode::NOT_FOUND => Ok(response),
            status => Err(unavailable(&format!("{status}: {}", String::from_utf8_lossy(response.whole())))),
        }
    }

    async fn remember(&self, name: &str, body: Bytes) {
        if let Some(files) = &self.files
            && let Err(error) = files.keep_record(name, body).await
        {
            tracing::warn!(plugin = name, %error, "could not keep what the servers say about the plugin");
        }
    }

    async fn forget(&self, name: &str) {
        if let Some(files) = &self.files
            && let Err(error) = files.forget_record(name).await
        {
            tracing::warn!(plugin = name, %error, "could not forget the plugin that was removed");
        }
    }
}

fn unavailable(why: &str) -> FetchError {
    FetchError::Unavailable(why.trim_end().to_owned())
}

fn header(response: &Response, name: &str) -> Option<u64> {
    response.headers.get(name)?.to_str().ok()?.parse().ok()
}

fn whole(response: Response) -> Result<Bytes, FetchError> {
    match response.body {
        Content::Whole(bytes) => Ok(bytes),
        Content::Stream(_) => Err(unavailable("the answer has no length")),
    }
}
