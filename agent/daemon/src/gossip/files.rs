//! What a pool keeps on disk: its keys, in Consul's format, and whom to look for at the next start.
//!
//! Both lie in `serf/` of the data folder, readable by their owner alone, and
//! are replaced whole, so that a crash leaves the old one or the new one.
//! Peers are written when they change and not otherwise.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::base64::Engine;
use ::base64::engine::general_purpose::STANDARD;
use agent_core::gossip::{Key, KeyRing};
use tokio::sync::watch;

use crate::cli::base64;

/// How long changes of peers are gathered before they are written.
const PEERS_PAUSE: Duration = Duration::from_millis(500);

/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Whom to look for at the next start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Peers {
    /// We left on purpose.
    pub left: bool,
    /// Others that live.
    pub living: Vec<(Arc<str>, SocketAddr)>,
}

/// Where the files are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    keys: PathBuf,
    peers: PathBuf,
}

impl Files {
    /// Those of an agent with this data folder.
    pub(super) fn below(data_dir: &Path) -> Files {
        let folder = data_dir.join("serf");
        Files { keys: folder.join("local.keyring"), peers: folder.join("local.snapshot") }
    }

    /// The keys kept, or the configured one, which is kept from now on.
    ///
    /// # Errors
    /// The file can't be read or written or holds something else. The text names it.
    pub(super) fn load_keys(&self, configured: Option<Key>) -> Result<KeyRing, String> {
        let explain =
            |error: &dyn std::fmt::Display| format!("could not use the keyring {}: {error}", self.keys.display());
        let text = match read(&self.keys) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let ring = KeyRing::new(configured);
                if !ring.is_empty() {
                    self.store_keys(&ring)?;
                }
                return Ok(ring);
            }
            Err(error) => return Err(explain(&error)),
        };
        let texts: Vec<String> = serde_json::from_str(&text).map_err(|error| explain(&error))?;
        let keys: Result<Vec<Key>, String> = texts.iter().map(|text| decode_key(text)).collect();
        let ring = KeyRing::new(keys.map_err(|error| explain(&error))?);
        if ring.is_empty() {
            return Err(explain(&"it holds no keys: remove it or restore it"));
        }
        if configured.is_some_and(|key| ring.primary() != Some(&key)) {
            tracing::warn!("Keyring file present, the `encrypt` key is ignored: {}", self.keys.display());
        }
        Ok(ring)
    }

    /// Keeps the keys.
    ///
    /// # Errors
    /// The file can't be written. The text names it; the old one is still there.
    pub(super) fn store_keys(&self, ring: &KeyRing) -> Result<(), String> {
        let texts: Vec<String> = ring.keys().map(encode_key).collect();
        let text = serde_json::to_string_pretty(&texts).expect("texts are always JSON");
        let stored = replace(&self.keys, text.as_bytes());
        stored.map_err(|error| format!("could not keep the keyring {}: {error}", self.keys.display()))
    }

    /// Peers of the last run, unless it left. A file that can't be read costs nothing but itself.
    pub(super) fn load_peers(&self) -> Vec<SocketAddr> {
        let text = match read(&self.peers) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                tracing::warn!(%error, "could not read {}", self.peers.display());
                return Vec::new();
            }
        };
        // Consul's own file is a log with other lines in it.
        let living = text.lines().filter_map(|line| line.strip_prefix("alive: "));
        living.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect()
    }

    fn store_peers(&self, text: Option<&str>) -> io::Result<()> {
        match text {
            Some(text) => replace(&self.peers, text.as_bytes()),
            None => match fs::remove_file(&self.peers) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            },
        }
    }
}

/// Writes peers down when they have changed, until nobody can change them any more. Having lost everybody is no reason
/// to forget them; having left is, unless the next start is to rejoin.
pub(super) async fn keep_peers(files: Files, mut changed: watch::Receiver<Arc<Peers>>, rejoin_after_leave: bool) {
    let mut written = None;
    loop {
        let is_last = changed.changed().await.is_err();
        if !is_last && !changed.borrow_and_update().left {
            tokio::time::sleep(PEERS_PAUSE).await;
        }
        let peers = Arc::clone(&changed.borrow_and_update());
        let text = match peers.left {
            true => None,
            false => Some(peers.living.iter().map(|(name, address)| format!("alive: {name} {address}\n")).collect()),
        };
        let is_news = match &text {
            None => !rejoin_after_leave,
            Some(text) => !String::is_empty(text) && written.as_ref() != Some(text),
        };
        if is_news {
            let (files, to_store) = (files.clone(), text.clone());
            let stored = tokio::task::spawn_blocking(move || files.store_peers(to_store.as_deref())).await;
            if let Err(error) = stored.unwrap_or_else(|error| Err(io::Error::other(error))) {
                tracing::warn!(%error, "could not keep the peers of the pool");
            }
            written = text;
        }
        if is_last {
            return;
        }
    }
}

/// A key as Consul writes it.
pub(crate) fn encode_key(key: &Key) -> String {
    STANDARD.encode(key.bytes())
}

/// A key as Consul reads it.
///
/// # Errors
/// The text is no base64, or no key.
pub(crate) fn decode_key(text: &str) -> Result<Key, String> {
    Key::new(&base64::decode(text.as_bytes())?)
}

fn read(path: &Path) -> io::Result<String> {
    use io::Read;
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().expect("the files lie in a folder");
    fs::create_dir_all(folder)?;
    let beside = path.with_extension("tmp");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn key(byte: u8) -> Key {
        Key::new(&[byte; 32]).expect("32 bytes")
    }

    #[test]
    fn the_configured_key_is_kept_and_later_the_file_wins() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::below(folder.path());
        assert!(files.load_keys(None).expect("no file is no error").is_empty());
        assert!(!files.keys.exists(), "a plain pool writes nothing");
        files.load_keys(Some(key(1))).expect("a key");
        assert_eq!(fs::metadata(&files.keys).expect("a file").permissions().mode() & 0o777, 0o600);
        assert_eq!(files.load_keys(Some(key(2))).expect("keys").primary(), Some(&key(1)));
    }

    #[test]
    fn a_broken_keyring_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::below(folder.path());
        for text in ["", "[]", "[\"x\"]", "[\"Zm9v\"]", "{}"] {
            replace(&files.keys, text.as_bytes()).expect("written");
            let refused = files.load_keys(None).expect_err(text);
            assert!(
                refused.starts_with("could not use the keyring ") && refused.contains("local.keyring"),
                "{refused}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn peers_are_kept_until_we_leave() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::below(folder.path());
        let (peers, changed) = watch::channel(Arc::default());
        let keeper = tokio::spawn(keep_peers(files.clone(), changed, false));
        let address: SocketAddr = "10.0.0.2:8301".parse().expect("an address");
        peers.send_replace(Arc::new(Peers { left: false, living: vec![("b".into(), address)] }));
        tokio::time::sleep(PEERS_PAUSE * 2).await;
        peers.send_replace(Arc::new(Peers::default()));
        drop(peers);
        keeper.await.expect("it ends");
        assert_eq!(files.load_peers(), [address], "having lost everybody is no reason to forget them");

        let (peers, changed) = watch::channel(Arc::default());
        let keeper = tokio::spawn(keep_peers(files.clone(), changed, false));
        peers.send_replace(Arc::new(Peers { left: true, living: Vec::new() }));
        drop(peers);
        keeper.await.expect("it ends");
        assert!(files.load_peers().is_empty());
    }
}
