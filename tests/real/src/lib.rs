//! Real processes, real sockets, real files, real clients.
//!
//! Every agent gets a loopback address of its own, or a host of a private network where the network goes wrong,
//! so the usual ports are free and nothing needs to be chosen or retried. Nothing here knows how the agent
//! is built inside; it starts the binary and talks to it.

pub mod agent;
pub mod cases;
pub mod command_case;
pub mod guests;
pub mod http;
pub mod namespaces;
pub mod plugins;
pub mod pool;
pub mod readme;
pub mod servers;
pub mod story;
pub mod tools;

pub use agent::{Agent, Binary};
