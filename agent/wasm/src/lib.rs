//! The host for WASI 0.2 components: health checks and template renderers.
//!
//! This is the door they will come through; nothing is behind it yet. The
//! crate exists so that wasmtime, the heaviest dependency, never enters a
//! crate that is rebuilt often. See ARCHITECTURE.md, "Plugins".
