//! A run's lines: what it logs and what it prints, bounded and without control characters, on their way to the plugin log.

use crate::log::{LogLevel, LogLine, PluginLog};
use bytes::Bytes;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Lines a run may write.
const LINES_MAX: u64 = 64;
/// Bytes of a line; what is longer is cut.
const LINE_BYTES_MAX: usize = 1024;
/// Lines printed last that are kept, for saying why a guest broke down.
const LAST_MAX: usize = 3;
/// Bytes a guest may print at once before it is asked to write again.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// The lines of one run.
pub(crate) struct Lines {
    log: Arc<dyn PluginLog>,
    plugin: Arc<str>,
    subject: Box<str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    written: u64,
    dropped: u64,
    /// The level of the most important line that was dropped.
    dropped_level: Option<LogLevel>,
    last_printed: Vec<String>,
}

impl Lines {
    pub(crate) fn new(log: Arc<dyn PluginLog>, plugin: Arc<str>, subject: &str) -> Arc<Lines> {
        Arc::new(Lines { log, plugin, subject: subject.into(), state: Mutex::default() })
    }

    /// Writes a line, unless the run wrote as many as it may.
    pub(crate) fn write(&self, level: LogLevel, message: &str) {
        {
            let mut state = self.lock();
            if state.written >= LINES_MAX {
                state.dropped += 1;
                state.dropped_level = state.dropped_level.max(Some(level));
                return;
            }
            state.written += 1;
        }
        let message = clean(message);
        self.log.line(&LogLine { plugin: &self.plugin, subject: &self.subject, level, message: &message });
    }

    fn print(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        {
            let mut state = self.lock();
            if state.last_printed.len() == LAST_MAX {
                state.last_printed.remove(0);
            }
            state.last_printed.push(clean(line));
        }
        self.write(LogLevel::Debug, line);
    }

    /// Says how many lines the run wrote past those it may, as loud as the most important of them was.
    pub(crate) fn end(&self) -> u64 {
        let (dropped, level) = {
            let state = self.lock();
            (state.dropped, state.dropped_level)
        };
        if let Some(level) = level {
            let message = format!("{dropped} more lines are left out: a run may write {LINES_MAX}");
            self.log.line(&LogLine { plugin: &self.plugin, subject: &self.subject, level, message: &message });
        }
        dropped
    }

    /// What was printed last, oldest first.
    pub(crate) fn last_printed(&self) -> Vec<String> {
        self.lock().last_printed.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cut to [`LINE_BYTES_MAX`] at a character's end, control characters replaced: a plugin must not forge lines of the log.
pub(crate) fn clean(text: &str) -> String {
    let end = text.floor_char_boundary(LINE_BYTES_MAX);
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Standard output or error of a run: lines at debug.
#[derive(Clone)]
pub(crate) struct Printed {
    lines: Arc<Lines>,
    partial: Arc<Mutex<Vec<u8>>>,
}

impl Printed {
    pub(crate) fn new(lines: Arc<Lines>) -> Printed {
        Printed { lines, partial: Arc::default() }
    }

    fn take(&self, bytes: &[u8]) {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let room = LINE_BYTES_MAX.saturating_sub(partial.len()).min(piece.len());
            partial.extend_from_slice(&piece[..room]);
            if piece.ends_with(b"\n") {
                self.lines.print(&partial);
                partial.clear();
            }
        }
    }
}

/// What stands there without a line's end when the run is over is a line too.
impl Drop for Printed {
    fn drop(&mut self) {
        if let Some(partial) = Arc::get_mut(&mut self.partial) {
            let partial = std::mem::take(partial.get_mut().unwrap_or_else(PoisonError::into_inner));
            self.lines.print(&partial);
        }
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl tokio::io::AsyncWrite for Printed {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl Pollable for Printed {
    fn ready<'life, 'future>(&'life mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future,
    {
        Box::pin(std::future::ready(()))
    }
}
