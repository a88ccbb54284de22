//! The lines that plugins write, in the agent's log.

use agent_wasm::{LogLevel, LogLine, PluginLog};

/// Hands lines on to the agent's log.
pub(super) struct Tracing;

impl PluginLog for Tracing {
    fn line(&self, line: &LogLine<'_>) {
        let LogLine { plugin, subject: check, level, message } = *line;
        match level {
            LogLevel::Trace => tracing::trace!(plugin, check, "{message}"),
            LogLevel::Debug => tracing::debug!(plugin, check, "{message}"),
            LogLevel::Info => tracing::info!(plugin, check, "{message}"),
            LogLevel::Warn => tracing::warn!(plugin, check, "{message}"),
            LogLevel::Error => tracing::error!(plugin, check, "{message}"),
        }
    }
}
