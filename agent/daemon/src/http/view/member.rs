//! Members of the cluster, as gossip would show them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::http::{API_VERSION, Identity};

/// Serf's number for a member that is alive.
const ALIVE: u8 = 1;

/// A member as `/v1/agent/members` prints it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MemberView<'a> {
    name: &'a str,
    addr: &'a str,
    port: u16,
    tags: BTreeMap<&'static str, String>,
    status: u8,
    protocol_min: u8,
    protocol_max: u8,
    protocol_cur: u8,
    delegate_min: u8,
    delegate_max: u8,
    delegate_cur: u8,
}

impl<'a> MemberView<'a> {
    /// This agent. The protocol versions are those that Consul's clients expect to see; nothing speaks them.
    pub fn new(identity: &'a Identity) -> Self {
        MemberView {
            name: &identity.node_name,
            addr: &identity.address,
            port: identity.serf_port,
            tags: tags(identity),
            status: ALIVE,
            protocol_min: 1,
            protocol_max: 5,
            protocol_cur: 2,
            delegate_min: 2,
            delegate_max: 5,
            delegate_cur: 4,
        }
    }
}

fn tags(identity: &Identity) -> BTreeMap<&'static str, String> {
    let mut tags = BTreeMap::from([
        ("acls", "0".to_owned()),
        ("build", format!("{API_VERSION}:")),
        ("dc", identity.datacenter.clone()),
        ("id", identity.node_id.clone()),
        ("segment", String::new()),
        ("vsn", "2".to_owned()),
        ("vsn_max", "3".to_owned()),
        ("vsn_min", "2".to_owned()),
    ]);
    if identity.server {
        tags.insert("role", "consul".to_owned());
        tags.insert("port", identity.rpc_port.to_string());
        tags.insert("raft_vsn", "3".to_owned());
    } else {
        tags.insert("role", "node".to_owned());
        tags.remove("acls");
    }
    if identity.bootstrap {
        tags.insert("bootstrap", "1".to_owned());
    }
    tags
}
