//! Messages between servers: late, lost, twice, or held up on one way only.
//!
//! Owns the faults of the network and the register of who is up. A message is
//! handled in a task of its own, so a caller that gives up does not undo it,
//! and an answer can be lost after the deed was done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_raft::{Answering, Consensus, Rpc, Server, Transport, TransportError};
use tokio::time::Instant;

use super::gone::Gone;
use crate::outside::SimRandom;
use crate::trace::Trace;

/// How the network treats messages.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The shortest delay one way, in microseconds.
    pub delay_us_min: u64,
    /// The longest ordinary delay one way, in microseconds.
    pub delay_us_max: u64,
    /// How often, in a thousand, a message takes 20 to 80 milliseconds instead.
    pub spikes: u64,
    /// How often, in a thousand, a message is lost.
    pub lost: u64,
    /// How often, in a thousand, a message arrives twice.
    pub twice: u64,
}

impl Weather {
    /// One rack.
    pub const CALM: Weather = Weather { delay_us_min: 100, delay_us_max: 1_000, spikes: 0, lost: 0, twice: 0 };
    /// A bad day.
    pub const ROUGH: Weather = Weather { delay_us_min: 300, delay_us_max: 8_000, spikes: 20, lost: 20, twice: 10 };
}

/// The network between the servers of one simulation. Cheap to clone.
#[derive(Clone)]
pub struct Wires {
    random: SimRandom,
    trace: Trace,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    weather: Weather,
    /// Ways that are cut, as (from, to).
    cut: BTreeSet<(String, String)>,
    /// Whether who sends over a cut way learns so at once, or never.
    refuses: bool,
    /// Servers that neither hear nor speak until then: their process is stopped.
    paused: BTreeMap<String, Instant>,
    up: BTreeMap<String, Consensus>,
}

impl Wires {
    /// A calm network with nobody on it.
    pub fn new(random: SimRandom, trace: Trace) -> Self {
        let inner = Inner {
            weather: Weather::CALM,
            cut: BTreeSet::new(),
            refuses: false,
            paused: BTreeMap::new(),
            up: BTreeMap::new(),
        };
        Wires { random, trace, inner: Arc::new(Mutex::new(inner)) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the weather for every message from now on.
    pub fn set_weather(&self, weather: Weather) {
        self.inner().weather = weather;
    }

    /// Cuts the ways for which `is_cut` says so, and no others.
    pub fn cut(&self, ids: &[String], is_cut: impl Fn(&str, &str) -> bool) {
        let pairs = ids.iter().flat_map(|from| ids.iter().map(move |to| (from.clone(), to.clone())));
        let cut = pairs.filter(|(from, to)| from != to && is_cut(from, to)).collect();
        let refuses = self.random.happens(500);
        let mut inner = self.inner();
        inner.cut = cut;
        inner.refuses = refuses;
    }

    /// Stops a process for a while.
    pub fn pause(&self, id: &str, time: Duration) {
        self.inner().paused.insert(id.to_owned(), Instant::now() + time);
    }

    /// Nothing is cut or paused any more.
    pub fn heal(&self) {
        let mut inner = self.inner();
        inner.weather = Weather::CALM;
        inner.cut.clear();
        inner.paused.clear();
    }

    /// A server hears from now on.
    pub fn plug(&self, id: &str, consensus: Consensus) {
        self.inner().up.insert(id.to_owned(), consensus);
    }

    /// A server hears nothing any more.
    pub fn unplug(&self, id: &str) {
        let unplugged = self.inner().up.remove(id);
        // Its drop may send something: not under the lock.
        drop(unplugged);
    }

    /// What happens to a message on one way: how long it takes, or `None` when it does not arrive.
    fn passage(&self, from: &str, to: &str) -> Option<Duration> {
        let (weather, is_cut, until) = {
            let inner = self.inner();
            let is_cut = inner.cut.contains(&(from.to_owned(), to.to_owned()));
            let until = inner.paused.get(from).max(inner.paused.get(to)).copied();
            (inner.weather, is_cut, until)
        };
        if is_cut || self.random.happens(weather.lost) {
            return None;
        }
        let us = match self.random.happens(weather.spikes) {
            true => 20_000 + self.random.below(60_000),
            false => weather.delay_us_min + self.random.below(weather.delay_us_max - weather.delay_us_min + 1),
        };
        let paused = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        Some(paused + Duration::from_micros(us))
    }

    async fn deliver(self, to: String, after: Duration, rpc: Rpc, body: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        tokio::time::sleep(after).await;
        let consensus = self.inner().up.get(&to).cloned();
        let Some(consensus) = consensus else { return Err(TransportError::Unreachable(to)) };
        Ok(consensus.handle(rpc, &body).await?)
    }

    async fn send(&self, from: &str, to: &str, rpc: Rpc, body: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        let size = body.len();
        let there = self.passage(from, to);
        self.trace.note(format_args!("{from} > {to} {rpc:?} {size} {there:?}"));
        let Some(after) = there else { return self.lost(from, to).await };
        let is_raft = !matches!(rpc, Rpc::Forward | Rpc::Change);
        let weather = self.inner().weather;
        // What asks for a deed travels over TCP, which delivers once; Raft's own messages may be sent again.
        if is_raft && self.random.happens(weather.twice) {
            let late = after + Duration::from_micros(self.random.below(50_000));
            tokio::spawn(self.clone().deliver(to.to_owned(), late, rpc, body.clone()));
        }
        let delivery = tokio::spawn(self.clone().deliver(to.to_owned(), after, rpc, body));
        let answer = delivery.await.map_err(|_| TransportError::Broken("the other side broke".to_owned()))?;
        let back = self.passage(to, from);
        let shown = answer.as_ref().map(Vec::len);
        self.trace.note(format_args!("{from} < {to} {rpc:?} {shown:?} {back:?}"));
        match back {
            Some(after) => tokio::time::sleep(after).await,
            None => return self.broken().await,
        }
        answer
    }

    async fn lost(&self, from: &str, to: &str) -> Result<Vec<u8>, TransportError> {
        let is_refused = {
            let inner = self.inner();
            inner.refuses && inner.cut.contains(&(from.to_owned(), to.to_owned()))
        };
        if is_refused {
            tokio::time::sleep(Duration::from_millis(1)).await;
            return Err(TransportError::Unreachable(to.to_owned()));
        }
        self.broken().await
    }

    /// A connection that breaks some time after it fell silent.
    async fn broken(&self) -> Result<Vec<u8>, TransportError> {
        tokio::time::sleep(Duration::from_millis(self.random.below(1_500))).await;
        Err(TransportError::Broken("the connection fell silent".to_owned()))
    }
}

/// The network as one life of a server sees it.
pub struct Wire {
    /// The server.
    pub from: String,
    /// Ends this life.
    pub gone: Arc<Gone>,
    /// The network.
    pub wires: Wires,
}

impl Transport for Wire {
    fn call<'a>(&'a self, target: &'a Server, rpc: Rpc, body: Vec<u8>) -> Answering<'a> {
        Box::pin(async move {
            // What is left of a server that crashed says nothing any more.
            self.gone
                .unless(self.wires.send(&self.from, &target.id, rpc, body))
                .await
                .unwrap_or_else(|| Err(TransportError::Unreachable("this server is gone".to_owned())))
        })
    }
}
