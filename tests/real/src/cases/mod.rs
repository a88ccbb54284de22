//! The recorded cases under `tests/cases`, replayed to anything that answers.
//!
//! Knows the formats (each folder's README) and what counts as equal; never who
//! is asked: a process over sockets, or the API without them.

pub mod dns;
pub mod http;

use std::fs;
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// The files of a kind of cases, by name.
///
/// # Panics
/// When there are none: a moved folder must not pass for one without differences.
pub fn files(kind: &str, extension: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../cases").join(kind);
    let entries = fs::read_dir(&folder).expect("the cases are there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder is readable").path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    assert!(!files.is_empty(), "no cases in {}", folder.display());
    files
}

/// The value of a future that never waits, because whoever it asks blocks the thread.
///
/// # Panics
/// When it waits.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits for something"),
    }
}
