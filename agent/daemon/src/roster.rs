//! What gossip's members are to the catalog and to Raft.
//!
//! Turns names, addresses and tags into the members of
//! [`agent_core::reconcile`] and the servers of [`agent_core::autopilot`].
//! Members of another data centre and servers whose tags make no sense are
//! left out.

use std::net::SocketAddr;

use agent_core::autopilot::{Candidate, Known};
use agent_core::gossip::Member;
use agent_core::reconcile::{self, ServerTags};

use crate::gossip::Roster;
use crate::http::API_VERSION;

/// The role of servers among the tags.
const SERVER_ROLE: &str = "consul";

/// The tag with the cluster that a server is a member of, in hexadecimal digits. Not one of Consul's.
pub const CLUSTER_TAG: &str = "cluster";

/// What the `consul` service of a server says about it.
const SERVER_META: [(&str, &str); 6] = [
    ("non_voter", "false"),
    ("raft_version", "3"),
    ("serf_protocol_current", "2"),
    ("serf_protocol_max", "5"),
    ("serf_protocol_min", "1"),
    ("version", API_VERSION),
];

/// The agents of `datacenter`, as the catalog has to show them.
pub fn agents(roster: &Roster, datacenter: &str) -> Vec<reconcile::Member> {
    let of_ours = roster.members.iter().filter(|member| member.profile.tags.get("dc") == Some(datacenter));
    of_ours
        .map(|member| reconcile::Member {
            id: member.profile.id.to_string(),
            name: member.profile.name.to_string(),
            address: member.profile.address.ip().to_string(),
            presence: member.status.into(),
            server: rpc_port(member).map(|port| ServerTags {
                port,
                meta: SERVER_META.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            }),
        })
        .collect()
}

/// The servers of `datacenter`.
pub fn servers(roster: &Roster, datacenter: &str) -> Vec<Candidate> {
    let of_ours = roster.members.iter().filter(|member| member.profile.tags.get("dc") == Some(datacenter));
    let candidate = |member: &Member| {
        let tag = |name| member.profile.tags.get(name);
        Some(Candidate {
            server: Known {
                id: member.profile.id.to_string(),
                name: member.profile.name.to_string(),
                address: SocketAddr::new(member.profile.address.ip(), rpc_port(member)?),
                presence: member.status.into(),
            },
            expect: tag("expect").and_then(|text| text.parse().ok()).unwrap_or(0),
            bootstrap: tag("bootstrap") == Some("1"),
            cluster: tag(CLUSTER_TAG).and_then(|text| u128::from_str_radix(text, 16).ok()),
        })
    };
    of_ours.filter_map(candidate).collect()
}

/// Where a server's RPC listens; `None` for clients.
fn rpc_port(member: &Member) -> Option<u16> {
    let tags = &member.profile.tags;
    let port = tags.get("port").filter(|_| tags.get("role") == Some(SERVER_ROLE))?;
    port.parse().ok().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use agent_core::gossip::{NodeId, Profile, Status, Tags};
    use agent_core::reconcile::Presence;

    use super::*;

    fn member(name: &str, tags: &[(&str, &str)], status: Status) -> Member {
        let tags: BTreeMap<_, _> = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let profile = Profile {
            name: name.into(),
            id: NodeId(7),
            address: ([10, 0, 0, 1], 8301).into(),
            tags: Tags::new(tags).expect("few tags"),
            revision: 1,
        };
        Member { profile: Arc::new(profile), status, incarnation: 1 }
    }

    #[test]
    fn servers_and_clients_of_this_data_centre_are_told_apart() {
        let server = [("dc", "dc1"), ("role", "consul"), ("port", "8300"), ("expect", "3")];
        let members = vec![
            member("s", &server, Status::Alive),
            member("c", &[("dc", "dc1"), ("role", "node")], Status::Failed),
            member("elsewhere", &[("dc", "dc2"), ("role", "consul"), ("port", "8300")], Status::Alive),
            member("odd", &[("dc", "dc1"), ("role", "consul"), ("port", "none")], Status::Left),
        ];
        let roster = Roster { version: 1, members };

        let agents = agents(&roster, "dc1");
        let seen: Vec<_> = agents.iter().map(|agent| (&*agent.name, agent.presence, agent.server.is_some())).collect();
        let expected = [("s", Presence::Alive, true), ("c", Presence::Failed, false), ("odd", Presence::Gone, false)];
        assert_eq!(seen, expected);

        let servers = servers(&roster, "dc1");
        assert_eq!(servers.len(), 1);
        assert_eq!((servers[0].server.address, servers[0].expect), (([10, 0, 0, 1], 8300).into(), 3));
    }
}
