//! Health checks of this agent: what they are, when they run, what their results mean.

pub mod spec;
