//! Keeps the catalog's records of this node equal to the agent's: the agent is right, the catalog is made to agree.
//!
//! [`compare`] finds what differs, [`plan`] says what to write for it. Both are
//! pure. Tags of services with `enable_tag_override` are the one thing that the
//! catalog decides. Never touches what the leader owns: the `consul` service
//! and the `serfHealth` check.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::view::{LocalCheck, LocalService, LocalView};
use crate::reconcile::{SERF_HEALTH, SERVER_SERVICE};
use crate::state::Command;
use crate::state::command::Register;
use crate::state::tables::{Check, CheckId, Node, Service, ServiceId, State};

/// What the catalog says about a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
        let Some((node, services)) = state.node_services(name).value else { return Remote::default() };
        let checks = state.node_checks(&node.name).value;
        Remote {
            node: Some(node),
            services: services.into_iter().map(|s| (s.id.clone(), s)).collect(),
            checks: checks.into_iter().map(|c| (c.id.clone(), c)).collect(),
        }
    }
}

/// What the catalog does not have as it should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// The node record differs.
    pub node: bool,
    /// Services that differ.
    pub services: BTreeSet<ServiceId>,
    /// Checks that differ.
    pub checks: BTreeSet<CheckId>,
    /// Services that should not be there.
    pub gone_services: BTreeSet<ServiceId>,
    /// Checks that should not be there, with the service that each belonged to.
    pub gone_checks: BTreeMap<CheckId, ServiceId>,
}

impl Pending {
    /// Whether the catalog is as it should be.
    pub fn is_empty(&self) -> bool {
        let Pending { node, services, checks, gone_services, gone_checks } = self;
        !node && services.is_empty() && checks.is_empty() && gone_services.is_empty() && gone_checks.is_empty()
    }
}

/// What one command settles once it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Covered {
    /// This record of the node.
    Node(Box<Node>),
    /// This record of a service.
    Service(Arc<LocalService>),
    /// This record of a check.
    Check(Arc<LocalCheck>),
    /// The absence of a service.
    GoneService(ServiceId),
    /// The absence of a check.
    GoneCheck(CheckId),
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// What to write.
    pub pending: Pending,
    /// Tags that the catalog decides, of services where they differ.
    pub tags: BTreeMap<ServiceId, Vec<String>>,
}

/// Finds what of `node` and `view` the catalog does not have. `is_deferred` names checks whose output may differ for now.
pub fn compare(node: &Node, view: &LocalView, is_deferred: impl Fn(&str) -> bool, remote: &Remote) -> Drift {
    let mut drift = Drift::default();
    let pending = &mut drift.pending;
    pending.node = remote.node.as_ref().is_none_or(|known| !same_node(node, known));
    for (id, local) in &view.services {
        let Some(known) = remote.services.get(id) else {
            pending.services.insert(id.clone());
            continue;
        };
        let mut wanted = local.service.clone();
        if wanted.enable_tag_override && wanted.tags != known.tags {
            wanted.tags.clone_from(&known.tags);
            drift.tags.insert(id.clone(), known.tags.clone());
        }
        if !same_service(&wanted, known) {
            pending.services.insert(id.clone());
        }
    }
    for (id, local) in &view.checks {
        if !remote.checks.get(id).is_some_and(|known| same_check(&local.check, known, is_deferred(id))) {
            pending.checks.insert(id.clone());
        }
    }
    let is_strange = |id: &&ServiceId| !view.services.contains_key(*id) && *id != SERVER_SERVICE;
    pending.gone_services = remote.services.keys().filter(is_strange).cloned().collect();
    for (id, known) in &remote.checks {
        if !view.checks.contains_key(id) && id != SERF_HEALTH {
            pending.gone_checks.insert(id.clone(), known.service_id.clone());
        }
    }
    drift
}

/// The commands that settle `pending`, each with what it settles. The node comes first; the others may go in any order.
pub fn plan(node: &Node, view: &LocalView, pending: &Pending) -> Vec<(Command, Vec<Covered>)> {
    let mut commands = Vec::new();
    if pending.node {
        let register = Register { node: node.clone(), ..Register::default() };
        commands.push((Command::Register(Box::new(register)), vec![Covered::Node(Box::new(node.clone()))]));
    }
    commands.extend(deregister_gone(node, pending));
    let mut checks: BTreeMap<&str, Vec<Arc<LocalCheck>>> = BTreeMap::new();
    for check in pending.checks.iter().filter_map(|id| view.checks.get(id)) {
        checks.entry(&check.check.service_id).or_default().push(check.clone());
    }
    for service in pending.services.iter().filter_map(|id| view.services.get(id)) {
        let own = checks.remove(service.service.id.as_str()).unwrap_or_default();
        commands.push(register(node, Some(service.clone()), own));
    }
    commands.extend(checks.into_values().map(|own| register(node, None, own)));
    commands
}

fn deregister_gone(node: &Node, pending: &Pending) -> Vec<(Command, Vec<Covered>)> {
    let mut of_gone_services: BTreeMap<&str, Vec<Covered>> = BTreeMap::new();
    let mut commands = Vec::new();
    for (id, service_id) in &pending.gone_checks {
        // The catalog removes a service's checks with it.
        if pending.gone_services.contains(service_id) {
            of_gone_services.entry(service_id).or_default().push(Covered::GoneCheck(id.clone()));
        } else {
            commands.push((deregister(node, None, Some(id)), vec![Covered::GoneCheck(id.clone())]));
        }
    }
    for id in &pending.gone_services {
        let mut covered = of_gone_services.remove(id.as_str()).unwrap_or_default();
        covered.push(Covered::GoneService(id.clone()));
        commands.push((deregister(node, Some(id), None), covered));
    }
    commands
}

fn deregister(node: &Node, service_id: Option<&str>, check_id: Option<&str>) -> Command {
    Command::Deregister {
        node: node.name.clone(),
        service_id: service_id.map(str::to_owned),
        check_id: check_id.map(str::to_owned),
    }
}

fn register(node: &Node, service: Option<Arc<LocalService>>, checks: Vec<Arc<LocalCheck>>) -> (Command, Vec<Covered>) {
    let register = Register {
        node: node.clone(),
        skip_node_update: true,
        service: service.as_ref().map(|s| s.service.clone()),
        checks: checks.iter().map(|c| c.check.clone()).collect(),
    };
    let covered = service.map(Covered::Service).into_iter().chain(checks.into_iter().map(Covered::Check)).collect();
    (Command::Register(Box::new(register)), covered)
}

/// The address is the leader's to decide: it comes from gossip.
fn same_node(local: &Node, known: &Node) -> bool {
    local.id == known.id && local.tagged_addresses == known.tagged_addresses && local.meta == known.meta
}

fn same_service(local: &Service, known: &Service) -> bool {
    let known = Service {
        node: local.node.clone(),
        create_index: local.create_index,
        modify_index: local.modify_index,
        ..known.clone()
    };
    *local == known
}

/// Whether the catalog has this result. The service's name and tags are its own to fill in.
pub(super) fn same_check(local: &Check, known: &Check, is_output_deferred: bool) -> bool {
    local.name == known.name
        && local.status == known.status
        && local.notes == known.notes
        && local.service_id == known.service_id
        && local.kind == known.kind
        && local.definition == known.definition
        && (is_output_deferred || local.output == known.output)
}
