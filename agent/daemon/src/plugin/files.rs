//! Plugins' files on this agent's disk: copies of what the servers have.
//!
//! `plugins/files/<hex digest>.wasm` and `plugins/names/<name>.json` of the data
//! directory, readable by the agent alone. Files are replaced atomically. A copy
//! that is not what its name says is removed. The copies used longest ago go
//! when there are too many; whatever is here can be had again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use agent_core::plugin::digest::Digest;
use agent_core::state::plugin::FILE_BYTES_MAX;
use agent_core::state::tables::UnixMs;
use bytes::Bytes;

/// The copies that are kept, by number.
const COPIES_MAX: usize = 32;

/// The longest record, in bytes: three versions with their texts stay far below.
const RECORD_BYTES_MAX: u64 = 64 << 10;

/// The folder of the copies. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// Keeps copies below `data_dir`; folders are made when first needed.
    pub fn new(data_dir: &Path) -> Files {
        Files { folder: data_dir.join("plugins") }
    }

    /// A copy that is what it should be. One that is not is removed.
    pub async fn file(&self, digest: Digest, now_ms: UnixMs) -> Option<Bytes> {
        let path = self.path(&digest);
        let read = move || {
            let bytes = read(&path, FILE_BYTES_MAX).ok()?;
            if Digest::of(&bytes) == digest {
                if let Err(error) = touch(&path, now_ms) {
                    tracing::debug!(file = %path.display(), %error, "the copy looks older than it is");
                }
                return Some(bytes.into());
            }
            tracing::warn!(file = %path.display(), "the copy of a plugin is damaged; it is fetched again");
            // Should it stay, the next write replaces it.
            let _ = fs::remove_file(&path);
            None
        };
        tokio::task::spawn_blocking(read).await.ok().flatten()
    }

    /// Keeps a copy of a file, and drops those used longest ago if there are too many.
    ///
    /// # Errors
    /// As the operating system says, with the file's name.
    pub async fn keep(&self, digest: Digest, bytes: Bytes, now_ms: UnixMs) -> io::Result<()> {
        let path = self.path(&digest);
        blocking(move || {
            write(&path, &bytes)?;
            touch(&path, now_ms)?;
            prune(path.parent().expect("a copy lies in a folder"))
        })
        .await
    }

    /// What was last kept about a plugin.
    pub async fn record(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.record_path(name);
        tokio::task::spawn_blocking(move || read(&path, RECORD_BYTES_MAX).ok()).await.ok().flatten()
    }

    /// Keeps what the servers say about a plugin. Writes nothing if that is there already.
    ///
    /// # Errors
    /// As the operating system says, with the file's name.
    pub async fn keep_record(&self, name: &str, bytes: Bytes) -> io::Result<()> {
        let path = self.record_path(name);
        let known = move || match read(&path, RECORD_BYTES_MAX) {
            Ok(known) if known == bytes => Ok(()),
            Ok(_) | Err(_) => write(&path, &bytes),
        };
        blocking(known).await
    }

    /// Forgets a plugin. One that is not known is no error.
    ///
    /// # Errors
    /// As the operating system says.
    pub async fn forget_record(&self, name: &str) -> io::Result<()> {
        let path = self.record_path(name);
        let remove = move || match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        };
        blocking(remove).await
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join("files").join(format!("{}.wasm", digest.hex()))
    }

    /// Names are of `a-z`, `0-9` and `-`.
    fn record_path(&self, name: &str) -> PathBuf {
        self.folder.join("names").join(format!("{name}.json"))
    }
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().expect("a copy lies in a folder");
    let replace = || {
        fs::create_dir_all(folder)?;
        let beside = path.with_extension("tmp");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(folder)?.sync_all()
    };
    replace().map_err(|error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Notes when a copy was used, in its time of modification.
fn touch(path: &Path, now_ms: UnixMs) -> io::Result<()> {
    File::open(path)?.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms))
}

/// Removes the copies used longest ago, and what an interrupted write left.
fn prune(folder: &Path) -> io::Result<()> {
    let mut copies = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        copies.push((entry.metadata()?.modified()?, entry.path()));
    }
    copies.sort_unstable();
    let surplus = copies.len().saturating_sub(COPIES_MAX);
    for (_, path) in &copies[..surplus] {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_copy_is_believed_for_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path());
        let digest = Digest::of(b"plugin");
        files.keep(digest, Bytes::from_static(b"plugin"), 1_000).await.unwrap();
        assert_eq!(files.file(digest, 2_000).await.as_deref(), Some(&b"plugin"[..]));
        let path = files.path(&digest);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        fs::write(&path, b"plugim").unwrap();

        assert_eq!(files.file(digest, 2_000).await, None);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_copies_kept_longest_ago_go() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path());
        let bytes = |number: usize| Bytes::from(number.to_string());
        for number in 0..COPIES_MAX + 2 {
            files.keep(Digest::of(&bytes(number)), bytes(number), 1_000 * number as u64).await.unwrap();
        }
        let mut there = Vec::new();
        for number in 0..COPIES_MAX + 2 {
            there.push(files.file(Digest::of(&bytes(number)), 9_000_000).await.is_some());
        }
        assert_eq!(there.iter().position(|there| *there), Some(2));
        assert_eq!(there.iter().filter(|there| **there).count(), COPIES_MAX);
    }

    #[tokio::test]
    async fn a_record_is_kept_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path());
        files.keep_record("p", Bytes::from_static(b"{}")).await.unwrap();
        assert_eq!(files.record("p").await.as_deref(), Some(&b"{}"[..]));
        for _ in 0..2 {
            files.forget_record("p").await.unwrap();
        }
        assert_eq!(files.record("p").await, None);
    }
}
