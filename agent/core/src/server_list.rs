//! Which server a client agent asks, and which one next.
//!
//! Servers come from gossip. Each client has an order of its own, so that the
//! clients of a data centre spread over the servers without talking about it;
//! a server that did not answer goes to the end until the order is made afresh.
//! Asks nobody itself: `daemon/src/client` does.

use std::net::SocketAddr;
use std::time::Duration;

use crate::Instant;
use crate::autopilot::Candidate;
use crate::reconcile::Presence;

/// How long a server that did not answer stays at the end, and how often clients spread again over servers that came
/// back (Consul rebalances every two minutes or more).
pub const REBALANCE_EVERY: Duration = Duration::from_secs(120);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The servers of our data centre that gossip knows.
    Servers(Vec<Candidate>),
    /// This one could not be reached, or could not answer.
    Failed(SocketAddr),
    /// Time has passed.
    Tick,
}

/// What has to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// There is a server now that was not there before: what this agent registered may be new to it.
    Appeared(SocketAddr),
    /// This server is gone: nothing is to be expected from it any more.
    Gone(SocketAddr),
}

/// The servers of a data centre in one client's order.
#[derive(Clone, Debug)]
pub struct ServerList {
    seed: u64,
    /// The first one is asked first.
    order: Vec<Entry>,
    rebalance_at: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    address: SocketAddr,
    /// Gossip hears it.
    is_alive: bool,
    /// It is a member of the cluster that most servers are members of, so it can answer.
    is_member: bool,
    has_failed: bool,
    /// Its place in this client's order.
    place: u64,
}

impl Entry {
    /// Whom gossip hears comes first, of those the members of the cluster, of those whoever did not fail.
    fn rank(&self) -> (bool, bool, bool, u64, SocketAddr) {
        let Entry { address, is_alive, is_member, has_failed, place } = self;
        (!is_alive, !is_member, *has_failed, *place, *address)
    }
}

impl ServerList {
    /// A list of nobody. `seed` makes its order another one than that of other clients.
    pub fn new(seed: u64) -> ServerList {
        ServerList { seed, order: Vec::new(), rebalance_at: None }
    }

    /// Takes in one input.
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Output> {
        match input {
            Input::Servers(candidates) => self.replace(&candidates),
            Input::Failed(address) => {
                self.fail(now, address);
                Vec::new()
            }
            Input::Tick => {
                if self.rebalance_at.is_some_and(|at| at <= now) {
                    self.rebalance_at = None;
                    self.order.iter_mut().for_each(|entry| entry.has_failed = false);
                    self.sort();
                }
                Vec::new()
            }
        }
    }

    /// When to step again, and why.
    pub fn deadline(&self) -> Option<(Instant, &'static str)> {
        self.rebalance_at.map(|at| (at, "servers that failed may be asked again"))
    }

    /// The servers, the one to ask first in front. Those that gossip does not hear are the last resort.
    pub fn order(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.order.iter().map(|entry| entry.address)
    }

    /// Whether gossip hears of this server.
    pub fn is_alive(&self, address: SocketAddr) -> bool {
        self.order.iter().any(|entry| entry.address == address && entry.is_alive)
    }

    /// How many servers gossip hears of.
    pub fn alive(&self) -> usize {
        self.order.iter().filter(|entry| entry.is_alive).count()
    }

    fn replace(&mut self, candidates: &[Candidate]) -> Vec<Output> {
        let cluster = cluster_of_most(candidates);
        let staying = candidates.iter().filter(|candidate| candidate.server.presence != Presence::Gone);
        let old = std::mem::take(&mut self.order);
        self.order = staying
            .map(|candidate| {
                let address = candidate.server.address;
                Entry {
                    address,
                    is_alive: candidate.server.presence == Presence::Alive,
                    is_member: candidate.cluster.is_some() && candidate.cluster == cluster,
                    has_failed: old.iter().any(|entry| entry.address == address && entry.has_failed),
                    place: place(self.seed, &candidate.server.id),
                }
            })
            .collect();
        self.sort();
        let is_in = |list: &[Entry], wanted: &Entry| {
            list.iter().any(|entry| entry.address == wanted.address && entry.is_alive && entry.is_member)
        };
        let appeared = self.order.iter().filter(|entry| entry.is_alive && entry.is_member && !is_in(&old, entry));
        let alive =
            |list: &[Entry], wanted: &Entry| list.iter().any(|entry| entry.address == wanted.address && entry.is_alive);
        let gone = old.iter().filter(|entry| entry.is_alive && !alive(&self.order, entry));
        let outputs = gone.map(|entry| Output::Gone(entry.address));
        outputs.chain(appeared.map(|entry| Output::Appeared(entry.address))).collect()
    }

    fn fail(&mut self, now: Instant, address: SocketAddr) {
        if let Some(entry) = self.order.iter_mut().find(|entry| entry.address == address) {
            entry.has_failed = true;
            self.rebalance_at.get_or_insert(now + REBALANCE_EVERY);
        }
        // Where all have failed, that says nothing about any of them; whoever failed last still goes last.
        if self.order.iter().all(|entry| entry.has_failed) {
            self.order.iter_mut().for_each(|entry| entry.has_failed = entry.address == address);
        }
        self.sort();
    }

    fn sort(&mut self) {
        self.order.sort_by_key(Entry::rank);
    }
}

/// The cluster that most of the servers say they are members of. Two in one pool are a mistake that is being mended.
fn cluster_of_most(candidates: &[Candidate]) -> Option<u128> {
    let count = |cluster: u128| candidates.iter().filter(|candidate| candidate.cluster == Some(cluster)).count();
    candidates.iter().filter_map(|candidate| candidate.cluster).max_by_key(|cluster| (count(*cluster), *cluster))
}

/// A server's place in the order of the client with this seed: spread evenly, and the same whatever other servers
/// there are (rendezvous hashing, with FNV-1a and the finalizer of SplitMix64).
fn place(seed: u64, id: &str) -> u64 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mut hash = id.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, fnv);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autopilot::Known;

    fn address(place: u8) -> SocketAddr {
        ([10, 0, 0, place], 8300).into()
    }

    fn server(place: u8, presence: Presence, cluster: Option<u128>) -> Candidate {
        let (id, name) = (format!("id-{place}"), format!("s{place}"));
        let server = Known { id, name, address: address(place), presence };
        Candidate { server, expect: 3, bootstrap: false, cluster }
    }

    fn three() -> Vec<Candidate> {
        (1..=3).map(|place| server(place, Presence::Alive, Some(7))).collect()
    }

    fn order(list: &ServerList) -> Vec<SocketAddr> {
        list.order().collect()
    }

    #[test]
    fn clients_spread_over_the_servers() {
        let mut firsts = [0; 4];
        for seed in 0..300 {
            let mut list = ServerList::new(seed);
            list.step(Instant::START, Input::Servers(three()));
            let SocketAddr::V4(first) = order(&list)[0] else { panic!("an IPv4 address") };
            firsts[usize::from(first.ip().octets()[3])] += 1;
        }
        assert!(firsts[1..].iter().all(|count| (70..130).contains(count)), "{firsts:?}");
    }

    #[test]
    fn a_server_that_failed_is_asked_last_until_the_list_is_balanced_again() {
        let mut list = ServerList::new(1);
        list.step(Instant::START, Input::Servers(three()));
        let before = order(&list);

        list.step(Instant::START, Input::Failed(before[0]));
        assert_eq!(order(&list), [before[1], before[2], before[0]]);
        // News of gossip forgive nothing.
        list.step(Instant::START, Input::Servers(three()));
        assert_eq!(order(&list), [before[1], before[2], before[0]]);

        let at = list.deadline().expect("somebody failed").0;
        list.step(at, Input::Tick);
        assert_eq!((order(&list), list.deadline()), (before, None));
    }

    #[test]
    fn where_all_have_failed_whoever_failed_last_is_asked_last() {
        let mut list = ServerList::new(1);
        list.step(Instant::START, Input::Servers(three()));
        let before = order(&list);
        for address in &before {
            list.step(Instant::START, Input::Failed(*address));
        }
        assert_eq!(order(&list), before);
    }

    #[test]
    fn servers_that_gossip_does_not_hear_are_the_last_resort_and_those_that_left_none() {
        let mut list = ServerList::new(1);
        list.step(Instant::START, Input::Servers(three()));
        let first = order(&list)[0];
        let mut servers = three();
        let silent = servers.iter_mut().find(|known| known.server.address == first).expect("it is one of them");
        silent.server.presence = Presence::Failed;

        let outputs = list.step(Instant::START, Input::Servers(servers.clone()));
        assert_eq!(outputs, [Output::Gone(first)]);
        assert_eq!((order(&list)[2], list.alive(), list.is_alive(first)), (first, 2, false));

        servers.retain(|known| known.server.address != first);
        assert_eq!(list.step(Instant::START, Input::Servers(servers)), []);
        assert_eq!(order(&list).len(), 2);
    }

    #[test]
    fn members_of_the_larger_cluster_come_first() {
        let mut list = ServerList::new(1);
        let mut servers = three();
        servers.push(server(4, Presence::Alive, Some(9)));
        servers.push(server(5, Presence::Alive, None));
        let appeared = list.step(Instant::START, Input::Servers(servers));
        assert_eq!(appeared.len(), 3, "{appeared:?}");
        let last: std::collections::BTreeSet<_> = order(&list).into_iter().skip(3).collect();
        assert_eq!(last, [address(4), address(5)].into());
    }
}
