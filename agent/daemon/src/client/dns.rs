//! DNS questions that come in at a client and are answered by a server, or with what one answered before.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Patience, Servers};
use crate::dns::{AskServers, Question, Reply};
use crate::env::BoxFuture;

/// How long one server may take: it answers from memory, so another one is worth asking soon.
const LIMIT: Duration = Duration::from_secs(1);

/// What a client's DNS asks.
pub struct ServersDns(pub Arc<Servers>);

impl AskServers for ServersDns {
    fn ask(&self, question: Question) -> BoxFuture<'static, Option<Reply>> {
        let servers = Arc::clone(&self.0);
        Box::pin(async move {
            // Resolvers ask again by themselves.
            let patience = Patience { until: Instant::now(), repeatable: true, limit: Some(LIMIT) };
            let key = key(&question);
            let answered = servers.ask(patience, |to| servers.pool.forward_dns(to, question.clone())).await;
            match answered {
                Ok(reply) => {
                    let size = reply.packet.len() + size_of::<Reply>();
                    servers.seen_dns().keep(servers.env.now(), &key, reply.clone(), size);
                    Some(reply)
                }
                Err(error) => {
                    tracing::debug!(%error, "DNS is answered with what was seen");
                    servers.seen_dns().find(&key).map(|(reply, _)| reply)
                }
            }
        })
    }
}

/// What an answer depends on beside the catalog. The policy does not belong to it: an answer by an older one is better
/// than none.
fn key(question: &Question) -> Vec<u8> {
    let Question { head, packet } = question;
    let mut key = vec![u8::from(head.tcp)];
    key.extend_from_slice(packet.get(2..).unwrap_or_default());
    for (name, reply) in head.resolved.iter().flat_map(|resolved| &resolved.replies) {
        key.extend_from_slice(name.as_bytes());
        key.extend_from_slice(reply);
    }
    key
}
