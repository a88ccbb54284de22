//! Asks other DNS servers: the client's own question, or names that an answer points to.
//!
//! A question goes on over the transport it came by, so a truncated reply
//! reaches the client, who then comes back over TCP. Recursors that fail are
//! passed over; the number of recursions and the time each takes are bounded.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use agent_core::dns::config::RecursorStrategy;
use agent_core::dns::{Data, DnsConfig, Owner, Record};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::packet::{HEADER_BYTES, MESSAGE_BYTES_MAX};
use super::respond::{Asked, Next, Responder, Transport};
use crate::env::Env;

/// Recursions that run at a time.
const RECURSIONS_MAX: usize = 512;

/// Records taken from the answer about one name.
const RECORDS_MAX: usize = 64;

/// Names resolved for one answer.
pub(super) const NAMES_MAX: usize = 16;

/// How many recursions may still start, and where their randomness comes from.
pub(super) struct Recursors {
    places: Arc<Semaphore>,
    env: Env,
}

impl Recursors {
    pub(super) fn new(env: Env) -> Self {
        Recursors { places: Arc::new(Semaphore::new(RECURSIONS_MAX)), env }
    }

    /// The right to recurse once, unless too many do.
    pub(super) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// The reply of the first recursor that knows, with the id of `request`.
    async fn ask(&self, config: &DnsConfig, request: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let limit = Duration::from_millis(config.recursor_timeout_ms.max(1));
        for recursor in self.order(config) {
            let mut question = request.to_vec();
            let id = (self.env.random.u64() as u16).to_be_bytes();
            question[..2].copy_from_slice(&id);
            let exchange = async {
                match transport {
                    Transport::Udp => ask_udp(recursor, &question).await,
                    Transport::Tcp => ask_tcp(recursor, &question).await,
                }
            };
            match timeout(limit, exchange).await {
                Ok(Ok(mut reply)) if is_answer(&reply) => {
                    reply[..2].copy_from_slice(&request[..2]);
                    return Some(reply);
                }
                Ok(Ok(_)) => tracing::debug!(%recursor, "recursor refused a question"),
                Ok(Err(error)) => tracing::debug!(%recursor, %error, "recursor failed"),
                Err(_) => tracing::debug!(%recursor, "recursor did not answer in time"),
            }
        }
        None
    }

    fn order(&self, config: &DnsConfig) -> Vec<SocketAddr> {
        let mut recursors = config.recursors.clone();
        match config.recursor_strategy {
            RecursorStrategy::Sequential => {}
            RecursorStrategy::Random => {
                for last in (1..recursors.len()).rev() {
                    recursors.swap(last, (self.env.random.u64() % (last as u64 + 1)) as usize);
                }
            }
        }
        recursors
    }

    /// As `ask`, unless too many do already.
    pub(super) async fn try_ask(&self, config: &DnsConfig, request: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let _permit = self.permit()?;
        self.ask(config, request, transport).await
    }

    /// A reply about what is behind a host name. `None` when nobody knows.
    pub(super) async fn resolve(&self, config: &DnsConfig, name: &str) -> Option<Vec<u8>> {
        let asked = Name::from_ascii(format!("{name}.")).ok()?;
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(asked, RecordType::A));
        self.ask(config, &message.to_vec().ok()?, Transport::Udp).await
    }
}

/// The right to do what `next` says, unless too many do.
pub(super) fn permit(recursors: &Recursors, responder: &Responder, next: &Next) -> Option<OwnedSemaphorePermit> {
    match next {
        Next::Ask { .. } => responder.asking()?.permit(),
        Next::Drop | Next::Send | Next::Forward | Next::Resolve { .. } => recursors.permit(),
    }
}

/// Does what `next` says; afterwards `reply` is what to send.
pub(super) async fn finish(
    recursors: &Recursors,
    responder: &Responder,
    request: &[u8],
    transport: Transport,
    next: Next,
    reply: &mut Vec<u8>,
) {
    let config = responder.config();
    match next {
        Next::Drop | Next::Send => {}
        Next::Forward => {
            if let Some(answer) = recursors.ask(&config, request, transport).await {
                *reply = answer;
            }
        }
        Next::Ask { reverse } => {
            if let Some(asking) = responder.asking() {
                let asked = Instant::now();
                asking.finish(recursors, &config, request, transport, reverse, reply).await;
                responder.time(if reverse { Asked::Reverse } else { Asked::Domain }, asked);
            }
        }
        Next::Resolve { names, seed } => {
            let mut resolved = BTreeMap::new();
            for name in names.into_iter().take(NAMES_MAX) {
                let reply = recursors.resolve(&config, &name).await.unwrap_or_default();
                resolved.insert(name, records(&reply));
            }
            responder.again(request, transport, seed, &resolved, reply);
        }
    }
}

async fn ask_udp(recursor: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr =
        if recursor.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    // Connected, so only the recursor's datagrams arrive.
    socket.connect(recursor).await?;
    socket.send(question).await?;
    let mut reply = vec![0; MESSAGE_BYTES_MAX];
    loop {
        let length = socket.recv(&mut reply).await?;
        if belongs(question, &reply[..length]) {
            reply.truncate(length);
            return Ok(reply);
        }
    }
}

async fn ask_tcp(recursor: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(recursor).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes()[..], question].concat();
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut reply = vec![0; usize::from(length)];
    stream.read_exact(&mut reply).await?;
    if belongs(question, &reply) { Ok(reply) } else { Err(io::Error::other("the reply is to another question")) }
}

/// Whether `reply` is a response with the id of `question`.
fn belongs(question: &[u8], reply: &[u8]) -> bool {
    reply.len() >= HEADER_BYTES && reply[..2] == question[..2] && reply[2] & 0x80 != 0
}

/// Whether the recursor knows: that a name does not exist is knowledge, too.
fn is_answer(reply: &[u8]) -> bool {
    let code = ResponseCode::from_low(reply[3] & 0x0f);
    code == ResponseCode::NoError || code == ResponseCode::NXDomain
}

/// What a reply to [`Recursors::resolve`] says. Nothing when it makes no sense.
pub(super) fn records(reply: &[u8]) -> Vec<Record> {
    let Ok(reply) = Message::from_vec(reply) else { return Vec::new() };
    reply.answers.iter().take(RECORDS_MAX).filter_map(record).collect()
}

fn record(found: &hickory_proto::rr::Record) -> Option<Record> {
    let text = |name: &Name| name.to_ascii().trim_end_matches('.').to_owned();
    let data = match &found.data {
        RData::A(ip) => Data::A(ip.0),
        RData::AAAA(ip) => Data::Aaaa(ip.0),
        RData::CNAME(name) => Data::Cname(text(&name.0)),
        _ => return None,
    };
    Some(Record { owner: Owner::Name(text(&found.name)), ttl_s: found.ttl, data })
}
