//! The clients' side of DNS: questions about the catalog, asked of servers.
//!
//! ```text
//! packet -> respond::relay -> no catalog needed: answered here
//!                          -> Next::Ask -> AskServers -> the answer
//!                                                     -> Recurse: our recursors
//!                                                     -> Resolve: our recursors, then asked once more
//!                                                     -> nobody there: what is in the buffer
//! ```
//!
//! The policy goes along with every question. Owns the bounds: how many questions wait for servers, and for how long.
//! Knows no server.

use std::sync::Arc;
use std::time::Duration;

use agent_core::dns::DnsConfig;
use agent_core::state::State;
use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::packet::HEADER_BYTES;
use super::policy;
use super::recursor::{NAMES_MAX, Recursors};
use super::respond::Transport;
use crate::env::BoxFuture;
use crate::rpc::frame::{DnsHead, DnsReply, Resolved};

/// Questions that wait for servers at a time.
pub(super) const QUESTIONS_MAX: usize = 512;

/// How long servers may take, together. Resolvers commonly give up after 5 s.
const ASK_TIMEOUT: Duration = Duration::from_secs(4);

/// The bytes of what recursors said that go along with a question.
const RESOLVED_BYTES_MAX: usize = 16 << 10;

/// A question for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// How it came, and how it is to be answered.
    pub head: DnsHead,
    /// The packet. Its first two bytes, the id, say nothing: two packets may be the same but for them.
    pub packet: Bytes,
}

/// What a server says to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What the packet is.
    pub head: DnsReply,
    /// The packet, as [`DnsReply`] says. The client puts the id of its question into it.
    pub packet: Bytes,
}

/// Whoever knows servers.
pub trait AskServers: Send + Sync {
    /// Has any server answer. `None` when none can be reached, as soon as that is known; the future is dropped when the
    /// answer would come too late.
    fn ask(&self, question: Question) -> BoxFuture<'static, Option<Reply>>;
}

/// What a client has instead of a catalog.
pub(super) struct Asking {
    servers: Arc<dyn AskServers>,
    places: Arc<Semaphore>,
    /// The policy that was encoded last.
    policy: ArcSwap<(Arc<DnsConfig>, Arc<[u8]>)>,
    /// The catalog of a client.
    pub(super) nothing: State,
}

impl Asking {
    pub(super) fn new(servers: Arc<dyn AskServers>) -> Self {
        let config = Arc::<DnsConfig>::default();
        let encoded = policy::encode(&config);
        Asking {
            servers,
            places: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            policy: ArcSwap::from_pointee((config, encoded)),
            nothing: State::default(),
        }
    }

    /// The right to ask once, unless too many do.
    pub(super) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    fn policy(&self, config: &Arc<DnsConfig>) -> Arc<[u8]> {
        let last = self.policy.load();
        if Arc::ptr_eq(&last.0, config) {
            return Arc::clone(&last.1);
        }
        let encoded = policy::encode(config);
        self.policy.store(Arc::new((Arc::clone(config), Arc::clone(&encoded))));
        encoded
    }

    /// Has servers answer `request`. `reply` holds the answer for when none does, and afterwards what to send.
    /// `reverse` questions are then left to the recursors.
    pub(super) async fn finish(
        &self,
        recursors: &Recursors,
        config: &Arc<DnsConfig>,
        request: &[u8],
        transport: Transport,
        reverse: bool,
        reply: &mut Vec<u8>,
    ) {
        let head = DnsHead { tcp: transport == Transport::Tcp, policy: self.policy(config), resolved: None };
        let question = Question { head, packet: Bytes::copy_from_slice(request) };
        let said = self.ask(question.clone()).await;
        match said.map(|said| (said.head, said.packet)) {
            None if !reverse => {}
            None | Some((DnsReply::Recurse, _)) => {
                if let Some(answer) = recursors.try_ask(config, request, transport).await {
                    *reply = answer;
                }
            }
            Some((DnsReply::Whole, packet)) => put(&packet, request, reply),
            Some((DnsReply::Resolve { names, seed }, packet)) => {
                put(&packet, request, reply);
                let resolved = Resolved { seed, replies: resolve(recursors, config, names).await };
                let head = DnsHead { resolved: Some(resolved), ..question.head };
                if let Some(Reply { head: DnsReply::Whole, packet }) = self.ask(Question { head, ..question }).await {
                    put(&packet, request, reply);
                }
            }
        }
    }

    async fn ask(&self, question: Question) -> Option<Reply> {
        timeout(ASK_TIMEOUT, self.servers.ask(question)).await.ok().flatten()
    }
}

/// Takes a server's packet, if it is one, under the id of the request.
fn put(packet: &[u8], request: &[u8], reply: &mut Vec<u8>) {
    if packet.len() < HEADER_BYTES {
        return;
    }
    reply.clear();
    reply.extend_from_slice(&request[..2]);
    reply.extend_from_slice(&packet[2..]);
}

/// What recursors say about these names, as far as it fits.
async fn resolve(recursors: &Recursors, config: &DnsConfig, names: Vec<String>) -> Vec<(String, Vec<u8>)> {
    let mut replies = Vec::new();
    let mut room = RESOLVED_BYTES_MAX;
    let Some(_permit) = recursors.permit() else { return replies };
    for name in names.into_iter().take(NAMES_MAX) {
        let reply = recursors.resolve(config, &name).await.unwrap_or_default();
        let size = name.len() + reply.len();
        if size <= room {
            room -= size;
            replies.push((name, reply));
        }
    }
    replies
}
