//! What the leader owes the catalog: members as nodes, with their health.
//!
//! [`plan`] compares who is there with what the catalog says and returns the
//! commands that make them agree. A catalog that agrees already costs nothing,
//! so it can be asked as often as one likes.

use std::collections::{BTreeMap, BTreeSet};

use crate::gossip;
use crate::state::command::{Command, Register};
use crate::state::tables::{Check, Node, Service, State, Status, fold};

/// The id and name of the service that every server is registered as.
pub const SERVER_SERVICE: &str = "consul";

/// The id of the check that says whether a node's agent is alive.
pub const SERF_HEALTH: &str = "serfHealth";

/// The output of [`SERF_HEALTH`] while the agent is alive; clients match on it.
pub const SERF_ALIVE_OUTPUT: &str = "Agent alive and reachable";

/// The output of [`SERF_HEALTH`] of an agent that stopped answering; clients match on it.
pub const SERF_FAILED_OUTPUT: &str = "Agent not live or unreachable";

/// Whether gossip hears an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It answers.
    Alive,
    /// It stopped answering.
    Failed,
    /// It left on purpose, or was made to.
    Gone,
}

impl From<gossip::Status> for Presence {
    /// One that is leaving is there until it has left.
    fn from(status: gossip::Status) -> Presence {
        match status {
            gossip::Status::Alive | gossip::Status::Leaving => Presence::Alive,
            gossip::Status::Failed => Presence::Failed,
            gossip::Status::Left => Presence::Gone,
        }
    }
}

/// An agent of this data centre.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node id: a UUID in text form.
    pub id: String,
    /// The node name.
    pub name: String,
    /// The address others reach it at.
    pub address: String,
    /// Whether gossip hears it.
    pub presence: Presence,
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

/// The commands after which the catalog shows every one of `members` as it is.
///
/// The leader, named by `own_name`, never removes itself. With `forget_unknown`, nodes that an agent once stood for are
/// removed when no member is known by their name: not before the leader had time to hear of everyone.
pub fn plan(members: &[Member], own_name: &str, forget_unknown: bool, state: &State) -> Vec<Command> {
    let own = fold(own_name);
    let mut commands: Vec<Command> = members.iter().filter_map(|member| settle(member, &own, state)).collect();
    if forget_unknown {
        let known: BTreeSet<String> = members.iter().map(|member| fold(&member.name)).chain([own]).collect();
        let agents = state.checks.keys().filter(|(_, check)| check == SERF_HEALTH).map(|(node, _)| node);
        let unknown = agents.filter(|node| !known.contains(*node)).filter_map(|node| state.nodes.get(node));
        commands.extend(unknown.map(|node| deregister(&node.name)));
    }
    commands
}

/// What the catalog lacks about one member.
fn settle(member: &Member, own: &str, state: &State) -> Option<Command> {
    let folded = fold(&member.name);
    let node = state.nodes.get(&folded);
    match member.presence {
        Presence::Alive if !is_registered(member, Status::Passing, state) => Some(register(member, Status::Passing)),
        // What the catalog does not know needs no bad news.
        Presence::Failed if node.is_some() && !is_registered(member, Status::Critical, state) => {
            Some(register(member, Status::Critical))
        }
        // Another agent may have taken the name since.
        Presence::Gone if folded != own && node.is_some_and(|node| node.id.is_empty() || node.id == member.id) => {
            Some(deregister(&member.name))
        }
        Presence::Alive | Presence::Failed | Presence::Gone => None,
    }
}

fn deregister(node: &str) -> Command {
    Command::Deregister { node: node.to_owned(), service_id: None, check_id: None }
}

fn is_registered(member: &Member, status: Status, state: &State) -> bool {
    let folded = fold(&member.name);
    let node = state.nodes.get(&folded);
    let is_known = node.is_some_and(|node| node.address == member.address && node.id == member.id);
    let health = state.checks.get(&(folded.clone(), SERF_HEALTH.to_owned()));
    let is_as_heard = health.is_some_and(|check| check.status == status);
    let is_served = member.server.as_ref().is_none_or(|tags| {
        let service = state.services.get(&(folded, SERVER_SERVICE.to_owned()));
        service.is_some_and(|service| service.port == tags.port && service.meta == tags.meta)
    });
    is_known && is_as_heard && is_served
}

fn register(member: &Member, status: Status) -> Command {
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
        status,
        output: (if status == Status::Passing { SERF_ALIVE_OUTPUT } else { SERF_FAILED_OUTPUT }).to_owned(),
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
            presence: Presence::Alive,
            server: Some(ServerTags { port: 8300, meta }),
        }
    }

    fn client(presence: Presence) -> Member {
        let id = "0b6b2f4c-0000-4000-8000-000000000002".to_owned();
        Member { id, name: "beta".to_owned(), presence, server: None, ..server() }
    }

    fn run(commands: Vec<Command>, state: &mut State) {
        for command in commands {
            let index = state.indexes.nodes.max(state.indexes.checks) + 1;
            apply(state, index, &Proposal { id: 1, now_ms: 1, command });
        }
    }

    /// What the leader, Alpha, sees to.
    fn duties(members: &[Member], state: &State) -> Vec<Command> {
        plan(members, "alpha", false, state)
    }

    fn registered(members: &[Member]) -> State {
        let mut state = State::default();
        run(duties(members, &state), &mut state);
        state
    }

    #[test]
    fn an_empty_catalog_gets_the_members_and_then_nothing_more() {
        let members = [server(), client(Presence::Alive)];
        let state = registered(&members);
        assert_eq!(state.nodes.len(), 2);
        assert_eq!(duties(&members, &state), Vec::new());
    }

    #[test]
    fn a_moved_server_is_registered_again() {
        let moved = Member { address: "127.0.0.2".to_owned(), ..server() };
        assert_eq!(duties(&[moved], &registered(&[server()])).len(), 1);
    }

    #[test]
    fn an_agent_that_fails_is_critical_once_and_passing_when_it_is_back() {
        let mut state = registered(&[server(), client(Presence::Alive)]);
        let health = |state: &State| {
            let check = &state.checks[&("beta".to_owned(), SERF_HEALTH.to_owned())];
            (check.status, check.output.clone())
        };
        run(duties(&[client(Presence::Failed)], &state), &mut state);
        assert_eq!(health(&state), (Status::Critical, SERF_FAILED_OUTPUT.to_owned()));
        assert_eq!(duties(&[client(Presence::Failed)], &state), Vec::new());

        run(duties(&[client(Presence::Alive)], &state), &mut state);
        assert_eq!(health(&state), (Status::Passing, SERF_ALIVE_OUTPUT.to_owned()));
    }

    #[test]
    fn a_failed_agent_that_the_catalog_never_knew_stays_unknown() {
        assert_eq!(duties(&[client(Presence::Failed)], &State::default()), Vec::new());
    }

    #[test]
    fn who_leaves_is_forgotten_but_not_the_leader_nor_another_of_that_name() {
        let mut state = registered(&[server(), client(Presence::Alive)]);
        let leader = Member { presence: Presence::Gone, ..server() };
        let namesake = Member { id: "0b6b2f4c-0000-4000-8000-000000000003".to_owned(), ..client(Presence::Gone) };
        assert_eq!(duties(&[leader, namesake], &state), Vec::new());

        run(duties(&[client(Presence::Gone)], &state), &mut state);
        assert_eq!(state.nodes.keys().collect::<Vec<_>>(), ["alpha"]);
    }

    #[test]
    fn nodes_without_an_agent_go_when_everyone_had_time_to_be_heard() {
        let mut state = registered(&[server(), client(Presence::Alive)]);
        let external =
            Register { node: Node { name: "external".to_owned(), ..Node::default() }, ..Register::default() };
        run(vec![Command::Register(Box::new(external))], &mut state);
        assert_eq!(duties(&[server()], &state), Vec::new());

        let forgetting = plan(&[server()], "alpha", true, &state);
        assert_eq!(forgetting, [deregister("beta")]);
    }
}
