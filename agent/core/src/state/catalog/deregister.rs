//! Removing nodes, instances and checks, with all that hangs on them.
//!
//! Removing what is not there does nothing.

use super::fold_name;
use crate::state::tables::{CheckId, NodeName, ServiceId};
use crate::state::write::Write;

impl Write<'_> {
    /// [`crate::state::Command::Deregister`]: a service if one is named, else a check if one is named, else the node.
    pub fn deregister(&mut self, node: &str, service_id: Option<&str>, check_id: Option<&str>) {
        let node = fold_name(node);
        match (service_id, check_id) {
            (Some(service), _) => self.service_remove(&node, service),
            (None, Some(check)) => self.check_remove(&node, check),
            (None, None) => self.node_remove(&node),
        }
    }

    /// Removes a node with its sessions, instances and checks. `node` is folded.
    pub fn node_remove(&mut self, node: &NodeName) {
        let Some(record) = self.state.nodes.get(node).cloned() else { return };
        let services: Vec<ServiceId> = self.state.services_of(node).map(|service| service.id.clone()).collect();
        for id in services {
            self.service_remove(node, &id);
        }
        let checks: Vec<CheckId> = self.state.checks_of(node).map(|check| check.id.clone()).collect();
        for id in checks {
            self.check_remove(node, &id);
        }
        self.end_sessions_of_node(node);
        self.state.nodes.remove(node);
        self.state.node_indexes.remove(node);
        if !record.id.is_empty() {
            self.state.node_ids.remove(&fold_name(&record.id));
        }
        self.mark_node_gone(&record);
    }

    /// Removes an instance with its checks. `node` is folded.
    pub fn service_remove(&mut self, node: &NodeName, id: &str) {
        let Some(record) = self.state.services.get(&(node.clone(), id.to_string())).cloned() else { return };
        let checks: Vec<CheckId> = self
            .state
            .checks_of(node)
            .filter(|check| check.service_id == record.id)
            .map(|check| check.id.clone())
            .collect();
        for check in checks {
            self.check_remove(node, &check);
        }
        let name = fold_name(&record.name);
        self.state.services.remove(&(node.clone(), record.id.clone()));
        self.state.services_by_name.remove(&(name.clone(), node.clone(), record.id.clone()));
        self.state.indexes.services = self.index;
        self.mark_node_services(node);
        self.mark_service(&name);
        self.mark_service_names();
    }

    /// Removes a check; the sessions tied to it end. `node` is folded.
    pub fn check_remove(&mut self, node: &NodeName, id: &str) {
        let Some(record) = self.state.checks.remove(&(node.clone(), id.to_string())) else { return };
        self.mark_check(node, &record);
        self.end_sessions_of_check(node, &record.id);
    }
}
