//! Nodes, services and checks: their rules and queries.
//!
//! Node and service names are found whatever their case. A query's index moves
//! exactly when what it answers may have changed; it is never zero.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Answer;
use super::tables::{Check, Node, Service, State, Status};

/// An instance with its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Where it runs.
    pub node: Arc<Node>,
    /// The instance.
    pub service: Arc<Service>,
}

/// An instance with its node and the checks that decide its health: its own and the node's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthInstance {
    /// Where it runs.
    pub node: Arc<Node>,
    /// The instance.
    pub service: Arc<Service>,
    /// Checks of the node (those without a service) and of the instance.
    pub checks: Vec<Arc<Check>>,
}

/// Which checks to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// All of them.
    Any,
    /// Those with this status.
    Only(Status),
}

impl State {
    /// A node by name or by id, whatever the case. Topic: `Node`.
    pub fn node(&self, name_or_id: &str) -> Answer<Option<Arc<Node>>> {
        let _ = name_or_id;
        unimplemented!()
    }

    /// All nodes that carry every pair of `meta`, by name. Topic: `Nodes`.
    pub fn node_list(&self, meta: &BTreeMap<String, String>) -> Answer<Vec<Arc<Node>>> {
        let _ = meta;
        unimplemented!()
    }

    /// Every service name with the tags of all its instances, on nodes that carry every pair of `meta`. Topic: `Services`.
    pub fn service_list(&self, meta: &BTreeMap<String, String>) -> Answer<BTreeMap<String, BTreeSet<String>>> {
        let _ = meta;
        unimplemented!()
    }

    /// The instances of a service that carry all `tags` (whatever the case), by node and id. Topic: `Service`.
    pub fn service_instances(&self, service: &str, tags: &[String]) -> Answer<Vec<Instance>> {
        let _ = (service, tags);
        unimplemented!()
    }

    /// The same with the checks that decide their health. Topic: `Service`.
    pub fn health_instances(&self, service: &str, tags: &[String]) -> Answer<Vec<HealthInstance>> {
        let _ = (service, tags);
        unimplemented!()
    }

    /// A node with its instances, by id. Topic: `Node`.
    pub fn node_services(&self, name_or_id: &str) -> Answer<Option<(Arc<Node>, Vec<Arc<Service>>)>> {
        let _ = name_or_id;
        unimplemented!()
    }

    /// All checks on a node, by id. Topic: `Node`.
    pub fn node_checks(&self, name: &str) -> Answer<Vec<Arc<Check>>> {
        let _ = name;
        unimplemented!()
    }

    /// The checks of a service's instances (not those of their nodes). Topic: `Service`.
    pub fn service_checks(&self, service: &str) -> Answer<Vec<Arc<Check>>> {
        let _ = service;
        unimplemented!()
    }

    /// All checks in a state. Topic: `Checks`.
    pub fn checks_in_state(&self, wanted: CheckState) -> Answer<Vec<Arc<Check>>> {
        let _ = wanted;
        unimplemented!()
    }
}
