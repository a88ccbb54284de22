//! Nodes, services and checks: their rules and queries.
//!
//! Node and service names are found whatever their case. A query's index moves
//! exactly when what it answers may have changed (that of [`State::node_services`]
//! sometimes also when a check has); it is never zero.
//! [`queries`] reads, [`register`] and [`deregister`] change; this file holds
//! what they share: how to walk a node or a service, and what a change marks.

mod deregister;
mod queries;
mod register;

use std::ops::Bound;
use std::sync::Arc;

pub use queries::{CheckState, HealthInstance, Instance};

use super::tables::{Check, Node, NodeName, Service, ServiceName, State};
use super::write::Write;
use crate::watch::Topic;

/// The check that tells whether a node's agent is alive.
pub const SERF_HEALTH: &str = "serfHealth";

impl State {
    /// The instances on a node, given its folded name, by id.
    pub(super) fn services_of<'a>(&'a self, node: &'a NodeName) -> impl Iterator<Item = &'a Arc<Service>> {
        let from = (Bound::Included((node.clone(), String::new())), Bound::Unbounded);
        self.services.range(from).take_while(move |((owner, _), _)| owner == node).map(|(_, service)| service)
    }

    /// The checks on a node, given its folded name, by id.
    pub(super) fn checks_of<'a>(&'a self, node: &'a NodeName) -> impl Iterator<Item = &'a Arc<Check>> {
        let from = (Bound::Included((node.clone(), String::new())), Bound::Unbounded);
        self.checks.range(from).take_while(move |((owner, _), _)| owner == node).map(|(_, check)| check)
    }

    /// The folded names of the nodes with their instances of a service, given its folded name.
    pub(super) fn instances_of<'a>(
        &'a self,
        service: &'a ServiceName,
    ) -> impl Iterator<Item = (&'a NodeName, &'a Arc<Service>)> {
        let from = (Bound::Included((service.clone(), NodeName::new(), String::new())), Bound::Unbounded);
        self.services_by_name
            .range(from)
            .take_while(move |((name, _, _), _)| name == service)
            .map(|((_, node, _), instance)| (node, instance))
    }

    /// The folded name of a node that is named by its name or its id.
    pub(super) fn resolve_node(&self, name_or_id: &str) -> Option<NodeName> {
        let folded = fold_name(name_or_id);
        if self.nodes.contains_key(&folded) { Some(folded) } else { self.node_ids.get(&folded).cloned() }
    }
}

fn fold_name(name: &str) -> String {
    super::tables::fold(name)
}

impl Write<'_> {
    /// Something of a node changed. `node` is folded and registered.
    fn mark_node(&mut self, node: &NodeName) {
        self.state.node_indexes.insert(node.clone(), self.index);
        self.touch_node(node, Topic::Node);
    }

    /// A node's own record or an instance on it changed. `node` is folded and registered.
    fn mark_node_services(&mut self, node: &NodeName) {
        self.mark_node(node);
        self.touch_node(node, Topic::NodeServices);
    }

    fn touch_node(&mut self, node: &NodeName, topic: fn(String) -> Topic) {
        self.touched.insert(topic(node.clone()));
        if let Some(id) = self.state.nodes.get(node).map(|record| fold_name(&record.id)).filter(|id| !id.is_empty()) {
            self.touched.insert(topic(id));
        }
    }

    /// A node's own record changed: all that show it did.
    fn mark_node_record(&mut self, node: &NodeName) {
        self.state.indexes.nodes = self.index;
        self.touched.insert(Topic::Nodes);
        self.mark_node_services(node);
        self.mark_services_of(node);
    }

    /// A node record, or the name or id it was known by, is gone.
    fn mark_node_gone(&mut self, record: &Node) {
        self.state.indexes.nodes = self.index;
        self.state.indexes.node_extinction = self.index;
        self.touched.insert(Topic::Nodes);
        let topics: [fn(String) -> Topic; 2] = [Topic::Node, Topic::NodeServices];
        for topic in topics {
            self.touched.insert(topic(fold_name(&record.name)));
            if !record.id.is_empty() {
                self.touched.insert(topic(fold_name(&record.id)));
            }
        }
    }

    /// Something that every service on a node shows changed.
    fn mark_services_of(&mut self, node: &NodeName) {
        let names: Vec<ServiceName> = self.state.services_of(node).map(|service| fold_name(&service.name)).collect();
        for name in names {
            self.mark_service(&name);
        }
    }

    /// Something of a service changed; perhaps it lost its last instance. `name` is folded.
    fn mark_service(&mut self, name: &ServiceName) {
        if self.state.instances_of(name).next().is_some() {
            self.state.service_indexes.insert(name.clone(), self.index);
        } else {
            self.state.service_indexes.remove(name);
            self.state.indexes.service_extinction = self.index;
        }
        self.touched.insert(Topic::Service(name.clone()));
    }

    /// An instance came, went, or changed its name or tags.
    fn mark_service_names(&mut self) {
        self.state.indexes.service_names = self.index;
        self.touched.insert(Topic::Services);
    }

    /// A check changed, came or went.
    fn mark_check(&mut self, node: &NodeName, check: &Check) {
        self.state.indexes.checks = self.index;
        self.touched.insert(Topic::Checks);
        self.mark_node(node);
        if check.service_id.is_empty() {
            self.mark_services_of(node);
        } else {
            self.mark_service(&fold_name(&check.service_name));
        }
    }
}

#[cfg(test)]
mod tests;
