//! The read snapshot of local state: what `/v1/agent/services` and its kin answer from.
//!
//! Owns only the types. A view never changes; the machine publishes a new one
//! after every step that altered something.

use std::sync::Arc;

use imbl::OrdMap;

use crate::health::spec::CheckSpec;
use crate::state::tables::{Check, CheckId, Service, ServiceId};

/// Who defined a service or check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The HTTP API: kept in the data directory, survives a restart.
    Api,
    /// A configuration file: read again at every start and reload.
    Config,
}

/// A service of this agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalService {
    /// The record as it goes to the catalog; its indexes are zero.
    pub service: Service,
    /// ACL token to sync with, empty for the agent's.
    pub token: String,
    /// Who defined it.
    pub source: Source,
}

/// A check of this agent with its latest result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCheck {
    /// How it runs.
    pub spec: Arc<CheckSpec>,
    /// The record as it goes to the catalog, with the latest status and output; its indexes are zero.
    pub check: Check,
    /// Who defined it.
    pub source: Source,
}

/// Everything this agent registered at one moment. `clone` copies nothing.
#[derive(Clone, Debug, Default)]
pub struct LocalView {
    /// Counts the changes of this view; equal versions of one agent are equal views.
    pub version: u64,
    /// Services by id.
    pub services: OrdMap<ServiceId, Arc<LocalService>>,
    /// Checks by id.
    pub checks: OrdMap<CheckId, Arc<LocalCheck>>,
}

impl LocalView {
    /// The checks of one service instance, by id; with an empty `service_id` those of the node.
    pub fn checks_of<'a>(&'a self, service_id: &'a str) -> impl Iterator<Item = &'a Arc<LocalCheck>> {
        self.checks.values().filter(move |c| c.check.service_id == service_id)
    }
}
