//! What the kernel counted for a process: processor time, memory, bytes written.
//!
//! Reads `/proc` (proc(5)) and nothing else. Processor time is in clock ticks of 10 ms there, so shares are
//! good to a percent only over windows of seconds.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors the agents and the load generator need for ten thousand watchers.
const DESCRIPTORS: u64 = 20_000;

/// The counters of a process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time since its start.
    pub cpu: Duration,
    /// The same of its children that have ended and were waited for.
    pub children: Duration,
    /// Bytes it caused to be sent to the disk since its start (`write_bytes`).
    pub written: u64,
    /// Bytes of memory in use, shared pages of its binary included (`VmRSS`).
    pub resident: u64,
    /// Bytes of memory of its own (`RssAnon`).
    pub anonymous: u64,
}

/// Reads the counters of the process `id`.
///
/// # Errors
/// The process is gone.
pub fn usage(id: u32) -> io::Result<Usage> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{id}/{name}"));
    let status = read("status")?;
    let (cpu, children) = cpu(&read("stat")?).ok_or_else(|| io::Error::other("/proc/PID/stat has an unknown shape"))?;
    Ok(Usage {
        cpu,
        children,
        written: number_after(&read("io")?, "write_bytes:"),
        resident: number_after(&status, "VmRSS:") * 1024,
        anonymous: number_after(&status, "RssAnon:") * 1024,
    })
}

/// The counters of this process.
///
/// # Errors
/// `/proc` is not there.
pub fn own_usage() -> io::Result<Usage> {
    usage(std::process::id())
}

/// Fields 14 to 17 of `/proc/PID/stat`, its own and its children's, counted behind the name, which may contain anything.
fn cpu(stat: &str) -> Option<(Duration, Duration)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut both = || -> Option<Duration> {
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some(Duration::from_millis(10 * (user + system)))
    };
    Some((both()?, both()?))
}

/// The number behind a label at the start of a line; zero when the kernel does not tell.
fn number_after(text: &str, label: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The bytes a folder takes on the disk, in whole blocks, with all that is in it.
///
/// # Errors
/// A folder cannot be read.
pub fn size_on_disk(folder: &Path) -> io::Result<u64> {
    let mut size_bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_bytes += size_on_disk(&entry.path())?,
            Ok(metadata) => size_bytes += metadata.blocks() * 512,
            // Removed since the folder was listed: a log that was compacted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(size_bytes)
}

/// Raises the limit of open files of this process and those it starts.
///
/// # Errors
/// The system allows too few.
pub fn raise_descriptors() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.map_or(DESCRIPTORS, |maximum| maximum.max(DESCRIPTORS));
    let wanted = Rlimit { current: Some(maximum), maximum: limit.maximum.map(|_| maximum) };
    setrlimit(Resource::Nofile, wanted)
        .map_err(|error| io::Error::other(format!("{DESCRIPTORS} open files are needed: {error}; raise `ulimit -Hn`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 30 20 20 0 1 0 100";
        assert_eq!(cpu(stat), Some((Duration::from_secs(2), Duration::from_millis(500))));
    }

    #[test]
    fn own_memory_is_counted() {
        let usage = own_usage().unwrap();
        assert!(usage.resident >= usage.anonymous && usage.anonymous > 0, "{usage:?}");
    }
}
