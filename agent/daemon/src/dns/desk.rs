//! The servers' side of DNS for client agents: a question that came over RPC, answered from the catalog.
//!
//! The client's policy decides how, as if its own agent had the catalog. Nobody
//! else is asked: what needs recursors goes back to the client, who has its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_core::dns::View;
use agent_core::store::Store;
use bytes::Bytes;

use super::ask::Reply;
use super::packet::MESSAGE_BYTES_MAX;
use super::policy::{self, Policy};
use super::recursor::{NAMES_MAX, records};
use super::respond::{Next, Transport, respond_as};
use crate::env::Env;
use crate::rpc::frame::{DnsHead, DnsReply};

/// Answers the questions of client agents. Cheap to clone.
#[derive(Clone)]
pub struct DnsDesk {
    store: Arc<Store>,
    datacenter: Arc<str>,
    env: Env,
}

impl DnsDesk {
    /// A desk that answers from this catalog of this data centre.
    pub fn new(store: Arc<Store>, datacenter: &str, env: Env) -> Self {
        DnsDesk { store, datacenter: datacenter.into(), env }
    }

    /// The answer to a packet.
    ///
    /// # Errors
    /// No client sends that; the text says why.
    pub fn answer(&self, head: &DnsHead, packet: &[u8]) -> Result<Reply, String> {
        if packet.len() > MESSAGE_BYTES_MAX {
            return Err(format!("a dns packet has at most {MESSAGE_BYTES_MAX} bytes"));
        }
        let Policy { config, recursion } = policy::decode(&head.policy)?;
        let state = self.store.snapshot();
        let (seed, resolved) = match &head.resolved {
            None => (self.env.random.u64(), BTreeMap::new()),
            Some(said) => {
                let known = said.replies.iter().take(NAMES_MAX);
                (said.seed, known.map(|(name, reply)| (name.clone(), records(reply))).collect())
            }
        };
        let unix_s = u32::try_from(self.env.clock.wall_ms() / 1000).unwrap_or(u32::MAX);
        let datacenter = &self.datacenter;
        let view = View { state: &state, config: &config, datacenter, unix_s, seed, resolved: &resolved };
        let transport = if head.tcp { Transport::Tcp } else { Transport::Udp };
        let mut out = Vec::new();
        let next = respond_as(view, recursion, packet, transport, &mut out).next;
        let (reply, out) = match next {
            Next::Forward => (DnsReply::Recurse, Vec::new()),
            Next::Resolve { mut names, seed } if head.resolved.is_none() => {
                names.truncate(NAMES_MAX);
                (DnsReply::Resolve { names, seed }, out)
            }
            Next::Drop => (DnsReply::Whole, Vec::new()),
            // Whatever is still unresolved stays so.
            Next::Send | Next::Ask { .. } | Next::Resolve { .. } => (DnsReply::Whole, out),
        };
        Ok(Reply { head: reply, packet: Bytes::from(out) })
    }
}
