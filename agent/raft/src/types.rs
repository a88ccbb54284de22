//! The types openraft is instantiated with.
//!
//! Nothing of this leaves the crate: the daemon speaks of [`crate::Server`],
//! commands and replies. What is *stored* has its own types in [`crate::record`],
//! so an upgrade of openraft cannot change a file.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use agent_core::state::{Proposal, Reply};
use openraft::impls::leader_id_std::LeaderId;
use serde::{Deserialize, Serialize};

use crate::Server;
use crate::runtime::Rt;

openraft::declare_raft_types!(
    /// Textbook Raft: one leader per term, node ids of 64 bits.
    pub TypeConfig:
        D = Proposed,
        R = Answer,
        NodeId = u64,
        Node = ServerNode,
        LeaderId = LeaderId<u64, u64>,
        AsyncRuntime = Rt,
);

pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Payload = openraft::alias::PayloadOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, ServerNode>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = openraft::alias::SnapshotOf<TypeConfig, Vec<u8>>;
pub(crate) type SnapshotResponse = openraft::raft::SnapshotResponse<TypeConfig>;

/// A proposal on its way through the log. Shared, because the log, its ring and the disk all hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposed(pub Arc<Proposal>);

impl fmt::Display for Proposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0.id)
    }
}

/// What applying an entry answers; `None` for Raft's own entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer(pub Option<(u64, Reply)>);

/// What the replicated membership says about a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerNode {
    /// The node id (UUID in text form).
    pub id: String,
    /// The node name.
    pub node: String,
    /// Where its RPC port listens.
    pub address: SocketAddr,
    /// The cluster it is a member of: chosen at random by whoever formed it. Zero where it is not known.
    pub cluster: u128,
}

impl Default for ServerNode {
    /// A server nobody knows anything about.
    fn default() -> Self {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        ServerNode { id: String::new(), node: String::new(), address, cluster: 0 }
    }
}

impl ServerNode {
    /// A member of `cluster`.
    pub(crate) fn new(server: &Server, cluster: u128) -> Self {
        let Server { id, node, address, voter: _ } = server;
        ServerNode { id: id.clone(), node: node.clone(), address: *address, cluster }
    }

    pub(crate) fn to_server(&self, voter: bool) -> Server {
        let ServerNode { id, node, address, cluster: _ } = self;
        Server { id: id.clone(), node: node.clone(), address: *address, voter }
    }
}

/// The Raft id of a node: the 64-bit FNV-1a hash of its id in lower case.
///
/// Stable for ever, since it is stored in votes and memberships. Two of five
/// random UUIDs collide with a probability below 1e-18.
pub(crate) fn raft_id(node_id: &str) -> u64 {
    node_id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The cluster that `membership` is of; zero while there is none.
pub(crate) fn cluster_of(membership: &Membership) -> u128 {
    membership.nodes().next().map_or(0, |(_, node)| node.cluster)
}

/// Whether a server is a quorum by itself.
pub(crate) fn is_quorum(membership: &Membership, id: u64) -> bool {
    let sets = membership.get_joint_config();
    !sets.is_empty() && sets.iter().all(|voters| voters.len() == 1 && voters.contains(&id))
}

/// Whether a server counts towards the quorum.
///
/// While votes change there are two sets of voters, and both must agree (joint consensus, Raft section 6): a vote that
/// only one of them counts cannot be relied on yet, or not any more.
pub(crate) fn is_voter(membership: &Membership, id: u64) -> bool {
    membership.get_joint_config().iter().all(|voters| voters.contains(&id))
}

/// The log id at `index`, proposed in `term`.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_vote_that_is_on_its_way_counts_once_both_sets_have_it() {
        let members: BTreeMap<u64, ServerNode> = (1..=3).map(|id| (id, ServerNode::default())).collect();
        let voters = |sets: &[&[u64]]| {
            let sets = sets.iter().map(|set| set.iter().copied().collect()).collect();
            let membership = Membership::new(sets, members.clone()).unwrap();
            (1..=3).filter(|id| is_voter(&membership, *id)).collect::<Vec<u64>>()
        };
        assert_eq!(voters(&[&[1, 3]]), [1, 3]);
        assert_eq!(voters(&[&[1, 3], &[1, 2, 3]]), [1, 3]);
        assert_eq!(voters(&[&[1, 2, 3]]), [1, 2, 3]);
        assert_eq!(voters(&[&[1, 2, 3], &[1, 2]]), [1, 2]);
    }

    #[test]
    fn raft_ids_never_change() {
        assert_eq!(raft_id(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(raft_id("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(raft_id("ADF4238A-882B"), raft_id("adf4238a-882b"));
    }
}
