//! The process: loops, adapters, configuration and the command line.
//!
//! [`agent`] puts the rooms together and is the only file that knows them all.
//! Rules live in `agent-core`; nothing here decides what is replicated.

mod accept;
pub mod again;
pub mod agent;
pub mod checks;
pub mod cli;
pub mod client;
pub mod config;
pub mod control;
pub mod definition;
pub mod dns;
pub mod env;
pub mod goflag;
pub mod gossip;
pub mod http;
pub mod leader;
pub mod memory;
pub mod persist;
pub mod plugin;
pub mod propose;
pub mod roster;
pub mod rpc;
pub mod servers;
pub mod shedding;
pub mod sync;
pub mod telemetry;
pub mod watch;
