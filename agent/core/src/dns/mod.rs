//! DNS: names, lookups and policy, without sockets or packets.
//!
//! [`name`] reads what a question asks for, [`answer`] answers it from a state
//! snapshot in small record types of its own, [`trim`] keeps the answer within
//! what the client can take. [`share`] is what answers about a service can be made of again and again. `agent-daemon` owns packets, sockets and
//! recursion. Behaviour is Consul 1.8's; random choices come in as a seed.
//!
//! ```text
//! question -> name::parse -> Question -> answer::answer(View) -> Answer -> trim -> packet
//!                              foreign or unknown reverse name -> Verdict::Recurse -> recursors
//! ```

pub mod answer;
pub mod config;
pub mod name;
pub mod record;
mod service;
pub mod share;
pub mod trim;

pub use answer::{Verdict, View, answer};
pub use config::DnsConfig;
pub use record::{Answer, Code, Data, Kind, Owner, Record};
pub use share::{Share, Shares, shares};
