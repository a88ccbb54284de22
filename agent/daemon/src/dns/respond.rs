//! From a request packet to an answer packet, for whatever transport.
//!
//! Answers come from the latest snapshot without waiting. What needs another
//! server comes back as [`Next::Forward`] or [`Next::Resolve`] for the caller
//! to do, which may then call again with what it found.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_core::dns::name::{Question, parse};
use agent_core::dns::trim::{self, Room, trim};
use agent_core::dns::{self, Answer, Code, DnsConfig, Kind, Record, Verdict, View};
use agent_core::state::State;
use agent_core::store::Store;
use arc_swap::ArcSwap;

use super::Source;
use super::ask::Asking;
use super::cache::Cache;
use super::packet::{self, Encoding, MESSAGE_BYTES_MAX, Request, Unreadable};
use crate::env::Env;
use crate::telemetry::{Metrics, Timer};

/// How the client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram each way.
    Udp,
    /// A stream of messages with their lengths.
    Tcp,
}

/// What to do after a request was looked at.
#[derive(Clone, Debug)]
pub enum Next {
    /// Nothing; not even an error can be sent.
    Drop,
    /// Send what is in the buffer.
    Send,
    /// Ask the recursors the client's question. The buffer holds what to send if none answers.
    Forward,
    /// Ask the recursors for these names, then respond again with the seed and what they said. The buffer holds the
    /// answer without them.
    Resolve {
        /// The names.
        names: Vec<String>,
        /// Repeats the order of instances.
        seed: u64,
    },
    /// Ask servers, who have the catalog. The buffer holds what to send if none can be reached.
    Ask {
        /// It is about the name of an address: what servers do not know, recursors may.
        reverse: bool,
    },
}

/// What a question was about, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Names of the domain.
    Domain,
    /// The name of an address.
    Reverse,
    /// A name outside the domain, or nothing that could be read.
    Other,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Responded {
    /// What to do now.
    pub next: Next,
    /// What was asked.
    pub asked: Asked,
}

/// Responds to the packet `bytes` with what is left in `out`. Pure, and takes any bytes: the fuzzer's way in.
pub fn respond(view: View<'_>, bytes: &[u8], transport: Transport, out: &mut Vec<u8>) -> Responded {
    respond_as(view, !view.config.recursors.is_empty(), bytes, transport, out)
}

/// Responds where there is no catalog: what needs one is left to servers. `view` is of an empty state.
pub fn relay(view: View<'_>, bytes: &[u8], transport: Transport, out: &mut Vec<u8>) -> Responded {
    let responded = respond(view, bytes, transport, out);
    let Ok(request) = packet::decode(bytes) else { return responded };
    let reverse = match parse(&request.name, request.kind, view.config) {
        Question::Foreign | Question::Reverse(None) => return responded,
        Question::Reverse(Some(_)) => true,
        // Without servers the domain has no name servers: that much is known here.
        _ if matches!(request.kind, Kind::Soa | Kind::Ns) => false,
        _ if request.kind == Kind::Axfr => return responded,
        Question::Address(_) | Question::NoAddress | Question::Unknown => return responded,
        Question::Node { .. } | Question::Service { .. } => {
            let recursion_available = !view.config.recursors.is_empty();
            let encoding = Encoding { recursion_available, compress: true, edns: true };
            packet::encode(bytes, &request, &Answer::empty(Code::ServFail), encoding, out);
            false
        }
    };
    Responded { next: Next::Ask { reverse }, ..responded }
}

/// As [`respond`], for an agent of which is known whether it has recursors, but not which.
pub(super) fn respond_as(
    view: View<'_>,
    recursion: bool,
    bytes: &[u8],
    transport: Transport,
    out: &mut Vec<u8>,
) -> Responded {
    let other = |next| Responded { next, asked: Asked::Other };
    let request = match packet::decode(bytes) {
        Ok(request) => request,
        Err(Unreadable::Drop) => return other(Next::Drop),
        Err(Unreadable::Reply(code)) => {
            packet::encode_refusal(bytes, code, out);
            return other(Next::Send);
        }
    };
    let View { config, seed, .. } = view;
    let alone = !recursion;
    let failed = |code| Answer { authoritative: false, ..Answer::empty(code) };
    let verdict = dns::answer(&view, &request.name, request.kind);
    let asked = asked(&verdict, &request);
    let next = match verdict {
        Verdict::Answer(mut answer) => {
            let encoding = Encoding { recursion_available: !alone, compress: !config.disable_compression, edns: true };
            let names = std::mem::take(&mut answer.unresolved);
            write(bytes, &request, answer, encoding, config, transport, out);
            if alone || names.is_empty() { Next::Send } else { Next::Resolve { names, seed } }
        }
        Verdict::Recurse if alone => {
            let encoding = Encoding { recursion_available: false, compress: true, edns: false };
            packet::encode(bytes, &request, &failed(Code::Refused), encoding, out);
            Next::Send
        }
        Verdict::Recurse | Verdict::RecurseReverse => {
            let encoding = Encoding { recursion_available: true, compress: true, edns: true };
            packet::encode(bytes, &request, &failed(Code::ServFail), encoding, out);
            if alone { Next::Send } else { Next::Forward }
        }
    };
    Responded { next, asked }
}

fn asked(verdict: &Verdict, request: &Request) -> Asked {
    match verdict {
        Verdict::Recurse => Asked::Other,
        Verdict::RecurseReverse => Asked::Reverse,
        Verdict::Answer(_) if request.name.ends_with(".arpa") => Asked::Reverse,
        Verdict::Answer(_) => Asked::Domain,
    }
}

fn write(
    bytes: &[u8],
    request: &Request,
    mut answer: Answer,
    encoding: Encoding,
    config: &DnsConfig,
    transport: Transport,
    out: &mut Vec<u8>,
) {
    let room = match transport {
        Transport::Udp => Room::udp(config, request.edns.as_ref().map(|edns| edns.payload_bytes)),
        Transport::Tcp => Room::tcp(),
    };
    // The last packet measured is mostly the one to send.
    let mut written = None;
    trim(&mut answer, room, config, |answer| {
        packet::encode(bytes, request, answer, encoding, out);
        written = Some((answer.answers.len(), answer.truncated));
        out.len()
    });
    if written != Some((answer.answers.len(), answer.truncated)) {
        packet::encode(bytes, request, &answer, encoding, out);
    }
    if out.len() > room.bytes_max.max(trim::UDP_BYTES) {
        shorten(bytes, request, answer, encoding, room.bytes_max, out);
    }
}

/// What is not trimmed (a node with much metadata) or can't be (one huge record): first without the additional
/// section, then empty, and the client is told to ask over TCP.
fn shorten(bytes: &[u8], request: &Request, answer: Answer, encoding: Encoding, bytes_max: usize, out: &mut Vec<u8>) {
    let lean = Answer { additionals: Vec::new(), ..answer };
    packet::encode(bytes, request, &lean, encoding, out);
    if out.len() > bytes_max.min(MESSAGE_BYTES_MAX) {
        let empty = Answer { answers: Vec::new(), authorities: Vec::new(), truncated: true, ..lean };
        packet::encode(bytes, request, &empty, encoding, out);
    }
}

enum Catalog {
    Here(Arc<Store>),
    AtServers(Box<Asking>),
}

/// Responds for the running agent.
pub(super) struct Responder {
    catalog: Catalog,
    config: Arc<ArcSwap<DnsConfig>>,
    datacenter: String,
    env: Env,
    metrics: Arc<Metrics>,
    nothing_resolved: BTreeMap<String, Vec<Record>>,
}

impl Responder {
    pub(super) fn new(
        source: Source,
        config: Arc<ArcSwap<DnsConfig>>,
        datacenter: String,
        env: Env,
        metrics: Arc<Metrics>,
    ) -> Self {
        let catalog = match source {
            Source::Here(store) => Catalog::Here(store),
            Source::Servers(servers) => Catalog::AtServers(Box::new(Asking::new(servers))),
        };
        Responder { catalog, config, datacenter, env, metrics, nothing_resolved: BTreeMap::new() }
    }

    /// The policy of the moment.
    pub(super) fn config(&self) -> Arc<DnsConfig> {
        self.config.load_full()
    }

    /// Responds to a request that was not seen before, and times it. Only answers over UDP may come from a cache.
    pub(super) fn first(
        &self,
        bytes: &[u8],
        transport: Transport,
        cache: Option<&mut Cache>,
        out: &mut Vec<u8>,
    ) -> Next {
        let started = tokio::time::Instant::now();
        let seed = self.env.random.u64();
        let responded = match &self.catalog {
            Catalog::Here(store) => self.with_view(&store.snapshot(), seed, &self.nothing_resolved, |view, config| {
                match cache.is_some_and(|cache| cache.answer(&view, config, bytes, out)) {
                    true => Responded { next: Next::Send, asked: Asked::Domain },
                    false => respond(view, bytes, transport, out),
                }
            }),
            Catalog::AtServers(asking) => self
                .with_view(&asking.nothing, seed, &self.nothing_resolved, |view, _| relay(view, bytes, transport, out)),
        };
        // What servers are asked is timed when they have answered.
        if !matches!(responded.next, Next::Ask { .. }) {
            self.time(responded.asked, started);
        }
        responded.next
    }

    /// Times an answer from `started` until now.
    pub(super) fn time(&self, asked: Asked, started: tokio::time::Instant) {
        let timer = match asked {
            Asked::Domain => Timer::DnsDomainQuery,
            Asked::Reverse => Timer::DnsPtrQuery,
            Asked::Other => return,
        };
        self.metrics.time(timer, started.elapsed().as_secs_f64() * 1000.0);
    }

    /// Where the catalog is asked for, if it is not here.
    pub(super) fn asking(&self) -> Option<&Asking> {
        match &self.catalog {
            Catalog::Here(_) => None,
            Catalog::AtServers(asking) => Some(asking),
        }
    }

    /// Responds again, knowing what recursors said.
    pub(super) fn again(
        &self,
        bytes: &[u8],
        transport: Transport,
        seed: u64,
        resolved: &BTreeMap<String, Vec<Record>>,
        out: &mut Vec<u8>,
    ) {
        // Whatever is still unresolved stays so: the answer in the buffer is the best there is.
        if let Catalog::Here(store) = &self.catalog {
            self.with_view(&store.snapshot(), seed, resolved, |view, _| respond(view, bytes, transport, out));
        }
    }

    fn with_view(
        &self,
        state: &State,
        seed: u64,
        resolved: &BTreeMap<String, Vec<Record>>,
        act: impl FnOnce(View<'_>, &Arc<DnsConfig>) -> Responded,
    ) -> Responded {
        let config = self.config.load();
        let unix_s = u32::try_from(self.env.clock.wall_ms() / 1000).unwrap_or(u32::MAX);
        let datacenter = &self.datacenter;
        act(View { state, config: &config, datacenter, unix_s, seed, resolved }, &config)
    }
}
