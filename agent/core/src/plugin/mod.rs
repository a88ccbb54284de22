//! Rules about plugins that need neither a component nor a host: the schema that a check's config is held against, and
//! the digests and signatures of their files.
//!
//! Running a plugin is the business of `agent-wasm`, keeping its files that of [`crate::state::plugin`].

pub mod digest;
pub mod schema;
pub mod signature;

pub use schema::{Schema, SchemaError};
