//! Plugins as JSON: what the API answers, and what the command line and other agents read back.

use agent_core::plugin::digest::Digest;
use agent_core::plugin::signature::Signature;
use agent_core::state::plugin::{PluginFound, Wanted};
use agent_core::state::tables::PluginVersion;
use serde::{Deserialize, Serialize};

use crate::plugin::trust::{key_text, parse_signature, signature_text};

/// A plugin. What stands beside `versions` is about the file that is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PluginView {
    /// Its name.
    pub name: String,
    /// The file that is to run, as `sha256:<hex>`; or what the key `lictor/plugins/<name>` says if that is none of the
    /// plugin's files, and then there are no version, summary, size and signature.
    pub digest: String,
    /// The version it gives itself.
    pub version: String,
    /// What it says it does.
    pub summary: String,
    /// Its size in bytes.
    pub size: u64,
    /// The public key it is signed with, in base 64; empty if it is not.
    pub key: String,
    /// The signature in base 64.
    pub signature: String,
    /// The files there are, the newest first.
    pub versions: Vec<VersionView>,
    /// When the name appeared.
    pub create_index: u64,
    /// When the record last changed.
    pub modify_index: u64,
}

/// One of a plugin's files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct VersionView {
    /// Its SHA-256, as `sha256:<hex>`.
    pub digest: String,
    /// The version it gives itself.
    pub version: String,
    /// What it says it does.
    pub summary: String,
    /// Its size in bytes.
    pub size: u64,
    /// The public key it is signed with, in base 64; empty if it is not.
    pub key: String,
    /// The signature in base 64.
    pub signature: String,
    /// When it was published.
    pub publish_index: u64,
}

/// How much of a file there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HaveView {
    /// Which file.
    pub digest: String,
    /// How many bytes there are; the next chunk is the one at this offset.
    pub have: u64,
    /// Whether that is all of it.
    pub complete: bool,
}

/// The body of a publication.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct Publication {
    /// The file, as `sha256:<hex>`.
    pub digest: String,
    /// The version it gives itself.
    pub version: String,
    /// What it says it does.
    pub summary: String,
    /// The public key it is signed with, in base 64; empty if it is not.
    pub key: String,
    /// The signature in base 64.
    pub signature: String,
}

impl PluginView {
    /// The view of a plugin.
    pub fn new(found: &PluginFound) -> Self {
        let plugin = &found.plugin;
        let wanted = match &found.wanted {
            Wanted::Version(_) => found.version().map(VersionView::new).unwrap_or_default(),
            Wanted::Unknown(text) => VersionView { digest: text.clone(), ..VersionView::default() },
        };
        let VersionView { digest, version, summary, size, key, signature, publish_index: _ } = wanted;
        PluginView {
            name: plugin.name.clone(),
            digest,
            version,
            summary,
            size,
            key,
            signature,
            versions: plugin.versions.iter().map(VersionView::new).collect(),
            create_index: plugin.create_index,
            modify_index: plugin.modify_index,
        }
    }
}

impl VersionView {
    fn new(version: &PluginVersion) -> Self {
        let signature = version.signature.as_ref();
        VersionView {
            digest: version.digest.to_string(),
            version: version.version.clone(),
            summary: version.summary.clone(),
            size: version.size,
            key: signature.map(|signature| key_text(&signature.key)).unwrap_or_default(),
            signature: signature.map(signature_text).unwrap_or_default(),
            publish_index: version.publish_index,
        }
    }

    /// The record that it is a view of.
    ///
    /// # Errors
    /// A digest or signature that is none.
    pub fn record(&self) -> Result<PluginVersion, String> {
        Ok(PluginVersion {
            digest: Digest::parse(&self.digest)?,
            version: self.version.clone(),
            summary: self.summary.clone(),
            size: self.size,
            signature: signature(&self.key, &self.signature)?,
            publish_index: self.publish_index,
        })
    }
}

impl Publication {
    /// What is to be published.
    ///
    /// # Errors
    /// A digest or signature that is none.
    pub fn record(self) -> Result<PluginVersion, String> {
        let digest = Digest::parse(&self.digest)?;
        let signature = signature(&self.key, &self.signature)?;
        let Publication { version, summary, .. } = self;
        Ok(PluginVersion { digest, version, summary, size: 0, signature, publish_index: 0 })
    }
}

fn signature(key: &str, signature: &str) -> Result<Option<Signature>, String> {
    if key.is_empty() && signature.is_empty() {
        return Ok(None);
    }
    parse_signature(key, signature).map(Some)
}
