//! Rules about plugins that need neither a component nor a host: the schema that a check's config is held against, the
//! digests and signatures of their files, and which version serves.
//!
//! Running a plugin is the business of `agent-wasm`, keeping its files that of [`crate::state::plugin`].

pub mod digest;
pub mod rollout;
pub mod schema;
pub mod signature;

pub use schema::{Schema, SchemaError};
