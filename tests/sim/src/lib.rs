//! Whole agents in one process, on virtual time, with faults from a seed.
//!
//! One thread, tokio's paused clock, a seeded network and disk: the same seed
//! gives the same [`trace`], and a test says so. [`outside`] is the world an
//! agent sees, [`network`] carries bytes late or not at all, [`disk`] flushes
//! late and crashes, [`client`] speaks HTTP. [`world`] runs it all against
//! [`invariants`]: first chaos, then healing. [`cluster`] has servers without their agents, [`agents`] whole clusters of
//! agents. [`gossip`] simulates large pools of gossip alone.

pub mod agents;
pub mod client;
pub mod clients;
pub mod cluster;
pub mod disk;
pub mod gossip;
pub mod invariants;
pub mod network;
pub mod outside;
pub mod seeds;
pub mod trace;
pub mod world;
