//! Snapshots as files of their own, beside the log.
//!
//! Owns `raft/snapshot-INDEX` and its draft. A database never gives back what a
//! snapshot took, and moves every page of it twice; a file is written once and
//! removed. The log's database says which file counts: one it does not name is
//! left over from a crash and goes at the next start.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

/// What the names of snapshots begin with.
const PREFIX: &str = "snapshot-";

/// The files of one directory, and the snapshot that is being written.
#[derive(Debug)]
pub(super) struct SnapshotFiles {
    dir: PathBuf,
    draft: Option<(u64, File)>,
}

impl SnapshotFiles {
    /// Those of `dir`, of which only `current` counts. Removes all others.
    pub(super) fn open(dir: PathBuf, current: Option<u64>) -> Self {
        let files = SnapshotFiles { dir, draft: None };
        files.sweep(current);
        files
    }

    /// Those of `dir`, whichever counts.
    pub(super) fn untouched(dir: PathBuf) -> Self {
        SnapshotFiles { dir, draft: None }
    }

    fn path(&self, id: u64) -> PathBuf {
        self.dir.join(format!("{PREFIX}{id}"))
    }

    fn draft_path(&self, id: u64) -> PathBuf {
        self.dir.join(format!("{PREFIX}{id}.new"))
    }

    /// Appends a piece; the first one begins the draft anew. Durable when it returns, so that the end has little to sync.
    pub(super) fn append(&mut self, id: u64, number: u32, bytes: &[u8]) -> io::Result<()> {
        if number == 0 {
            self.draft = Some((id, File::create(self.draft_path(id))?));
        }
        match &mut self.draft {
            Some((of, file)) if *of == id => {
                file.write_all(bytes)?;
                file.sync_data()
            }
            _ => Err(io::Error::other(format!("piece {number} of snapshot {id} came without a first one"))),
        }
    }

    /// Gives the draft its name, durably. A snapshot without pieces is an empty file.
    pub(super) fn finish(&mut self, id: u64) -> io::Result<()> {
        match self.draft.take() {
            Some((of, file)) if of == id => file.sync_all()?,
            _ => File::create(self.draft_path(id))?.sync_all()?,
        }
        fs::rename(self.draft_path(id), self.path(id))?;
        File::open(&self.dir)?.sync_all()
    }

    /// A whole snapshot, if it is a file.
    pub(super) fn read(&self, id: u64) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(id)) {
            Ok(whole) => Ok(Some(whole)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes every snapshot but `current`, as far as the system lets it: what stays only takes room.
    pub(super) fn sweep(&self, current: Option<u64>) {
        let keep = current.map(|id| self.path(id));
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
            if is_ours
                && Some(&path) != keep.as_ref()
                && let Err(error) = fs::remove_file(&path)
            {
                tracing::warn!(file = %path.display(), %error, "could not remove an old snapshot");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &std::path::Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_the_snapshot_that_counts_survives_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = SnapshotFiles::open(dir.path().into(), None);
        for id in [3, 7] {
            files.append(id, 0, b"whole ").unwrap();
            files.append(id, 1, b"state").unwrap();
            files.finish(id).unwrap();
        }
        files.append(9, 0, b"half").unwrap();
        fs::write(dir.path().join("raft.redb"), b"log").unwrap();

        let files = SnapshotFiles::open(dir.path().into(), Some(3));

        assert_eq!(files.read(3).unwrap().unwrap(), b"whole state");
        assert_eq!(files.read(7).unwrap(), None);
        assert_eq!(names(dir.path()), ["raft.redb", "snapshot-3"]);
    }

    #[test]
    fn a_draft_that_is_begun_again_starts_empty() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = SnapshotFiles::open(dir.path().into(), None);
        files.append(3, 0, b"something longer").unwrap();
        files.append(3, 0, b"new").unwrap();
        files.finish(3).unwrap();

        assert_eq!(files.read(3).unwrap().unwrap(), b"new");
        assert!(files.append(4, 1, b"second").is_err());
    }
}
