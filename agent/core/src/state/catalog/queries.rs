//! What can be asked about nodes, services and checks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::fold_name;
use crate::state::Answer;
use crate::state::tables::{Check, Index, Node, NodeName, Service, ServiceName, State, Status};

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
    /// Checks of the node (those without a service), then those of the instance, each by id.
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
        let value = self.resolve_node(name_or_id).and_then(|name| self.nodes.get(&name).cloned());
        Answer { index: self.node_index(name_or_id), value }
    }

    /// All nodes that carry every pair of `meta`, by name. Topic: `Nodes`.
    pub fn node_list(&self, meta: &BTreeMap<String, String>) -> Answer<Vec<Arc<Node>>> {
        let value = self.nodes.values().filter(|node| carries(node, meta)).cloned().collect();
        Answer { index: self.node_list_index(), value }
    }

    /// The index of [`State::node_list`].
    pub fn node_list_index(&self) -> Index {
        self.indexes.nodes.max(1)
    }

    /// Every service name with the tags of all its instances, on nodes that carry every pair of `meta`. Topic: `Services`.
    pub fn service_list(&self, meta: &BTreeMap<String, String>) -> Answer<BTreeMap<String, BTreeSet<String>>> {
        let mut value: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for ((node, _), service) in &self.services {
            if meta.is_empty() || self.nodes.get(node).is_some_and(|node| carries(node, meta)) {
                value.entry(service.name.clone()).or_default().extend(service.tags.iter().cloned());
            }
        }
        Answer { index: self.service_list_index(meta), value }
    }

    /// The index of [`State::service_list`].
    pub fn service_list_index(&self, meta: &BTreeMap<String, String>) -> Index {
        let nodes = if meta.is_empty() { 0 } else { self.indexes.nodes };
        self.indexes.service_names.max(nodes).max(1)
    }

    /// The instances of a service that carry all `tags` (whatever the case), by node and id. Topic: `Service`.
    pub fn service_instances(&self, service: &str, tags: &[String]) -> Answer<Vec<Instance>> {
        let name = fold_name(service);
        let value = self
            .instances_of(&name)
            .filter(|(_, service)| tagged(service, tags))
            .filter_map(|(node, service)| {
                Some(Instance { node: self.nodes.get(node)?.clone(), service: service.clone() })
            })
            .collect();
        Answer { index: self.service_index(&name), value }
    }

    /// The same with the checks that decide their health. Topic: `Service`.
    pub fn health_instances(&self, service: &str, tags: &[String]) -> Answer<Vec<HealthInstance>> {
        let name = fold_name(service);
        let mut value = Vec::new();
        for (node_name, service) in self.instances_of(&name).filter(|(_, service)| tagged(service, tags)) {
            if let Some(node) = self.nodes.get(node_name) {
                let checks = self.deciding_checks(node_name, service);
                value.push(HealthInstance { node: node.clone(), service: service.clone(), checks });
            }
        }
        Answer { index: self.service_index(&name), value }
    }

    /// The checks of a node, then those of an instance on it.
    fn deciding_checks(&self, node: &NodeName, service: &Service) -> Vec<Arc<Check>> {
        let mut checks = Vec::new();
        let mut own = Vec::new();
        for check in self.checks_of(node) {
            if check.service_id.is_empty() {
                checks.push(check.clone());
            } else if check.service_id == service.id {
                own.push(check.clone());
            }
        }
        checks.append(&mut own);
        checks
    }

    /// A node with its instances, by id. Topic: `NodeServices`.
    ///
    /// What it answers moves the node's index and one of the tables'. The former also moves with checks, the latter with
    /// other nodes: the older of them comes closest to the change that was asked about, and is never before it.
    pub fn node_services(&self, name_or_id: &str) -> Answer<Option<(Arc<Node>, Vec<Arc<Service>>)>> {
        let Answer { index, value } = self.node(name_or_id);
        let value = value.map(|node| {
            let services = self.services_on(&node.name);
            (node, services)
        });
        Answer { index: index.min(self.indexes.nodes.max(self.indexes.services)).max(1), value }
    }

    /// All checks on a node, by id. Topic: `Node`.
    pub fn node_checks(&self, name: &str) -> Answer<Vec<Arc<Check>>> {
        let value = match self.resolve_node(name) {
            Some(node) => self.checks_of(&node).cloned().collect(),
            None => Vec::new(),
        };
        Answer { index: self.node_index(name), value }
    }

    /// The checks of a service's instances (not those of their nodes), by node and id. Topic: `Service`.
    pub fn service_checks(&self, service: &str) -> Answer<Vec<Arc<Check>>> {
        let name = fold_name(service);
        let mut value: Vec<Arc<Check>> = Vec::new();
        for (node, instance) in self.instances_of(&name) {
            value.extend(self.checks_of(node).filter(|check| check.service_id == instance.id).cloned());
        }
        Answer { index: self.service_index(&name), value }
    }

    /// All checks in a state, by node and id. Topic: `Checks`.
    pub fn checks_in_state(&self, wanted: CheckState) -> Answer<Vec<Arc<Check>>> {
        let matches = |check: &&Arc<Check>| match wanted {
            CheckState::Any => true,
            CheckState::Only(status) => check.status == status,
        };
        let value = self.checks.values().filter(matches).cloned().collect();
        Answer { index: self.indexes.checks.max(1), value }
    }

    /// The instances on a node, by id; none when it is not registered.
    pub fn services_on(&self, node: &str) -> Vec<Arc<Service>> {
        self.services_of(&fold_name(node)).cloned().collect()
    }

    /// The nodes with this address or this tagged address, by name. Reads every node.
    pub fn nodes_by_address(&self, address: IpAddr) -> Vec<Arc<Node>> {
        let has = |node: &&Arc<Node>| {
            is_address(&node.address, address) || node.tagged_addresses.values().any(|text| is_address(text, address))
        };
        self.nodes.values().filter(has).cloned().collect()
    }

    /// The instances with this address of their own, by node and id. Reads every instance.
    pub fn services_by_address(&self, address: IpAddr) -> Vec<Instance> {
        let with_node = |service: &Arc<Service>| {
            let node = self.nodes.get(&fold_name(&service.node))?.clone();
            Some(Instance { node, service: service.clone() })
        };
        self.services.values().filter(|service| is_address(&service.address, address)).filter_map(with_node).collect()
    }

    /// The index of whatever is asked about one node. One that is found by its id also
    /// answers for what other nodes were known by, so that it never goes back.
    fn node_index(&self, name_or_id: &str) -> Index {
        let folded = fold_name(name_or_id);
        let index = match self.node_indexes.get(&folded) {
            Some(index) => *index,
            None => {
                let by_id = self.node_ids.get(&folded).and_then(|name| self.node_indexes.get(name)).copied();
                by_id.unwrap_or(0).max(self.indexes.node_extinction)
            }
        };
        index.max(1)
    }

    /// The index of whatever is asked about one service, given its folded name.
    pub fn service_index(&self, name: &ServiceName) -> Index {
        self.service_indexes.get(name).copied().unwrap_or(self.indexes.service_extinction).max(1)
    }
}

fn carries(node: &Node, meta: &BTreeMap<String, String>) -> bool {
    meta.iter().all(|(key, value)| node.meta.get(key) == Some(value))
}

fn tagged(service: &Service, tags: &[String]) -> bool {
    tags.iter().all(|wanted| service.tags.iter().any(|tag| tag.eq_ignore_ascii_case(wanted)))
}

fn is_address(text: &str, address: IpAddr) -> bool {
    text.parse::<IpAddr>().is_ok_and(|parsed| parsed == address)
}
