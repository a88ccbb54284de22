//! Health checks of this agent: what they are, when they run, what their results mean.
//!
//! [`schedule`] says when a check runs, [`streak`] what its results amount to,
//! [`alias`] what a mirror shows, [`text`] the words around results. The
//! machine that puts them together is [`crate::local::Local`]. Probes live in
//! the daemon.

pub mod alias;
pub mod schedule;
pub mod spec;
pub mod streak;
pub mod text;
