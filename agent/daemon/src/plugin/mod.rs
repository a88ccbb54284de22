//! Plugins on this agent: where their files come from, and who is trusted to have made them.

pub mod fetch;
pub mod files;
pub mod trust;
