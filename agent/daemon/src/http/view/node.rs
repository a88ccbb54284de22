//! Nodes.

use agent_core::state::tables::{Index, Node};
use serde::Serialize;

use super::NullWhenEmpty;

/// A node as `/v1/catalog/nodes` prints it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeView<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    node: &'a str,
    address: &'a str,
    datacenter: &'a str,
    tagged_addresses: NullWhenEmpty<'a>,
    meta: NullWhenEmpty<'a>,
    create_index: Index,
    modify_index: Index,
}

impl<'a> NodeView<'a> {
    /// A node of the catalog of `datacenter`.
    pub fn new(node: &'a Node, datacenter: &'a str) -> Self {
        NodeView {
            id: &node.id,
            node: &node.name,
            address: &node.address,
            datacenter,
            tagged_addresses: NullWhenEmpty(&node.tagged_addresses),
            meta: NullWhenEmpty(&node.meta),
            create_index: node.create_index,
            modify_index: node.modify_index,
        }
    }
}
