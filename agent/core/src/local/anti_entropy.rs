//! Keeps the catalog's records of this node equal to the agent's: the agent is right, the catalog is made to agree.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::state::tables::{Check, CheckId, Node, Service, ServiceId, State};

/// What the catalog says about this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// The node, unless the catalog has none of this name.
    pub node: Option<Arc<Node>>,
    /// Its services.
    pub services: BTreeMap<ServiceId, Arc<Service>>,
    /// Its checks.
    pub checks: BTreeMap<CheckId, Arc<Check>>,
}

impl Remote {
    /// The records of the node called `name` in a snapshot of the state.
    pub fn of(state: &State, name: &str) -> Remote {
        let found = state.node_services(name).value;
        let checks = state.node_checks(name).value.into_iter().map(|c| (c.id.clone(), c)).collect();
        match found {
            None => Remote::default(),
            Some((node, services)) => {
                Remote { node: Some(node), services: services.into_iter().map(|s| (s.id.clone(), s)).collect(), checks }
            }
        }
    }
}
