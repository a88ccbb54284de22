//! Rules about plugins that need neither a component nor a host: today the schema that a check's config is held against.

pub mod schema;

pub use schema::{Schema, SchemaError};
