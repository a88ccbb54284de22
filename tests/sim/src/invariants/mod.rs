//! What must hold, one file each. Clients tell the [`Oracle`] what they did and saw.

pub mod durability;
pub mod index;
pub mod leader;
pub mod lock;
pub mod prefix;
pub mod ttl;
pub mod wake;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::trace::Trace;

/// All invariants of one simulation. Cheap to clone.
#[derive(Clone)]
pub struct Oracle {
    trace: Trace,
    inner: Arc<Mutex<Checks>>,
}

/// The invariants and what they found.
pub struct Checks {
    /// Acknowledged writes survive.
    pub durability: durability::Durability,
    /// An index never goes back.
    pub index: index::IndexOrder,
    /// Blocking queries wake for what they asked about, and for nothing else.
    pub wake: wake::Wake,
    /// A lock has one holder.
    pub lock: lock::Locks,
    /// Sessions live as long as promised, and not much longer.
    pub ttl: ttl::Ttl,
    /// When the agent last came up.
    pub booted: Instant,
    broken: Vec<String>,
}

impl Oracle {
    /// Nothing has happened yet.
    pub fn new(trace: &Trace) -> Self {
        let checks = Checks {
            durability: durability::Durability::default(),
            index: index::IndexOrder::default(),
            wake: wake::Wake::default(),
            lock: lock::Locks::default(),
            ttl: ttl::Ttl,
            booted: Instant::now(),
            broken: Vec::new(),
        };
        Oracle { trace: trace.clone(), inner: Arc::new(Mutex::new(checks)) }
    }

    /// The invariants, to tell them something.
    pub fn checks(&self) -> MutexGuard<'_, Checks> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a verdict.
    pub fn judge(&self, verdict: Result<(), String>) {
        if let Err(what) = verdict {
            self.trace.note(format_args!("BROKEN {what}"));
            self.checks().broken.push(what);
        }
    }

    /// What was broken, in order.
    pub fn broken(&self) -> Vec<String> {
        self.checks().broken.clone()
    }
}
