//! Probes: one file per kind of check. Each runs once and returns an outcome.
