//! The loop: what happens becomes an input of the machine, and its outputs are performed.
//!
//! Owns the sockets and who waits for which answer. Holds no rule of the pool.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use agent_core::gossip::{
    DATAGRAM_BYTES_MAX, Event, Gossip, Input, KeyReport, KeyRing, Output, RequestId, StreamId, Ticket,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::files::{Files, Peers};
use super::handle::{Joined, Request, Roster};
use super::heard::{Heard, Interest};
use super::notes;
use super::published::Published as Shown;
use super::streams::{self, Arrival, Limits};
use crate::env::{Datagrams, Env};

/// Room for one datagram. Ours are shorter; one that fills it was none of ours and is refused for what is missing.
const BUFFER_BYTES: usize = DATAGRAM_BYTES_MAX + 1;

/// What the loop is made of.
pub(super) struct Parts {
    pub env: Env,
    pub machine: Gossip,
    pub socket: Box<dyn Datagrams>,
    pub arrivals: mpsc::Receiver<Arrival>,
    pub requests: mpsc::Receiver<Request>,
    pub limits: Arc<Limits>,
    /// Where keys are kept; `None` keeps none.
    pub keys: Option<Files>,
}

/// Where it publishes, and what decides which user events are.
pub(super) struct Published {
    pub roster: Shown<Roster>,
    pub heard: Shown<Heard>,
    pub peers: watch::Sender<Arc<Peers>>,
    pub interest: Interest,
}

/// What can wake the loop.
enum Wake {
    Stop,
    Due,
    Asked(Request),
    Answered(StreamId, Result<Vec<u8>, String>),
    Arrived(Arrival),
    Datagram(SocketAddr, Vec<u8>),
    Nothing,
}

/// Who waits for an answer.
#[derive(Default)]
struct Waiting {
    next_ticket: u64,
    joins: BTreeMap<Ticket, oneshot::Sender<Joined>>,
    keys: BTreeMap<Ticket, oneshot::Sender<KeyReport>>,
    leaves: Vec<oneshot::Sender<()>>,
    next_request: u64,
    streams: BTreeMap<RequestId, oneshot::Sender<Vec<u8>>>,
}

impl Waiting {
    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }
}

struct Task {
    env: Env,
    machine: Gossip,
    socket: Box<dyn Datagrams>,
    limits: Arc<Limits>,
    keys: Option<Files>,
    published: Published,
    dials: JoinSet<(StreamId, Result<Vec<u8>, String>)>,
    waiting: Waiting,
}

/// Runs until `stop` turns true.
pub(super) async fn run(parts: Parts, published: Published, mut stop: watch::Receiver<bool>) {
    let Parts { env, machine, socket, mut arrivals, mut requests, limits, keys } = parts;
    let (dials, waiting) = (JoinSet::new(), Waiting::default());
    let mut task = Task { env, machine, socket, limits, keys, published, dials, waiting };
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        let deadline = task.machine.deadline();
        let due = async {
            match deadline {
                Some((at, _)) => tokio::time::sleep_until(task.env.deadline(at)).await,
                None => std::future::pending().await,
            }
        };
        let wake = tokio::select! {
            biased;
            // An error means that the agent is gone.
            _ = stop.wait_for(|stop| *stop) => Wake::Stop,
            () = due => Wake::Due,
            Some(request) = requests.recv() => Wake::Asked(request),
            Some(ended) = task.dials.join_next() => match ended {
                Ok((stream, answer)) => Wake::Answered(stream, answer),
                Err(error) => {
                    tracing::error!(%error, "a stream of gossip broke");
                    Wake::Nothing
                }
            },
            Some(arrival) = arrivals.recv() => Wake::Arrived(arrival),
            received = task.socket.receive(&mut buffer) => match received {
                Ok((size, from)) => Wake::Datagram(from, buffer[..size].to_vec()),
                Err(error) => {
                    // Such as the news that an earlier datagram found nobody.
                    tracing::trace!(%error, "could not receive a datagram");
                    Wake::Nothing
                }
            },
        };
        match wake {
            Wake::Stop => return,
            Wake::Nothing => tokio::task::yield_now().await,
            Wake::Due => task.step(Input::Tick).await,
            Wake::Asked(request) => task.asked(request).await,
            Wake::Answered(stream, Ok(bytes)) => task.step(Input::StreamReply { stream, bytes }).await,
            Wake::Answered(stream, Err(reason)) => task.step(Input::StreamFailed { stream, reason }).await,
            Wake::Arrived(Arrival::Broken { from }) => task.step(Input::StreamBroken { from }).await,
            Wake::Arrived(Arrival::Frame { from, bytes, answer }) => {
                task.waiting.next_request += 1;
                let request = RequestId(task.waiting.next_request);
                task.waiting.streams.insert(request, answer);
                task.step(Input::StreamRequest { request, from, bytes }).await;
            }
            Wake::Datagram(from, bytes) => task.step(Input::Datagram { from, bytes }).await,
        }
    }
}

impl Task {
    async fn asked(&mut self, request: Request) {
        match request {
            Request::Look(look) => look(&self.machine),
            Request::Join { addresses, reply } => {
                let ticket = self.waiting.ticket();
                self.waiting.joins.insert(ticket, reply);
                self.step(Input::Join { ticket, addresses }).await;
            }
            Request::Leave { reply } => {
                self.waiting.leaves.push(reply);
                self.step(Input::Leave).await;
            }
            Request::ForceLeave { name, prune, reply } => {
                // Whoever asked may be gone; the member is to leave all the same.
                let _ = reply.send(self.machine.member(&name).is_some());
                self.step(Input::ForceLeave { name, prune }).await;
            }
            Request::SetTags { tags } => self.step(Input::SetTags(tags)).await,
            Request::Fire { fired, reply } => {
                self.step(Input::Fire(fired)).await;
                // Whoever asked may be gone; the event is fired all the same.
                let _ = reply.send(());
            }
            Request::Keys { operation, reply } => {
                let ticket = self.waiting.ticket();
                self.waiting.keys.insert(ticket, reply);
                self.step(Input::Keys { ticket, operation }).await;
            }
        }
    }

    async fn step(&mut self, input: Input) {
        let outputs = self.machine.step(self.env.now(), input);
        let mut roster_changed = false;
        for output in outputs {
            match output {
                Output::Datagram { to, bytes } => self.send(to, &bytes).await,
                Output::OpenStream { stream, to, bytes, timeout } => {
                    let exchanged = streams::exchange(self.env.clone(), to, bytes, timeout, Arc::clone(&self.limits));
                    self.dials.spawn(async move { (stream, exchanged.await) });
                }
                Output::Reply { request, bytes } => {
                    if let Some(answer) = self.waiting.streams.remove(&request) {
                        // The peer may have gone; it will ask again.
                        let _ = answer.send(bytes);
                    }
                }
                Output::Close { request } => {
                    self.waiting.streams.remove(&request);
                }
                Output::Event(event) => {
                    notes::event(&event);
                    roster_changed |= is_about_members(&event);
                    self.happened(event).await;
                }
                Output::Note(note) => notes::note(&note),
            }
        }
        if roster_changed {
            self.publish_roster();
        }
    }

    async fn send(&self, to: SocketAddr, bytes: &[u8]) {
        if let Err(error) = self.socket.send(bytes, to).await {
            // Losing a datagram is harmless; the machine notices what matters.
            tracing::trace!(%to, %error, "could not send a datagram");
        }
    }

    /// Tells whoever waits. Those who asked may be gone.
    async fn happened(&mut self, event: Event) {
        match event {
            Event::UserEvent(event) => {
                if self.published.interest.concerns(&event.fired) {
                    let heard = self.published.heard.get().with(event);
                    self.published.heard.set(heard);
                }
            }
            Event::KeysChanged(ring) => self.keep_keys(ring).await,
            Event::KeysAnswered { ticket, report } => {
                if let Some(reply) = self.waiting.keys.remove(&ticket) {
                    let _ = reply.send(report);
                }
            }
            Event::Joined { ticket, contacted, failures } => {
                if let Some(reply) = self.waiting.joins.remove(&ticket) {
                    let _ = reply.send((contacted, failures));
                }
            }
            Event::LeftPool => {
                self.published.peers.send_replace(Arc::new(Peers { left: true, living: Vec::new() }));
                for reply in self.waiting.leaves.drain(..) {
                    let _ = reply.send(());
                }
            }
            Event::MemberUp(_)
            | Event::MemberFailed(_)
            | Event::MemberLeft(_)
            | Event::MemberChanged(_)
            | Event::MemberReaped(_) => {}
        }
    }

    /// Keys are on disk before anybody is told that we have them.
    async fn keep_keys(&self, ring: KeyRing) {
        let Some(files) = self.keys.clone() else { return };
        let kept = tokio::task::spawn_blocking(move || files.store_keys(&ring)).await;
        if let Err(error) = kept.unwrap_or_else(|error| Err(error.to_string())) {
            tracing::error!("{error}: this agent will not know the new keys after a restart");
        }
    }

    fn publish_roster(&self) {
        let version = self.published.roster.get().version + 1;
        self.published.roster.set(Roster::of(&self.machine, version));
        self.limits.request_bytes_max.store(self.machine.request_bytes_max(), Ordering::Relaxed);
        let left = self.published.peers.borrow().left;
        let mut living = self.machine.recent_peers();
        living.sort();
        let peers = Peers { left, living };
        self.published.peers.send_if_modified(|known| {
            let is_news = **known != peers;
            if is_news {
                *known = Arc::new(peers);
            }
            is_news
        });
    }
}

fn is_about_members(event: &Event) -> bool {
    match event {
        Event::MemberUp(_)
        | Event::MemberFailed(_)
        | Event::MemberLeft(_)
        | Event::MemberChanged(_)
        | Event::MemberReaped(_) => true,
        Event::UserEvent(_)
        | Event::KeysChanged(_)
        | Event::KeysAnswered { .. }
        | Event::Joined { .. }
        | Event::LeftPool => false,
    }
}
