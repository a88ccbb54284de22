//! Which records an answer lists, and in which order.
//!
//! What `tag`, `node-meta`, `passing`, `near` and `filter` mean, once for the
//! catalog and health families. Reads a state and gives back shared records;
//! printing them is for [`super::view`]. Every index covers all that could
//! change the list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use agent_core::coordinate::Coordinate;
use agent_core::filter::{Family, Filter, HealthRow, InstanceRow, NodeRow};
use agent_core::state::Answer;
use agent_core::state::catalog::{CheckState, HealthInstance, Instance};
use agent_core::state::tables::{Check, Node, Service, State, Status};
use agent_core::watch::Topic;

use super::authorize::{Access, Authorizer, Resource};
use super::coordinate::places;
use super::query::ReadOptions;
use super::{ApiError, Request, ServerApi};
use crate::definition::Proxy;

/// What a client wants listed, and may see.
#[derive(Clone, Debug)]
pub struct Listing {
    /// This data centre, for filters that name one.
    pub datacenter: String,
    /// `filter`, compiled for the family of the records.
    pub filter: Filter,
    /// Where the list begins.
    pub near: Near,
    /// Pairs that the record's node must carry.
    pub node_meta: BTreeMap<String, String>,
    /// Tags that an instance must carry.
    pub tags: Vec<String>,
    /// Only instances whose checks all pass. Asked of records of [`Family::Health`] alone.
    pub passing: bool,
    /// What the client may see.
    pub authorizer: Authorizer,
}

impl Listing {
    /// Reads what `request` wants of records of `family`.
    ///
    /// # Errors
    /// 400 for a bad `passing`, 500 for a bad `filter`.
    pub async fn parse(
        api: &ServerApi,
        request: &Request,
        options: &ReadOptions,
        family: Family,
    ) -> Result<Self, ApiError> {
        let filter = Filter::compile(family, &options.filter).map_err(|error| ApiError::internal(error.to_string()))?;
        let passing = match request.parameter("passing").filter(|_| family == Family::Health) {
            None => false,
            Some("") => true,
            Some(text) => go_bool(text).ok_or_else(|| ApiError::bad_request("Invalid value for ?passing"))?,
        };
        let near = match request.parameter("near").unwrap_or_default() {
            "" => Near::default(),
            "_agent" => Near::node(api, request.agent_name(api)).await?,
            node => Near::node(api, node).await?,
        };
        Ok(Listing {
            datacenter: api.identity.datacenter.clone(),
            filter,
            near,
            node_meta: options.node_meta.clone(),
            tags: request.parameters("tag").map(str::to_owned).collect(),
            passing,
            authorizer: request.authorizer.clone(),
        })
    }

    fn sees_node(&self, node: &str) -> bool {
        self.authorizer.allows(Access::Read, Resource::Node(node))
    }

    fn sees_service(&self, service: &str) -> bool {
        self.authorizer.allows(Access::Read, Resource::Service(service))
    }

    fn sees_check(&self, check: &Check) -> bool {
        self.sees_node(&check.node) && (check.service_id.is_empty() || self.sees_service(&check.service_name))
    }

    /// All nodes. Topic: `Nodes`.
    pub fn nodes(&self, state: &State) -> Answer<Vec<Arc<Node>>> {
        let Answer { index, mut value } = state.node_list(&self.node_meta);
        value.retain(|node| {
            self.sees_node(&node.name) && self.filter.matches(&NodeRow { node, datacenter: &self.datacenter })
        });
        self.nearest_first(&mut value, |node| &node.name);
        Answer { index, value }
    }

    /// The instances of a service. Topic: `Service`.
    pub fn instances(&self, state: &State, service: &str) -> Answer<Vec<Instance>> {
        let Answer { index, value } = state.service_instances(service, &self.tags);
        Answer { index, value: self.select_instances(value) }
    }

    /// The instances that speak the mesh protocol for a service: native ones and proxies, whatever their tags.
    /// Topics: [`mesh_topics`].
    pub fn mesh_instances(&self, state: &State, service: &str) -> Answer<Vec<Instance>> {
        let found = mesh_names(state, service).into_iter().flat_map(|name| state.service_instances(&name, &[]).value);
        let mut value: Vec<Instance> = found.filter(|instance| speaks_for(&instance.service, service)).collect();
        value.sort_by(|a, b| (&a.node.name, &a.service.id).cmp(&(&b.node.name, &b.service.id)));
        Answer { index: mesh_index(state), value: self.select_instances(value) }
    }

    fn select_instances(&self, mut found: Vec<Instance>) -> Vec<Instance> {
        found.retain(|Instance { node, service }| {
            let sees = self.carried_by(node) && self.sees_service(&service.name);
            sees && self.filter.matches(&InstanceRow { node, service, datacenter: &self.datacenter })
        });
        self.nearest_first(&mut found, |instance| &instance.node.name);
        found
    }

    /// The instances of a service with their health. Topic: `Service`.
    pub fn health(&self, state: &State, service: &str) -> Answer<Vec<HealthInstance>> {
        let Answer { index, value } = state.health_instances(service, &self.tags);
        Answer { index, value: self.select_health(value) }
    }

    /// The instances that speak the mesh protocol for a service, whatever their tags, with their health.
    /// Topics: [`mesh_topics`].
    pub fn mesh_health(&self, state: &State, service: &str) -> Answer<Vec<HealthInstance>> {
        let found = mesh_names(state, service).into_iter().flat_map(|name| state.health_instances(&name, &[]).value);
        let mut value: Vec<HealthInstance> = found.filter(|instance| speaks_for(&instance.service, service)).collect();
        value.sort_by(|a, b| (&a.node.name, &a.service.id).cmp(&(&b.node.name, &b.service.id)));
        Answer { index: mesh_index(state).max(state.indexes.checks), value: self.select_health(value) }
    }

    fn select_health(&self, mut found: Vec<HealthInstance>) -> Vec<HealthInstance> {
        found.retain(|HealthInstance { node, service, checks }| {
            let passes = !self.passing || checks.iter().all(|check| check.status == Status::Passing);
            let row = HealthRow { node, service, checks, datacenter: &self.datacenter };
            let sees = self.carried_by(node) && self.sees_service(&service.name);
            passes && sees && self.filter.matches(&row)
        });
        self.nearest_first(&mut found, |instance| &instance.node.name);
        found
    }

    /// The checks on a node, whatever its metadata. Topic: `Node`.
    pub fn node_checks(&self, state: &State, node: &str) -> Answer<Vec<Arc<Check>>> {
        let Answer { index, value } = state.node_checks(node);
        // Consul knows nodes by name alone here.
        let value = value.into_iter().filter(|check| check.node.eq_ignore_ascii_case(node)).collect();
        Answer { index, value: self.visible_checks(value) }
    }

    /// The checks of a service's instances. Topic: `Service`.
    pub fn service_checks(&self, state: &State, service: &str) -> Answer<Vec<Arc<Check>>> {
        let Answer { index, value } = state.service_checks(service);
        Answer { index, value: self.select_checks(state, value) }
    }

    /// The checks in a state; none for a word that names no state. Topics: `Checks`, and `Nodes` with `node-meta`.
    pub fn checks_in_state(&self, state: &State, word: &str) -> Answer<Vec<Arc<Check>>> {
        let wanted = match word {
            "any" => Some(CheckState::Any),
            _ => Status::parse(word).map(CheckState::Only),
        };
        let Answer { index, mut value } = state.checks_in_state(wanted.unwrap_or(CheckState::Any));
        if wanted.is_none() {
            value.clear();
        }
        let nodes = if self.node_meta.is_empty() { 0 } else { state.indexes.nodes };
        Answer { index: index.max(nodes), value: self.select_checks(state, value) }
    }

    fn select_checks(&self, state: &State, mut found: Vec<Arc<Check>>) -> Vec<Arc<Check>> {
        if !self.node_meta.is_empty() {
            found.retain(|check| state.node(&check.node).value.is_some_and(|node| self.carried_by(&node)));
        }
        self.visible_checks(found)
    }

    fn visible_checks(&self, mut found: Vec<Arc<Check>>) -> Vec<Arc<Check>> {
        found.retain(|check| self.sees_check(check) && self.filter.matches(&**check));
        self.nearest_first(&mut found, |check| &check.node);
        found
    }

    /// A node with its instances: `None` instead of them when it has none at all, whoever asks for which.
    /// Topic: `NodeServices`.
    pub fn node_services(&self, state: &State, node: &str) -> Answer<Option<(Arc<Node>, Option<Vec<Arc<Service>>>)>> {
        let Answer { index, value } = state.node_services(node);
        let value = value.map(|(node, mut services)| {
            let has_any = !services.is_empty();
            services.retain(|service| self.sees_service(&service.name) && self.filter.matches(&**service));
            (node, has_any.then_some(services))
        });
        Answer { index, value }
    }

    fn carried_by(&self, node: &Node) -> bool {
        self.sees_node(&node.name) && self.node_meta.iter().all(|(key, value)| node.meta.get(key) == Some(value))
    }

    fn nearest_first<T>(&self, found: &mut [T], node: impl Fn(&T) -> &str) {
        if !self.near.node.is_empty() {
            found.sort_by_cached_key(|one| self.near.rank(node(one)));
        }
    }
}

/// A node, and where all are on the map of round trips.
#[derive(Clone, Debug, Default)]
pub struct Near {
    /// Its name; empty for none.
    node: String,
    /// Places by the name in lower case.
    places: BTreeMap<String, Coordinate>,
}

impl Near {
    /// What is near to `node`, as far as this agent knows now.
    async fn node(api: &ServerApi, node: &str) -> Result<Near, ApiError> {
        let places = api.gossip.look(places).await?;
        let places = places.into_iter().map(|(name, place)| (name.to_ascii_lowercase(), place)).collect();
        Ok(Near { node: node.to_owned(), places })
    }

    /// How far a node is: itself first, then by the estimated round trip, then those whose place is not known.
    fn rank(&self, node: &str) -> (bool, Duration) {
        let place = |name: &str| self.places.get(&name.to_ascii_lowercase());
        let distance = place(&self.node).zip(place(node)).map(|(near, far)| near.distance(far));
        (!node.eq_ignore_ascii_case(&self.node), distance.unwrap_or(Duration::MAX))
    }
}

/// A boolean as Go's `strconv.ParseBool` reads it.
pub fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The services that may have instances speaking for `service`: itself, and those that are proxies.
fn mesh_names(state: &State, service: &str) -> BTreeSet<String> {
    let speakers = state.services.values().filter(|instance| speaks_for(instance, service));
    speakers.map(|instance| instance.name.to_ascii_lowercase()).collect()
}

fn speaks_for(instance: &Service, service: &str) -> bool {
    match instance.kind.as_str() {
        "connect-proxy" => {
            Proxy::from_json(&instance.proxy_json).destination_service_name.eq_ignore_ascii_case(service)
        }
        _ => instance.connect_native && instance.name.eq_ignore_ascii_case(service),
    }
}

/// What a list of [`Listing::mesh_instances`] depends on, in `state`: any change of these is a change of its index.
pub fn mesh_topics(state: &State) -> Vec<Topic> {
    let speakers = state.services.values().filter(|instance| instance.connect_native || !instance.kind.is_empty());
    let names: BTreeSet<String> = speakers.map(|instance| instance.name.to_ascii_lowercase()).collect();
    names.into_iter().map(Topic::Service).chain([Topic::Services, Topic::Nodes, Topic::Checks]).collect()
}

/// Any instance may start or stop speaking for a service, and its node is printed with it.
fn mesh_index(state: &State) -> u64 {
    state.indexes.services.max(state.indexes.nodes).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_node_comes_first_and_strangers_last() {
        let at = |x: f64| Coordinate { vector: [x, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], ..Coordinate::default() };
        let places = [("a", at(0.0)), ("b", at(0.3)), ("c", at(0.1))];
        let places = places.into_iter().map(|(name, place)| (name.to_owned(), place)).collect();
        let near = Near { node: "B".to_owned(), places };
        let mut nodes = ["stranger", "a", "b", "C"];
        nodes.sort_by_key(|node| near.rank(node));
        assert_eq!(nodes, ["b", "C", "a", "stranger"]);
    }
}
