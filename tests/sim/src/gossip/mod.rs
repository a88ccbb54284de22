//! A pool of many members: gossip alone, as a discrete-event simulation.
//!
//! No runtime, no tasks: one queue of events ordered by virtual microseconds,
//! and `agent_core::gossip::Gossip` stepped by it. [`weather`] decides what the
//! network and slow hosts do to a message, [`world`] carries it. The same seed
//! gives the same digest.

pub mod weather;
pub mod world;

pub use weather::Weather;
pub use world::World;
