//! The servers of a simulated cluster: their disks, clocks and lives.
//!
//! Owns who is up. A crash ends a life at once: its disk keeps a random part of
//! what was not flushed, its messages and those who wait inside it are gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_core::state::State;
use agent_core::store::Store;
use agent_daemon::env::{Disks, Random};
use agent_raft::{Config, Consensus, Server, Timing};

use super::gone::Gone;
use super::wires::{Wire, Wires};
use crate::disk::{SimDisks, Speed};
use crate::outside::SimRandom;
use crate::trace::Trace;

/// How long a request waits for a leader.
const HOLD_TIME: Duration = Duration::from_secs(1);

/// One life of a server.
#[derive(Clone)]
pub struct Life {
    /// Whose it is.
    pub id: String,
    /// The handle.
    pub consensus: Consensus,
    /// What it has applied.
    pub store: Arc<Store>,
    /// When it ends.
    pub gone: Arc<Gone>,
}

enum Standing {
    Down,
    Booting,
    Up(Life),
}

struct Host {
    disks: SimDisks,
    timing: Timing,
    standing: Standing,
}

/// All servers of one simulation. Cheap to clone.
#[derive(Clone)]
pub struct Servers {
    random: SimRandom,
    trace: Trace,
    wires: Wires,
    hosts: Arc<Mutex<BTreeMap<String, Host>>>,
    unreadable: Arc<Mutex<Vec<String>>>,
}

impl Servers {
    /// `count` hosts with empty disks. Their clocks differ in speed by up to a tenth.
    pub fn new(count: usize, random: &SimRandom, wires: &Wires, trace: &Trace, disks_lie: bool) -> Self {
        let hosts = (0..count).map(|number| {
            let disks = SimDisks::new(random.clone());
            if disks_lie {
                disks.lie();
            }
            let timing = timing(90 + u32::try_from(random.below(21)).expect("below 21"));
            (format!("s{number}"), Host { disks, timing, standing: Standing::Down })
        });
        let hosts = Arc::new(Mutex::new(hosts.collect()));
        Servers {
            random: random.clone(),
            trace: trace.clone(),
            wires: wires.clone(),
            hosts,
            unreadable: Arc::default(),
        }
    }

    fn hosts(&self) -> MutexGuard<'_, BTreeMap<String, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What servers found that did not start. A crash must leave a disk that can be read.
    pub fn unreadable(&self) -> MutexGuard<'_, Vec<String>> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every server's id.
    pub fn ids(&self) -> Vec<String> {
        self.hosts().keys().cloned().collect()
    }

    /// A server as others name it.
    pub fn server(id: &str) -> Server {
        let number: u8 = id.trim_start_matches('s').parse().expect("ids are numbered");
        Server { id: id.to_owned(), node: id.to_owned(), address: ([10, 0, 0, number + 1], 8300).into(), voter: true }
    }

    /// Those that are up, in order.
    pub fn up(&self) -> Vec<(String, Life)> {
        let hosts = self.hosts();
        let lives = hosts.iter().filter_map(|(id, host)| match &host.standing {
            Standing::Up(life) => Some((id.clone(), life.clone())),
            Standing::Down | Standing::Booting => None,
        });
        lives.collect()
    }

    /// Those that are down, in order.
    pub fn down(&self) -> Vec<String> {
        let hosts = self.hosts();
        hosts.iter().filter(|(_, host)| matches!(host.standing, Standing::Down)).map(|(id, _)| id.clone()).collect()
    }

    /// One that is up, chosen by the seed.
    pub fn any(&self) -> Option<(String, Life)> {
        let up = self.up();
        if up.is_empty() {
            return None;
        }
        let place = usize::try_from(self.random.below(up.len() as u64)).expect("a small number");
        up.into_iter().nth(place)
    }

    /// Changes how long a server's flushes take.
    pub fn set_speed(&self, id: &str, speed: Speed) {
        if let Some(host) = self.hosts().get(id) {
            host.disks.set_speed(speed);
        }
    }

    /// Starts a server that is down on whatever its disk holds. One that does not start is told of in [`Servers::unreadable`].
    ///
    /// # Panics
    /// When a simulated disk does not open.
    pub async fn boot(&self, id: &str) {
        let (disks, timing) = {
            let mut hosts = self.hosts();
            let Some(host) = hosts.get_mut(id).filter(|host| matches!(host.standing, Standing::Down)) else { return };
            host.standing = Standing::Booting;
            (host.disks.clone(), host.timing)
        };
        let (gone, store, ids) =
            (Arc::new(Gone::default()), Arc::new(Store::new(State::default())), self.random.clone());
        let config = Config {
            server: Self::server(id),
            bootstrap: false,
            timing,
            hold_time: HOLD_TIME,
            disk: disks.open(None).await.expect("simulated disks open"),
            transport: Arc::new(Wire { from: id.to_owned(), gone: gone.clone(), wires: self.wires.clone() }),
            store: store.clone(),
            stamp: Arc::new(move || (u128::from(ids.u64()), ids.below(1_000_000))),
        };
        let consensus = match Consensus::start(config).await {
            Ok(consensus) => consensus,
            Err(error) => {
                self.trace.note(format_args!("{id} does not start: {error}"));
                self.unreadable().push(format!("restart: {id} does not start on what a crash left: {error}"));
                return;
            }
        };
        self.trace.note(format_args!("{id} is up"));
        self.wires.plug(id, consensus.clone());
        tokio::spawn(watch_for_the_end(self.clone(), id.to_owned(), consensus.clone(), gone.clone()));
        let life = Life { id: id.to_owned(), consensus, store, gone };
        if let Some(host) = self.hosts().get_mut(id) {
            host.standing = Standing::Up(life);
        }
    }

    /// Cuts a server's power.
    pub fn crash(&self, id: &str) {
        let life = {
            let mut hosts = self.hosts();
            let Some(host) = hosts.get_mut(id) else { return };
            // Who boots cannot crash in this world.
            let Standing::Up(life) = &host.standing else { return };
            let life = life.clone();
            host.standing = Standing::Down;
            life
        };
        self.trace.note(format_args!("{id} crashes"));
        life.gone.say();
        self.wires.unplug(id);
        let disks = self.hosts().get(id).map(|host| host.disks.clone());
        if let Some(disks) = disks {
            disks.crash();
        }
    }
}

/// An agent whose Raft stops by itself exits, and is started again by whoever supervises it.
async fn watch_for_the_end(servers: Servers, id: String, consensus: Consensus, gone: Arc<Gone>) {
    if let Some(why) = gone.unless(consensus.stopped()).await {
        servers.trace.note(format_args!("{id} stopped: {why}"));
        drop(consensus);
        servers.crash(&id);
    }
}

/// Default timing on a clock that counts `percent` hundredths of a second each second.
fn timing(percent: u32) -> Timing {
    let Timing { heartbeat, election_min, election_max } = Timing::default();
    let scaled = |time: Duration| Duration::from_millis(u64::from((time * percent / 100).subsec_millis()));
    Timing { heartbeat: scaled(heartbeat), election_min: scaled(election_min), election_max: scaled(election_max) }
}
