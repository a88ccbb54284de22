//! Adding and updating nodes, instances and checks.
//!
//! A record that already is as asked keeps its index and touches nothing.

use std::sync::Arc;

use super::{SERF_HEALTH, fold_name};
use crate::state::command::{Refusal, Register};
use crate::state::tables::{Check, Node, NodeName, Service, Status};
use crate::state::write::Write;
use crate::watch::Topic;

impl Write<'_> {
    /// [`crate::state::Command::Register`]: all of it or, when it refuses, nothing.
    pub fn register_whole(&mut self, register: &Register) -> Result<(), Refusal> {
        if self.is_sure(register) {
            let done = self.register(register);
            debug_assert!(done.is_ok(), "what was sure was refused: {done:?}");
            return done;
        }
        self.all_or_nothing(|draft| draft.register(register))
    }

    /// Whether nothing can refuse a registration, so that it needs no draft. A draft shares every table with the
    /// state, and each that then changes is copied where it changes, even the second time in one batch.
    fn is_sure(&self, register: &Register) -> bool {
        let Register { node, skip_node_update: _, service, checks } = register;
        let name = fold_name(&node.name);
        let keeps_its_id = match self.state.nodes.get(&name) {
            Some(known) => fold_name(&known.id) == fold_name(&node.id),
            None => node.id.is_empty() || !self.state.node_ids.contains_key(&fold_name(&node.id)),
        };
        let has_id = |id: &str, name: &str| !id.is_empty() || !name.is_empty();
        let there = |id: &str| {
            let comes = service
                .as_ref()
                .is_some_and(|service| if service.id.is_empty() { service.name == *id } else { service.id == *id });
            comes || self.state.services.contains_key(&(name.clone(), id.to_owned()))
        };
        keeps_its_id
            && service.as_ref().is_none_or(|service| has_id(&service.id, &service.name))
            && checks.iter().all(|check| {
                has_id(&check.id, &check.name)
                    && (check.node.is_empty() || fold_name(&check.node) == name)
                    && (check.service_id.is_empty() || there(&check.service_id))
            })
    }

    /// Leaves parts behind when it refuses: call it on a draft.
    fn register(&mut self, register: &Register) -> Result<(), Refusal> {
        let name = &register.node.name;
        if !register.skip_node_update || !self.state.nodes.contains_key(&fold_name(name)) {
            self.node_put(&register.node).map_err(|refusal| explain("node", &refusal))?;
        }
        if let Some(service) = &register.service {
            let service = Service { node: name.clone(), ..service.clone() };
            self.service_put(&service).map_err(|refusal| explain("service", &refusal))?;
        }
        for check in &register.checks {
            if !check.node.is_empty() && fold_name(&check.node) != fold_name(name) {
                return Err(Refusal::Other(format!("check node {:?} does not match node {name:?}", check.node)));
            }
            let check = Check { node: name.clone(), ..check.clone() };
            self.check_put(&check).map_err(|refusal| match refusal {
                Refusal::MissingService => {
                    Refusal::Other(format!("failed inserting check: Missing service registration on node {name:?}"))
                }
                refusal => explain("check", &refusal),
            })?;
        }
        Ok(())
    }

    /// Adds or updates a node record.
    ///
    /// A node is known by its id: the same id under another name is a rename,
    /// and what hung on the old name goes with it. A name whose node is alive
    /// is never taken over by another id.
    pub fn node_put(&mut self, node: &Node) -> Result<(), Refusal> {
        let name = fold_name(&node.name);
        let mut create_index = None;
        if let Some(old_name) = self.renamed_from(node) {
            self.refuse_living(node, &format!("{:?} ({})", node.id, node.address), true)?;
            create_index = self.state.nodes.get(&old_name).map(|old| old.create_index);
            self.node_remove(&old_name);
        } else if !node.id.is_empty() && !self.state.node_ids.contains_key(&fold_name(&node.id)) {
            self.refuse_living(node, &format!("{:?}", node.id), false)?;
        }
        let existing = self.state.nodes.get(&name).cloned();
        create_index = create_index.or(existing.as_ref().map(|existing| existing.create_index));
        let mut record = Node { create_index: create_index.unwrap_or(self.index), ..node.clone() };
        if let Some(existing) = &existing {
            record.modify_index = existing.modify_index;
            if **existing == record {
                return Ok(());
            }
        }
        record.modify_index = self.index;
        self.node_store(name, record, existing.as_deref());
        Ok(())
    }

    fn node_store(&mut self, name: NodeName, record: Node, existing: Option<&Node>) {
        if let Some(existing) = existing {
            if fold_name(&existing.id) != fold_name(&record.id) && !existing.id.is_empty() {
                self.state.node_ids.remove(&fold_name(&existing.id));
                self.mark_node_gone(existing);
            }
            if existing.meta != record.meta && self.state.services_of(&name).next().is_some() {
                self.touched.insert(Topic::Services);
            }
        }
        if !record.id.is_empty() {
            self.state.node_ids.insert(fold_name(&record.id), name.clone());
        }
        self.state.nodes.insert(name.clone(), Arc::new(record));
        self.mark_node_record(&name);
    }

    /// The folded name under which the node's id is registered, if it is another.
    fn renamed_from(&self, node: &Node) -> Option<NodeName> {
        if node.id.is_empty() {
            return None;
        }
        self.state.node_ids.get(&fold_name(&node.id)).filter(|known| **known != fold_name(&node.name)).cloned()
    }

    /// Refuses when the name belongs to a living node: one whose agent's check is there and not critical.
    fn refuse_living(&self, node: &Node, who: &str, even_without_id: bool) -> Result<(), Refusal> {
        let name = fold_name(&node.name);
        let Some(holder) = self.state.nodes.get(&name) else { return Ok(()) };
        let alive = self
            .state
            .checks
            .get(&(name, SERF_HEALTH.to_string()))
            .is_some_and(|check| check.status != Status::Critical);
        if !alive || (holder.id.is_empty() && !even_without_id) {
            return Ok(());
        }
        Err(Refusal::Other(format!(
            "Error while renaming Node ID: {who}: Node name {} is reserved by node {} with name {} ({})",
            node.name, holder.id, holder.name, holder.address
        )))
    }

    /// Adds or updates an instance; its checks follow its name and tags.
    pub fn service_put(&mut self, service: &Service) -> Result<(), Refusal> {
        let node = fold_name(&service.node);
        if !self.state.nodes.contains_key(&node) {
            return Err(Refusal::MissingNode);
        }
        let mut record = Service { create_index: self.index, ..service.clone() };
        if record.id.is_empty() {
            record.id = record.name.clone();
        }
        if record.id.is_empty() {
            return Err(Refusal::Other("failed inserting service: object missing primary index".to_string()));
        }
        let existing = self.state.services.get(&(node.clone(), record.id.clone())).cloned();
        if let Some(existing) = &existing {
            record.create_index = existing.create_index;
            record.modify_index = existing.modify_index;
            if **existing == record {
                return Ok(());
            }
        }
        record.modify_index = self.index;
        self.service_store(&node, record, existing.as_deref());
        Ok(())
    }

    fn service_store(&mut self, node: &NodeName, record: Service, existing: Option<&Service>) {
        let name = fold_name(&record.name);
        let record = Arc::new(record);
        let relabelled = existing.is_none_or(|old| old.name != record.name || old.tags != record.tags);
        if let Some(old) = existing.filter(|old| fold_name(&old.name) != name) {
            self.state.services_by_name.remove(&(fold_name(&old.name), node.clone(), old.id.clone()));
            self.mark_service(&fold_name(&old.name));
        }
        self.state.services.insert((node.clone(), record.id.clone()), record.clone());
        self.state.services_by_name.insert((name.clone(), node.clone(), record.id.clone()), record.clone());
        self.state.indexes.services = self.index;
        self.mark_node_services(node);
        self.mark_service(&name);
        if relabelled {
            self.mark_service_names();
            self.relabel_checks(node, &record);
        }
    }

    /// Gives an instance's checks its name and tags.
    fn relabel_checks(&mut self, node: &NodeName, service: &Service) {
        let checks: Vec<Arc<Check>> =
            self.state.checks_of(node).filter(|check| check.service_id == service.id).cloned().collect();
        for check in checks {
            let record = Check {
                service_name: service.name.clone(),
                service_tags: service.tags.clone(),
                modify_index: self.index,
                ..(*check).clone()
            };
            self.mark_check(node, &record);
            self.state.checks.insert((node.clone(), record.id.clone()), Arc::new(record));
        }
    }

    /// Adds or updates a check. One that is critical ends the sessions tied to it.
    pub fn check_put(&mut self, check: &Check) -> Result<(), Refusal> {
        let node = fold_name(&check.node);
        if !self.state.nodes.contains_key(&node) {
            return Err(Refusal::MissingNode);
        }
        let mut record = Check { create_index: self.index, ..check.clone() };
        if record.id.is_empty() {
            record.id = record.name.clone();
        }
        if record.id.is_empty() {
            return Err(Refusal::Other("failed inserting check: object missing primary index".to_string()));
        }
        self.label(&node, &mut record)?;
        let existing = self.state.checks.get(&(node.clone(), record.id.clone())).cloned();
        if let Some(existing) = &existing {
            record.create_index = existing.create_index;
            record.modify_index = existing.modify_index;
            if **existing == record {
                return Ok(());
            }
            if existing.service_id != record.service_id {
                self.mark_check(&node, existing);
            }
        }
        record.modify_index = self.index;
        let (id, status) = (record.id.clone(), record.status);
        self.mark_check(&node, &record);
        self.state.checks.insert((node.clone(), id.clone()), Arc::new(record));
        if status == Status::Critical {
            self.end_sessions_of_check(&node, &id);
        }
        Ok(())
    }

    /// Fills in the name and tags of the instance a check belongs to.
    fn label(&self, node: &NodeName, check: &mut Check) -> Result<(), Refusal> {
        if check.service_id.is_empty() {
            check.service_name.clear();
            check.service_tags.clear();
            return Ok(());
        }
        let key = (node.clone(), check.service_id.clone());
        let service = self.state.services.get(&key).ok_or(Refusal::MissingService)?;
        check.service_name = service.name.clone();
        check.service_tags = service.tags.clone();
        Ok(())
    }
}

/// What a registration says when one of its parts does not fit.
fn explain(part: &str, refusal: &Refusal) -> Refusal {
    Refusal::Other(format!("failed inserting {part}: {refusal}"))
}
