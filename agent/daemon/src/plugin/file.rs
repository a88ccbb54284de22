//! Tells when a file may have changed: inotify on its folder, so that a file that is replaced by another is noticed as well.
//!
//! Costs nothing while nothing changes. Folders that the kernel can't watch
//! (network file systems changed from elsewhere) are read again on reload.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

/// Room for what the kernel tells at once.
const BUFFER_BYTES: usize = 4096;

/// Watches one file.
pub(super) struct FileWatch {
    /// Nothing where the kernel can't watch.
    events: Option<AsyncFd<OwnedFd>>,
    name: OsString,
}

impl FileWatch {
    /// Watches the file at `path`, which need not be there yet. Its folder must be.
    ///
    /// # Errors
    /// The folder is not there or can't be watched.
    pub(super) fn new(path: &Path) -> io::Result<FileWatch> {
        let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?.to_owned();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let wanted = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::MOVED_FROM;
        inotify::add_watch(&events, folder, wanted)?;
        #[expect(
            deprecated,
            reason = "an owned descriptor stays open while it is registered; what takes its place is unsafe"
        )]
        let events = AsyncFd::new(events)?;
        Ok(FileWatch { events: Some(events), name })
    }

    /// A file of which no change is noticed.
    pub(super) fn never() -> FileWatch {
        FileWatch { events: None, name: OsString::new() }
    }

    /// Resolves when the file was written, replaced or removed since the last time.
    ///
    /// # Errors
    /// The kernel tells no more.
    pub(super) async fn changed(&self) -> io::Result<()> {
        let Some(events) = &self.events else { return std::future::pending().await };
        loop {
            let mut ready = events.readable().await?;
            if let Ok(ours) = ready.try_io(|events| self.read(events.get_ref())) {
                match ours? {
                    true => return Ok(()),
                    false => continue,
                }
            }
        }
    }

    /// Takes in what the kernel has to tell; whether our file is in it.
    fn read(&self, events: &OwnedFd) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = inotify::Reader::new(events, &mut buffer);
        let mut ours = false;
        loop {
            ours |= reader.next()?.file_name().is_some_and(|name| name.to_bytes() == self.name.as_bytes());
            if reader.is_buffer_empty() {
                return Ok(ours);
            }
        }
    }
}
