//! The log file, and the next one when it is too big or too old.
//!
//! Named as Consul names them: `-log-file=/var/log/agent.log` writes
//! `/var/log/agent-<nanoseconds>.log`, each file called after the moment it was
//! begun. Only files that carry such a name are ever removed.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::log::LogOptions;
use crate::env::Clock;

/// The digits of a file's moment, in nanoseconds since the Unix epoch.
const MOMENT_DIGITS: usize = 19;

/// Files that may be begun in one moment.
const FILES_PER_MOMENT_MAX: usize = 1000;

/// A log file that is followed by a new one past a size or an age.
pub(super) struct LogFile {
    folder: PathBuf,
    stem: String,
    /// With its dot.
    extension: String,
    /// The current file.
    path: PathBuf,
    file: fs::File,
    size_bytes: u64,
    opened_ms: u64,
    options: LogOptions,
}

impl LogFile {
    /// Begins a file.
    ///
    /// # Errors
    /// Its folder can't be made, or the file can't be opened.
    pub(super) fn open(path: &Path, options: &LogOptions, clock: &dyn Clock) -> io::Result<LogFile> {
        let is_folder = path.to_string_lossy().ends_with('/') || path.is_dir();
        let (folder, stem, extension) = match is_folder {
            true => (path, options.stem.clone(), None),
            false => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                (path.parent().unwrap_or(Path::new("")), stem, path.extension())
            }
        };
        let extension = format!(".{}", extension.map_or("log".into(), |extension| extension.to_string_lossy()));
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        fs::create_dir_all(folder)?;
        let opened_ms = clock.wall_ms();
        let (path, file) = begin(folder, &stem, &extension, opened_ms)?;
        let folder = folder.to_owned();
        Ok(LogFile { folder, stem, extension, path, file, size_bytes: 0, opened_ms, options: options.clone() })
    }

    /// The current file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line, to a new file if it is time for one.
    ///
    /// # Errors
    /// The line could not be written; or no new file could be begun or no old one removed, and the line is written.
    pub(super) fn write(&mut self, text: &str, clock: &dyn Clock) -> io::Result<()> {
        let now_ms = clock.wall_ms();
        let LogOptions { rotate_bytes, rotate_ms, .. } = self.options;
        let too_big = rotate_bytes > 0 && self.size_bytes >= rotate_bytes;
        let too_old = rotate_ms > 0 && now_ms.saturating_sub(self.opened_ms) >= rotate_ms;
        let rotated = if too_big || too_old { self.rotate(now_ms) } else { Ok(()) };
        self.file.write_all(text.as_bytes())?;
        self.size_bytes += text.len() as u64;
        rotated
    }

    fn rotate(&mut self, now_ms: u64) -> io::Result<()> {
        (self.path, self.file) = begin(&self.folder, &self.stem, &self.extension, now_ms)?;
        self.size_bytes = 0;
        self.opened_ms = now_ms;
        self.remove_old()
    }

    /// Removes the oldest of the files that are not current, down to how many may be kept.
    fn remove_old(&self) -> io::Result<()> {
        let keep = match self.options.rotate_files_max {
            0 => return Ok(()),
            negative if negative < 0 => 0,
            files => usize::try_from(files).unwrap_or(usize::MAX),
        };
        let names = fs::read_dir(&self.folder)?.filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.to_owned()));
        let current = self.path.file_name().and_then(|name| name.to_str());
        let mut old: Vec<String> = names.filter(|name| self.is_ours(name) && Some(name.as_str()) != current).collect();
        old.sort();
        let surplus = old.len().saturating_sub(keep);
        old.iter().take(surplus).try_for_each(|name| fs::remove_file(self.folder.join(name)))
    }

    /// Whether a file of this name was begun by a log like this one.
    fn is_ours(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.stem.as_str()).and_then(|rest| rest.strip_prefix('-'));
        let moment = rest.and_then(|rest| rest.strip_suffix(self.extension.as_str()));
        moment.is_some_and(|text| text.len() == MOMENT_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()))
    }
}

/// A new file for the moment `now_ms`, or the first free one after it.
fn begin(folder: &Path, stem: &str, extension: &str, now_ms: u64) -> io::Result<(PathBuf, fs::File)> {
    for moment in (now_ms.saturating_mul(1_000_000)..).take(FILES_PER_MOMENT_MAX) {
        let path = folder.join(format!("{stem}-{moment:0MOMENT_DIGITS$}{extension}"));
        match fs::OpenOptions::new().create_new(true).append(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return Ok((path, opened?)),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many log files of one moment"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::telemetry::Level;

    struct Fixed(AtomicU64);

    impl Clock for Fixed {
        fn wall_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn clock() -> Fixed {
        Fixed(AtomicU64::new(1_795_232_277_871))
    }

    fn rotation(rotate_bytes: u64, rotate_ms: u64, rotate_files_max: i64) -> LogOptions {
        let stem = "lictor".to_owned();
        LogOptions { level: Level::Info, json: false, file: None, stem, rotate_bytes, rotate_ms, rotate_files_max }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("the folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_carry_the_moment_they_were_begun() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (path, name) in [
            ("a/agent.txt", "agent-1795232277871000000.txt"),
            ("b/agent", "agent-1795232277871000000.log"),
            ("c/", "lictor-1795232277871000000.log"),
        ] {
            let file = LogFile::open(&folder.path().join(path), &rotation(0, 0, 0), &clock()).expect("a new file");
            assert_eq!(file.path().file_name().and_then(|name| name.to_str()), Some(name));
        }
    }

    #[test]
    fn a_full_file_is_followed_by_a_new_one_and_the_oldest_go() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Not ours, though it begins like ours.
        fs::write(folder.path().join("agent-notes.log"), "").expect("a writable folder");
        let path = folder.path().join("agent.log");
        let mut file = LogFile::open(&path, &rotation(8, 0, 1), &clock()).expect("a new file");
        for line in ["12345678\n", "second 78\n", "third 678\n"] {
            file.write(line, &clock()).expect("a writable folder");
        }
        let expected = ["agent-1795232277871000001.log", "agent-1795232277871000002.log", "agent-notes.log"];
        assert_eq!(names(folder.path()), expected);
        assert_eq!(fs::read_to_string(file.path()).expect("the current file"), "third 678\n");
    }

    #[test]
    fn an_old_file_is_followed_by_a_new_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, clock) = (folder.path().join("agent.log"), clock());
        let mut file = LogFile::open(&path, &rotation(0, 1000, -1), &clock).expect("a new file");
        file.write("first\n", &clock).expect("a writable folder");
        clock.0.fetch_add(1000, Ordering::Relaxed);
        file.write("second\n", &clock).expect("a writable folder");
        assert_eq!(names(folder.path()), ["agent-1795232278871000000.log"]);
    }

    #[test]
    fn a_line_stays_in_the_old_file_when_there_can_be_no_new_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (before, after) = (folder.path().join("before"), folder.path().join("after"));
        let mut file = LogFile::open(&before.join("agent.log"), &rotation(1, 0, 0), &clock()).expect("a new file");
        file.write("first\n", &clock()).expect("a writable folder");
        fs::rename(&before, &after).expect("a writable folder");
        file.write("second\n", &clock()).expect_err("the folder is gone");
        let name = file.path().file_name().expect("it has a name");
        assert_eq!(fs::read_to_string(after.join(name)).expect("the file"), "first\nsecond\n");
    }
}
