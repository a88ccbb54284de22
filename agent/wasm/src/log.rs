//! Where a plugin's lines go: a trait the daemon implements, so that this crate knows no logger.

/// Takes the lines of plugins. Called from any thread, must not block.
pub trait PluginLog: Send + Sync {
    /// Takes one line.
    fn line(&self, line: &LogLine<'_>);
}

/// One line, at most 1 KiB, without control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// The plugin's name as it describes itself; `-` while it is loaded and for lines of the host itself.
    pub plugin: &'a str,
    /// The subject of the run (a check's id), empty outside runs.
    pub subject: &'a str,
    /// How much it matters.
    pub level: LogLevel,
    /// The text.
    pub message: &'a str,
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For those who look for a fault in the plugin.
    Trace,
    /// As above, less of it. What a plugin prints comes at this level.
    Debug,
    /// An operator would want to know.
    Info,
    /// Odd but working.
    Warn,
    /// Broken.
    Error,
}
