//! Members of the pool, as Consul's gossip shows them.

use std::collections::BTreeMap;

use agent_core::gossip::Member;
use serde::Serialize;

/// A member as `/v1/agent/members` prints it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MemberView {
    name: String,
    addr: String,
    port: u16,
    tags: BTreeMap<String, String>,
    status: u8,
    protocol_min: u8,
    protocol_max: u8,
    protocol_cur: u8,
    delegate_min: u8,
    delegate_max: u8,
    delegate_cur: u8,
}

impl MemberView {
    /// A member. The protocol versions are those that Consul's clients expect to see; nothing speaks them.
    pub fn new(member: &Member) -> Self {
        let profile = &member.profile;
        MemberView {
            name: profile.name.to_string(),
            addr: profile.address.ip().to_string(),
            port: profile.address.port(),
            tags: profile.tags.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            status: member.status as u8,
            protocol_min: 1,
            protocol_max: 5,
            protocol_cur: 2,
            delegate_min: 2,
            delegate_max: 5,
            delegate_cur: 4,
        }
    }
}
