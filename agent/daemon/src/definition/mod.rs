//! Service and check definitions as clients and files write them, decoded into specs.
//!
//! The one path from JSON to [`agent_core::health::spec`]: HTTP bodies, the
//! `service` and `check` blocks of configuration files (as JSON values) and
//! what `services register` reads all come through here. Owns defaults, floors
//! and validation; never touches the agent's state, so it cannot say whether a
//! service exists or scripts are allowed.

mod check;
mod duration;
mod fields;
mod proxy;
mod service;

use std::fmt;

pub use check::decode_check;
pub use duration::milliseconds;
pub use fields::{Fields, kind_of};
pub use proxy::{MeshGateway, Proxy, Upstream};
pub use service::{decode_meta, decode_service, tag_own_address, tagged_addresses, validate_proxy};

/// The shortest time between two runs of a check, in milliseconds.
pub const INTERVAL_MS_MIN: u64 = 1_000;

/// The shortest time a check may be critical before its service is removed, in milliseconds.
pub const DEREGISTER_MS_MIN: u64 = 60_000;

/// Where a definition comes from, which decides what it may leave out and how mistakes are worded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The body of a request. Types are strict.
    Http,
    /// A configuration file. Single blocks may stand where an object is wanted, as HCL writes them.
    File,
}

/// What a definition gets when it does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Where the definition comes from.
    pub source: Source,
}

impl Defaults {
    /// For the body of a request.
    pub const fn http() -> Self {
        Defaults { source: Source::Http }
    }

    /// For a configuration file.
    pub const fn file() -> Self {
        Defaults { source: Source::File }
    }
}

/// Why a definition was refused. Nothing was changed. `Display` gives the reason alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// It has the wrong shape: an unknown field, a value of another type.
    Shape(String),
    /// It is well formed and makes no sense, in Consul's words.
    Invalid(String),
}

impl DecodeError {
    /// The body of the `400` answer that Consul gives.
    pub fn http_text(&self) -> String {
        match self {
            DecodeError::Shape(reason) => format!("Request decode failed: {reason}"),
            DecodeError::Invalid(reason) => reason.clone(),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Shape(reason) | DecodeError::Invalid(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Shorthand for the refusal of a well-formed definition.
fn invalid(reason: impl Into<String>) -> DecodeError {
    DecodeError::Invalid(reason.into())
}

#[cfg(test)]
mod tests;
