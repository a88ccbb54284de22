//! Plugins and their files: what is stored, for how long, and which file of a plugin is to run.
//!
//! Files are named by their SHA-256 and never change. A file comes in chunks, in
//! order; with the last one its digest is checked. Publishing gives a complete
//! file a name, and writes its digest to the key `lictor/plugins/<name>`: that
//! key says which of the plugin's files agents run, so that `kv put` of an
//! earlier digest rolls back. Where there is no such key, it is the newest. A
//! plugin keeps its last three files; files that no plugin names are uploads
//! under way, of which there are four at most. When room is needed, the oldest
//! uploads go first, then the oldest files that are neither wanted nor newest.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Answer;
use super::command::{KvOp, KvWrite, Refusal};
use super::tables::{Index, Plugin, PluginFile, PluginVersion, State};
use super::write::Write;
use crate::plugin::digest::Digest;
use crate::watch::Topic;

/// The size of every chunk but the last of a file, in bytes.
pub const CHUNK_BYTES: u64 = 256 << 10;

/// The largest file, in bytes.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// What all files may take together, whole or not, in bytes. An upload counts with the size it will have.
pub const STORE_BYTES_MAX: u64 = 64 << 20;

/// How many files may be there without a name.
pub const UPLOADS_MAX: usize = 4;

/// How many plugins there may be.
pub const PLUGINS_MAX: usize = 256;

/// How many files a plugin keeps.
pub const VERSIONS_MAX: usize = 3;

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// The longest version, in bytes.
pub const VERSION_BYTES_MAX: usize = 64;

/// The longest summary, in bytes.
pub const SUMMARY_BYTES_MAX: usize = 1024;

/// What the keys that say which file is to run begin with.
pub const KEY_PREFIX: &str = "lictor/plugins/";

/// The key that says which of a plugin's files is to run.
pub fn key(name: &str) -> String {
    format!("{KEY_PREFIX}{name}")
}

/// Whether this can be a plugin's name: 1 to 64 of `a-z`, `0-9` and `-`, as `wit/about.wit` has it.
///
/// # Errors
/// What a name looks like.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    let shown: String = name.chars().take(NAME_BYTES_MAX + 1).collect();
    Err(format!("{shown:?} is no plugin name: write 1 to {NAME_BYTES_MAX} characters of a-z, 0-9 and -"))
}

/// Which file of a plugin is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one at this place among its versions.
    Version(usize),
    /// The key says something else: a digest that the plugin does not have, or no digest. Its value, cut to 128 bytes.
    Unknown(String),
}

/// A plugin with what its key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginFound {
    /// The record.
    pub plugin: Arc<Plugin>,
    /// Which file is to run.
    pub wanted: Wanted,
}

impl PluginFound {
    /// The version that is to run.
    pub fn version(&self) -> Option<&PluginVersion> {
        match self.wanted {
            Wanted::Version(at) => self.plugin.versions.get(at),
            Wanted::Unknown(_) => None,
        }
    }
}

impl PluginFile {
    /// How many bytes there are.
    pub fn have(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.len() as u64).sum()
    }

    /// Whether all of it is there.
    pub fn is_complete(&self) -> bool {
        self.have() == self.size
    }
}

impl State {
    /// One plugin. Topics: `Plugin`, and `KvKey` of [`key`].
    pub fn plugin(&self, name: &str) -> Answer<Option<PluginFound>> {
        let wanted = self.kv_look(&key(name)).index;
        let plugin = self.plugins.get(name);
        let index = plugin.map_or(self.plugin_indexes.extinction, |plugin| plugin.modify_index).max(wanted);
        Answer { index, value: plugin.map(|plugin| self.plugin_found(plugin)) }
    }

    /// All plugins, by name. Topics: `Plugins`, and `KvPrefix` of [`KEY_PREFIX`].
    pub fn plugin_list(&self) -> Answer<Vec<PluginFound>> {
        let wanted = self.kv_list(KEY_PREFIX).index;
        let value = self.plugins.values().map(|plugin| self.plugin_found(plugin)).collect();
        Answer { index: self.plugin_indexes.changed.max(wanted), value }
    }

    fn plugin_found(&self, plugin: &Arc<Plugin>) -> PluginFound {
        PluginFound { plugin: Arc::clone(plugin), wanted: self.plugin_wanted(plugin) }
    }

    fn plugin_wanted(&self, plugin: &Plugin) -> Wanted {
        let Some(entry) = self.kv.get(&key(&plugin.name)) else { return Wanted::Version(0) };
        let text = String::from_utf8_lossy(&entry.value[..entry.value.len().min(128)]);
        let digest = Digest::parse(&text).ok();
        let place = digest.and_then(|digest| plugin.versions.iter().position(|version| version.digest == digest));
        place.map_or_else(|| Wanted::Unknown(text.trim().replace(char::is_control, "?")), Wanted::Version)
    }

    /// The files that plugins name.
    fn plugin_files_named(&self) -> BTreeSet<Digest> {
        self.plugins.values().flat_map(|plugin| &plugin.versions).map(|version| version.digest).collect()
    }

    /// The files that are to stay whatever comes: what is wanted, and what is newest.
    fn plugin_files_kept(&self) -> BTreeSet<Digest> {
        let kept = |plugin: &Arc<Plugin>| {
            let newest = plugin.versions.first().map(|version| version.digest);
            let wanted = self.plugin_found(plugin).version().map(|version| version.digest);
            newest.into_iter().chain(wanted)
        };
        self.plugins.values().flat_map(kept).collect()
    }

    fn plugin_bytes(&self, which: impl Fn(&Digest) -> bool) -> u64 {
        self.plugin_files.iter().filter(|(digest, _)| which(digest)).map(|(_, file)| file.size).sum()
    }
}

impl Write<'_> {
    /// Takes a chunk of a file. With the last one the whole file is compared with its digest.
    pub(super) fn plugin_chunk(
        &mut self,
        digest: &Digest,
        size: u64,
        offset: u64,
        bytes: &Arc<[u8]>,
    ) -> Result<(), Refusal> {
        check_size(size)?;
        let there = self.state.plugin_files.get(digest).filter(|file| file.size == size || file.is_complete());
        let have = there.map_or(0, |file| file.have());
        if offset < have {
            return Ok(());
        }
        if offset > have {
            return Err(Refusal::PluginIncomplete { have });
        }
        let expected = CHUNK_BYTES.min(size.saturating_sub(offset));
        if bytes.len() as u64 != expected || expected == 0 {
            let got = bytes.len();
            return Err(Refusal::Other(format!(
                "the chunk at offset {offset} of a file of {size} bytes has {expected} bytes, not {got}"
            )));
        }
        let begun = there.is_some();
        let fresh = PluginFile { size, chunks: Vec::new(), create_index: self.index };
        let mut file = there.map_or(fresh, |file| PluginFile::clone(file));
        file.chunks.push(Arc::clone(bytes));
        if file.is_complete() {
            let found = Digest::of_pieces(file.chunks.iter().map(|chunk| &chunk[..]));
            if found != *digest {
                // The one refusal that changes something: with a false beginning the file would never be complete.
                self.state.plugin_files.remove(digest);
                let why = format!("what was sent as {digest} is {found}, and is thrown away: send it again");
                return Err(Refusal::Other(why));
            }
        }
        if !begun {
            self.plugin_make_room(digest, size)?;
        }
        self.state.plugin_files.insert(*digest, Arc::new(file));
        Ok(())
    }

    /// Makes room for another upload. Drops nothing unless that is enough.
    fn plugin_make_room(&mut self, digest: &Digest, size: u64) -> Result<(), Refusal> {
        // One of another size can't be the file: it is begun anew.
        self.state.plugin_files.remove(digest);
        let kept = self.state.plugin_files_kept();
        let kept_bytes = self.state.plugin_bytes(|digest| kept.contains(digest));
        if kept_bytes + size > STORE_BYTES_MAX {
            return Err(Refusal::Other(format!(
                "there is no room: plugins in use have {kept_bytes} bytes, this file has {size}, and all together may \
                 have {STORE_BYTES_MAX}; remove a plugin first"
            )));
        }
        let named = self.state.plugin_files_named();
        let mut uploads: Vec<(Index, Digest)> = Vec::new();
        for (digest, file) in self.state.plugin_files.iter().filter(|(digest, _)| !named.contains(digest)) {
            uploads.push((file.create_index, *digest));
        }
        uploads.sort_unstable();
        for (place, (_, digest)) in uploads.iter().enumerate() {
            let too_many = uploads.len() - place >= UPLOADS_MAX;
            if too_many || self.plugin_lacks(size) {
                self.state.plugin_files.remove(digest);
            }
        }
        let mut old: Vec<(Index, Digest)> = Vec::new();
        for version in self.state.plugins.values().flat_map(|plugin| &plugin.versions) {
            if !kept.contains(&version.digest) {
                old.push((version.publish_index, version.digest));
            }
        }
        old.sort_unstable();
        for (_, digest) in old {
            if self.plugin_lacks(size) {
                self.plugin_forget(&digest);
            }
        }
        Ok(())
    }

    fn plugin_lacks(&self, size: u64) -> bool {
        self.state.plugin_bytes(|_| true) + size > STORE_BYTES_MAX
    }

    /// Drops a file and every mention of it. It is no plugin's newest.
    fn plugin_forget(&mut self, digest: &Digest) {
        self.state.plugin_files.remove(digest);
        let naming = |plugin: &&Arc<Plugin>| plugin.versions.iter().any(|version| version.digest == *digest);
        let plugins: Vec<Arc<Plugin>> = self.state.plugins.values().filter(naming).cloned().collect();
        for plugin in plugins {
            let mut plugin = Plugin::clone(&plugin);
            plugin.versions.retain(|version| version.digest != *digest);
            plugin.modify_index = self.index;
            self.mark_plugin(&plugin.name);
            self.state.plugins.insert(plugin.name.clone(), Arc::new(plugin));
        }
    }

    /// Publishes a file. Answers whether the condition held.
    pub(super) fn plugin_set(
        &mut self,
        name: &str,
        version: &PluginVersion,
        cas: Option<Index>,
    ) -> Result<bool, Refusal> {
        check_name(name).map_err(Refusal::Other)?;
        check_texts(version)?;
        let before = self.state.plugins.get(name).cloned();
        let seen = before.as_ref().map_or(0, |plugin| plugin.modify_index);
        if cas.is_some_and(|index| index != seen) {
            return Ok(false);
        }
        let file = self.state.plugin_files.get(&version.digest);
        let size = match file {
            Some(file) if file.is_complete() => file.size,
            file => return Err(Refusal::PluginIncomplete { have: file.map_or(0, |file| file.have()) }),
        };
        if before.is_none() && self.state.plugins.len() >= PLUGINS_MAX {
            let why = format!("there are {PLUGINS_MAX} plugins already, which is the most there may be: remove one");
            return Err(Refusal::Other(why));
        }
        let version = PluginVersion { size, publish_index: self.index, ..version.clone() };
        let kept = before.as_ref().map_or_else(Vec::new, |before| self.plugin_versions(before));
        self.plugin_publish(name, version, kept, before.as_ref());
        let value = self.plugin_newest(name).to_string();
        let flags = self.state.kv.get(&key(name)).map_or(0, |entry| entry.flags);
        self.kv(&KvOp::Set(KvWrite { key: key(name), value: value.as_bytes().into(), flags }))?;
        Ok(true)
    }

    /// The digest that was published last.
    fn plugin_newest(&self, name: &str) -> Digest {
        self.state.plugins[name].versions[0].digest
    }

    /// A plugin's versions, the one in use first: that is what one would want to go back to.
    fn plugin_versions(&self, plugin: &Arc<Plugin>) -> Vec<PluginVersion> {
        let mut versions = plugin.versions.clone();
        if let Wanted::Version(at) = self.state.plugin_found(plugin).wanted {
            versions[..=at].rotate_right(1);
        }
        versions
    }

    fn plugin_publish(
        &mut self,
        name: &str,
        version: PluginVersion,
        mut others: Vec<PluginVersion>,
        before: Option<&Arc<Plugin>>,
    ) {
        let newest = before.and_then(|before| before.versions.first());
        let again = PluginVersion { publish_index: newest.map_or(0, |newest| newest.publish_index), ..version.clone() };
        if newest == Some(&again) {
            return;
        }
        others.retain(|other| other.digest != version.digest);
        let mut versions = vec![version];
        versions.append(&mut others);
        let dropped = versions.split_off(versions.len().min(VERSIONS_MAX));
        let create_index = before.map_or(self.index, |before| before.create_index);
        let plugin = Plugin { name: name.to_string(), versions, create_index, modify_index: self.index };
        self.state.plugins.insert(name.to_string(), Arc::new(plugin));
        self.mark_plugin(name);
        self.plugin_sweep(&dropped);
    }

    /// Removes a plugin with its key.
    pub(super) fn plugin_remove(&mut self, name: &str) {
        let Some(plugin) = self.state.plugins.remove(name) else { return };
        self.mark_plugin(name);
        self.state.plugin_indexes.extinction = self.index;
        self.plugin_sweep(&plugin.versions);
        self.kv(&KvOp::Delete { key: key(name) }).expect("deleting a key is never refused");
    }

    /// Drops those of the files that no plugin names any more.
    fn plugin_sweep(&mut self, dropped: &[PluginVersion]) {
        let named = self.state.plugin_files_named();
        for version in dropped.iter().filter(|version| !named.contains(&version.digest)) {
            self.state.plugin_files.remove(&version.digest);
        }
    }

    fn mark_plugin(&mut self, name: &str) {
        self.state.plugin_indexes.changed = self.index;
        self.touched.insert(Topic::Plugins);
        self.touched.insert(Topic::Plugin(name.to_string()));
    }
}

fn check_size(size: u64) -> Result<(), Refusal> {
    match size {
        0 => Err(Refusal::Other("the file is empty".to_string())),
        1..=FILE_BYTES_MAX => Ok(()),
        _ => Err(Refusal::Other(format!("the file has {size} bytes, and a plugin may have {FILE_BYTES_MAX}"))),
    }
}

fn check_texts(version: &PluginVersion) -> Result<(), Refusal> {
    for (what, text, max) in
        [("version", &version.version, VERSION_BYTES_MAX), ("summary", &version.summary, SUMMARY_BYTES_MAX)]
    {
        if text.len() > max || text.chars().any(char::is_control) {
            return Err(Refusal::Other(format!("the plugin's {what} is longer than {max} bytes or more than a line")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
