//! Lines for the agent's log. A run may write 64 lines of 1 KiB; what is more is dropped and counted by the agent.

use crate::bindings::check::lictor::plugin::logging::{Level, log};

/// Writes a line that somebody who looks for a fault of this plugin wants.
pub fn debug(message: &str) {
    log(Level::Debug, message);
}

/// Writes a line that an operator wants to know.
pub fn info(message: &str) {
    log(Level::Info, message);
}

/// Writes a line about something odd that still works.
pub fn warn(message: &str) {
    log(Level::Warn, message);
}

/// Writes a line about something broken.
pub fn error(message: &str) {
    log(Level::Error, message);
}
