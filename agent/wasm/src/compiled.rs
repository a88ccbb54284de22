//! Compiled code: the cache of what this host compiled, and the only `unsafe` of the workspace.
//!
//! wasmtime can't check compiled code, which is native: whoever makes it decides what this process does. [`trusted`], [`own`] and
//! [`Cache::load`] are sound because each takes only what this program made itself:
//! - [`own`]: what the compiler returned a moment ago, in memory;
//! - [`Cache::load`]: a file under `<folder>/<digest>-<engine>.cwasm` with an HMAC-SHA256 at its end, under a key in the same folder that only this
//!   user can read, over its name and content. The MAC is checked over the open file and the code is mapped from that same open file,
//!   so a file put in its place meanwhile is never mapped. Files are written under another name and renamed, never in place. Someone who
//!   can change an open file of this user can also trace this process, so nothing is given away by mapping it;
//! - [`trusted`]: what the operator vouches for, see [`crate::Host::load_trusted`].

#![allow(unsafe_code)]

use crate::log::LogLevel;
use agent_core::plugin::digest::Digest;
#[cfg(feature = "compiler")]
use ring::digest;
use ring::hmac;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
#[cfg(feature = "compiler")]
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Entries that stay though no loaded plugin uses them, the newest first.
const UNUSED_MAX: usize = 64;
/// Bytes of a MAC and of the key.
const MAC_BYTES: usize = 32;
const SUFFIX: &str = ".cwasm";

/// Takes a line about the cache.
pub(crate) type Log<'a> = &'a dyn Fn(LogLevel, &str);

/// Loads what the operator vouches for.
pub(crate) fn trusted(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the caller of `load_trusted` says that this program made it.
    unsafe { Component::deserialize(engine, code) }
}

/// Loads what the compiler of this process returned.
#[cfg(feature = "compiler")]
pub(crate) fn own(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `host::compile` hands over what `Engine::precompile_component` returned.
    unsafe { Component::deserialize(engine, code) }
}

/// The compiled code of one folder, for one version of the engine and its settings.
pub(crate) struct Cache {
    folder: PathBuf,
    engine: String,
    /// How many loaded plugins use an entry.
    used: Mutex<BTreeMap<Digest, usize>>,
}

impl Cache {
    pub(crate) fn new(folder: PathBuf, engine: &Engine) -> Cache {
        Cache { folder, engine: engine_name(engine), used: Mutex::default() }
    }

    /// The code of a component, if it is here and whole. What is not whole is removed.
    pub(crate) fn load(&self, digest: Digest, engine: &Engine, log: Log<'_>) -> Option<Component> {
        let name = self.name(digest);
        match self.open(&name, engine) {
            Ok(code) => Some(code),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                log(LogLevel::Warn, &format!("compiled code {name} is not used and is made again: {error}"));
                if let Err(error) = fs::remove_file(self.folder.join(&name)) {
                    log(LogLevel::Warn, &format!("could not remove compiled code {name}: {error}"));
                }
                None
            }
        }
    }

    /// Keeps code that was just compiled, and loads it from where it is kept. None if that failed, which costs memory and is said.
    pub(crate) fn keep(&self, digest: Digest, engine: &Engine, code: &[u8], log: Log<'_>) -> Option<Component> {
        let name = self.name(digest);
        let kept = self.write(&name, code).and_then(|()| self.open(&name, engine));
        self.tidy(digest, log);
        kept.inspect_err(|error| log(LogLevel::Warn, &format!("could not keep compiled code {name}: {error}"))).ok()
    }

    pub(crate) fn in_use(&self, digest: Digest, used: bool) {
        let mut counts = self.lock();
        let count = counts.entry(digest).or_default();
        match used {
            true => *count += 1,
            false => *count = count.saturating_sub(1),
        }
        if *count == 0 {
            counts.remove(&digest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, usize>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, digest: Digest) -> String {
        format!("{}-{}{SUFFIX}", digest.hex(), self.engine)
    }

    fn open(&self, name: &str, engine: &Engine) -> io::Result<Component> {
        let mut file = open_own(&self.folder.join(name))?;
        let key = self.key(false)?;
        check_mac(&key, name, &mut file)?;
        let same = format!("/proc/self/fd/{}", file.as_raw_fd());
        // SAFETY: the MAC says that this program wrote this open file, and it is mapped through its descriptor; see the top.
        let code = unsafe { Component::deserialize_file(engine, same) };
        code.map_err(|error| io::Error::other(format!("{error:#}")))
    }

    /// Writes an entry whole or not at all.
    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let key = self.key(true)?;
        let mut mac = hmac::Context::with_key(&key);
        mac.update(name.as_bytes());
        mac.update(code);
        let temporary = self.folder.join(format!("{name}.{}.new", std::process::id()));
        let written = write_new(&temporary, &[code, mac.sign().as_ref()]);
        let renamed = written.and_then(|()| fs::rename(&temporary, self.folder.join(name)));
        match renamed {
            Ok(()) => File::open(&self.folder)?.sync_all(),
            Err(error) => {
                // It may never have been made; the error that matters is the first.
                let _ = fs::remove_file(&temporary);
                Err(error)
            }
        }
    }

    /// The key of this folder; made, with the folder, where `make` says so.
    fn key(&self, make: bool) -> io::Result<hmac::Key> {
        if make {
            own_folder(&self.folder)?;
        }
        let path = self.folder.join("key");
        let (mut bytes, mut was_there) = (Vec::new(), true);
        match open_own(&path) {
            Ok(file) => {
                file.take(MAC_BYTES as u64 + 1).read_to_end(&mut bytes)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => was_there = false,
            Err(error) if !make => return Err(error),
            Err(_) => {}
        }
        if bytes.len() != MAC_BYTES {
            if !make {
                return Err(io::Error::other("the folder's key is not there or damaged"));
            }
            // A damaged key is of no use to anyone; a key that is there meanwhile is another process's, and ours too.
            if was_there {
                let _ = fs::remove_file(&path);
            }
            bytes = new_key(&path)?;
        }
        Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
    }

    /// Removes what no loaded plugin uses beyond the newest entries, and what writers that died left behind.
    fn tidy(&self, just_kept: Digest, log: Log<'_>) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let used: Vec<String> = {
            let counts = self.lock();
            counts.keys().copied().chain([just_kept]).map(|digest| digest.hex()).collect()
        };
        let own = format!(".{}.new", std::process::id());
        let mut unused = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(SUFFIX) && !used.iter().any(|digest| name.starts_with(digest.as_str())) {
                let modified = entry.metadata().ok().and_then(|metadata| metadata.modified().ok());
                unused.push((modified, name));
            } else if name.ends_with(".new") && !name.ends_with(&own) {
                unused.push((None, name));
            }
        }
        unused.sort();
        let dead = unused.iter().filter(|(_, name)| name.ends_with(".new")).count();
        let old = (unused.len() - dead).saturating_sub(UNUSED_MAX);
        for (_, name) in unused.iter().take(dead + old) {
            if let Err(error) = fs::remove_file(self.folder.join(name)) {
                log(LogLevel::Warn, &format!("could not remove compiled code {name}: {error}"));
            }
        }
    }
}

/// A name for the engine's version and settings: code made by another name does not run here.
#[cfg(feature = "compiler")]
fn engine_name(engine: &Engine) -> String {
    let mut hash = Sha256(digest::Context::new(&digest::SHA256));
    engine.precompile_compatibility_hash().hash(&mut hash);
    let hash = hash.0.finish();
    hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Without a compiler nothing is ever kept, and nothing has this name.
#[cfg(not(feature = "compiler"))]
fn engine_name(_: &Engine) -> String {
    "none".to_owned()
}

/// Feeds a hash of the engine's settings to SHA-256, since the standard library's hashers may change between its releases.
#[cfg(feature = "compiler")]
struct Sha256(digest::Context);

#[cfg(feature = "compiler")]
impl Hasher for Sha256 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Nothing asks for the short form.
    fn finish(&self) -> u64 {
        0
    }
}

/// Makes the folder, for this user alone, or makes an existing one so.
fn own_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let metadata = fs::metadata(folder)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("the folder belongs to another user"));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Opens a plain file that this user alone can write.
fn open_own(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    let metadata = file.metadata()?;
    let own =
        metadata.is_file() && metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0;
    match own {
        true => Ok(file),
        false => Err(io::Error::other("it is not a plain file that this user alone can write")),
    }
}

fn write_new(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

/// A new key makes all entries foreign, which is what they are.
fn new_key(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; MAC_BYTES];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut bytes).map_err(|_| io::Error::other("no random bytes"))?;
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    write_new(&temporary, &[&bytes])?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::read(path),
        linked => linked.map(|()| bytes),
    }
}

/// Checks the MAC at the end of a file without holding the file in memory.
fn check_mac(key: &hmac::Key, name: &str, file: &mut File) -> io::Result<()> {
    let damaged = || io::Error::other("it is damaged, or another program wrote it");
    let code = file.metadata()?.len().checked_sub(MAC_BYTES as u64).ok_or_else(damaged)?;
    let mut mac = hmac::Context::with_key(key);
    mac.update(name.as_bytes());
    file.seek(SeekFrom::Start(0))?;
    let mut left = code;
    let mut buffer = vec![0; 64 << 10];
    while left > 0 {
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut buffer[..want])?;
        mac.update(&buffer[..want]);
        left -= want as u64;
    }
    let mut stored = [0; MAC_BYTES];
    file.read_exact(&mut stored)?;
    // Comparing MACs of the two takes the same time wherever they differ.
    hmac::verify(key, mac.sign().as_ref(), hmac::sign(key, &stored).as_ref()).map_err(|_| damaged())
}
