//! Opening the redb file: creating it whole, and saying clearly why it cannot be opened.
//!
//! Owns the format version of the file. A new file is prepared under another
//! name and renamed, so a crash leaves either none or a usable one.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageBackend};

use super::file::{META, Tuning, create_tables};

/// The newest file format this build reads, and the one it writes.
///
/// 1 kept snapshots in the database; since 2 they are files beside it.
pub const FORMAT_VERSION: u8 = 2;

/// The record that holds the format version.
pub(super) const FORMAT: &str = "format";

/// The file's name inside the `raft` directory.
pub(super) const FILE_NAME: &str = "raft.redb";

/// Why the Raft file could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it open.
    InUse {
        /// The file.
        file: PathBuf,
    },
    /// A newer agent wrote it.
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format version.
        found: u8,
    },
    /// The operating system refused: permission, no space, a bad path.
    Io {
        /// The file or directory.
        file: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// It is not what an agent wrote.
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The thread that writes the log could not be started.
    Thread(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InUse { file } => write!(
                f,
                "data dir is in use by another agent: {} is locked; stop that agent or give this one its own -data-dir",
                file.display()
            ),
            OpenError::Newer { file, found } => write!(
                f,
                "{} has format version {found}, and this agent reads versions up to {FORMAT_VERSION}: run the newer \
                 agent that wrote it, or start with an empty -data-dir and restore a snapshot",
                file.display()
            ),
            OpenError::Io { file, source } => write!(f, "could not open {}: {source}", file.display()),
            OpenError::Damaged { file, why } => write!(
                f,
                "{} is damaged: {why}; move it away and restore a snapshot, or copy it back from a backup",
                file.display()
            ),
            OpenError::Thread(source) => write!(f, "could not start the thread of the raft log: {source}"),
        }
    }
}

impl std::error::Error for OpenError {}

pub(super) fn open_file(dir: &Path, cache_bytes: usize) -> Result<Database, OpenError> {
    let file = dir.join(FILE_NAME);
    fs::create_dir_all(dir).map_err(|source| OpenError::Io { file: dir.into(), source })?;
    if !file.try_exists().map_err(|source| OpenError::Io { file: file.clone(), source })? {
        create(dir, &file)?;
    }
    let database = builder(cache_bytes).open(&file).map_err(|error| explain(error, &file))?;
    check_format(&database, &file)?;
    Ok(database)
}

pub(super) fn open_backend(backend: impl StorageBackend) -> Result<Database, OpenError> {
    let name = Path::new("(storage backend)");
    let is_new = backend.len().map_err(|source| OpenError::Io { file: name.into(), source })? == 0;
    let database =
        builder(Tuning::default().cache_bytes).create_with_backend(backend).map_err(|error| explain(error, name))?;
    if is_new {
        create_tables(&database, FORMAT_VERSION).map_err(|error| explain_any(error, name))?;
    }
    check_format(&database, name)?;
    Ok(database)
}

/// Prepares a database beside `file`, then puts it in place durably.
fn create(dir: &Path, file: &Path) -> Result<(), OpenError> {
    let draft = file.with_extension("redb.new");
    let database = match Database::create(&draft) {
        Err(error @ DatabaseError::DatabaseAlreadyOpen) => return Err(explain(error, file)),
        // A crash during an earlier first start left half a file, which nobody has ever used.
        Err(_) if draft.exists() => fs::remove_file(&draft)
            .map_err(|source| OpenError::Io { file: draft.clone(), source })
            .and_then(|()| Database::create(&draft).map_err(|error| explain(error, &draft))),
        other => other.map_err(|error| explain(error, &draft)),
    }?;
    create_tables(&database, FORMAT_VERSION).map_err(|error| explain_any(error, &draft))?;
    drop(database);
    let in_place = || {
        fs::rename(&draft, file)?;
        File::open(dir)?.sync_all()?;
        dir.parent().map_or(Ok(()), |data_dir| File::open(data_dir)?.sync_all())
    };
    in_place().map_err(|source| OpenError::Io { file: file.into(), source })
}

fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    builder
}

fn check_format(database: &Database, file: &Path) -> Result<(), OpenError> {
    let read = || {
        let meta = database.begin_read()?.open_table(META)?;
        let format = meta.get(FORMAT)?.map(|record| record.value().to_vec());
        Ok::<_, redb::Error>(format)
    };
    match read().map_err(|error| explain_any(error, file))?.as_deref() {
        Some([1..=FORMAT_VERSION]) => Ok(()),
        Some([found, ..]) if *found > FORMAT_VERSION => Err(OpenError::Newer { file: file.into(), found: *found }),
        _ => Err(OpenError::Damaged { file: file.into(), why: "it has no format version".into() }),
    }
}

fn explain(error: DatabaseError, file: &Path) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { file: file.into() },
        other => explain_any(other.into(), file),
    }
}

fn explain_any(error: redb::Error, file: &Path) -> OpenError {
    match error {
        redb::Error::Io(source) if source.kind() != io::ErrorKind::InvalidData => {
            OpenError::Io { file: file.into(), source }
        }
        other => OpenError::Damaged { file: file.into(), why: other.to_string() },
    }
}
