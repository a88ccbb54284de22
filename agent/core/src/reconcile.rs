//! What the leader owes the catalog: members as nodes, with their health.
//!
//! [`plan`] compares who is there with what the catalog says and returns the
//! commands that make them agree. A catalog that agrees already costs nothing,
//! so it can be asked as often as one likes.

use std::collections::BTreeMap;

use crate::state::command::{Command, Register};
use crate::state::tables::{Check, Node, Service, State, Status, fold};

/// The id and name of the service that every server is registered as.
pub const SERVER_SERVICE: &str = "consul";

/// The id of the check that says whether a node's agent is alive.
pub const SERF_HEALTH: &str = "serfHealth";

/// The output of [`SERF_HEALTH`] while the agent is alive; clients match on it.
pub const SERF_ALIVE_OUTPUT: &str = "Agent alive and reachable";

/// An agent of this data centre that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node id: a UUID in text form.
    pub id: String,
    /// The node name.
    pub name: String,
    /// The address others reach it at.
    pub address: String,
    /// For servers: the RPC port and the metadata of the `consul` service.
    pub server: Option<ServerTags>,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTags {
    /// The RPC port.
    pub port: u16,
    /// Metadata of its `consul` service.
    pub meta: BTreeMap<String, String>,
}

/// The commands after which the catalog shows every one of `alive` as it is.
pub fn plan(alive: &[Member], state: &State) -> Vec<Command> {
    alive.iter().filter(|member| !is_registered(member, state)).map(register).collect()
}

fn is_registered(member: &Member, state: &State) -> bool {
    let folded = fold(&member.name);
    let node = state.nodes.get(&folded);
    let is_known = node.is_some_and(|node| node.address == member.address && node.id == member.id);
    let health = state.checks.get(&(folded.clone(), SERF_HEALTH.to_owned()));
    let is_alive = health.is_some_and(|check| check.status == Status::Passing);
    let is_served = member.server.as_ref().is_none_or(|tags| {
        let service = state.services.get(&(folded, SERVER_SERVICE.to_owned()));
        service.is_some_and(|service| service.port == tags.port && service.meta == tags.meta)
    });
    is_known && is_alive && is_served
}

fn register(member: &Member) -> Command {
    let node =
        Node { id: member.id.clone(), name: member.name.clone(), address: member.address.clone(), ..Node::default() };
    let service = member.server.as_ref().map(|tags| Service {
        node: member.name.clone(),
        id: SERVER_SERVICE.to_owned(),
        name: SERVER_SERVICE.to_owned(),
        port: tags.port,
        meta: tags.meta.clone(),
        ..Service::default()
    });
    let health = Check {
        node: member.name.clone(),
        id: SERF_HEALTH.to_owned(),
        name: "Serf Health Status".to_owned(),
        status: Status::Passing,
        output: SERF_ALIVE_OUTPUT.to_owned(),
        ..Check::default()
    };
    // The agent itself owns the rest of its node record (metadata, tagged addresses).
    Command::Register(Box::new(Register { node, skip_node_update: true, service, checks: vec![health] }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Proposal, apply};

    fn server() -> Member {
        let meta = BTreeMap::from([("version".to_owned(), "1".to_owned())]);
        Member {
            id: "0b6b2f4c-0000-4000-8000-000000000001".to_owned(),
            name: "Alpha".to_owned(),
            address: "127.0.0.1".to_owned(),
            server: Some(ServerTags { port: 8300, meta }),
        }
    }

    #[test]
    fn an_empty_catalog_gets_the_server_and_then_nothing_more() {
        let mut state = State::default();
        let commands = plan(&[server()], &state);
        assert_eq!(commands.len(), 1);
        for (place, command) in commands.into_iter().enumerate() {
            apply(&mut state, place as u64 + 1, &Proposal { id: 1, now_ms: 1, command });
        }
        assert_eq!(plan(&[server()], &state), Vec::new());
    }

    #[test]
    fn a_moved_server_is_registered_again() {
        let mut state = State::default();
        for command in plan(&[server()], &state) {
            apply(&mut state, 1, &Proposal { id: 1, now_ms: 1, command });
        }
        let moved = Member { address: "127.0.0.2".to_owned(), ..server() };
        assert_eq!(plan(&[moved], &state).len(), 1);
    }
}
