//! What a pool is told at start: who we are, how fast it runs, whom it lets in.
//!
//! Owns the timing profiles and the formulas that turn a pool's size into
//! times and counts. The numbers are those Consul publishes for its LAN and
//! WAN pools; the formulas are memberlist's. Never looks at a member.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::keyring::KeyRing;
use super::member::{NodeId, Tags};

/// The size of the largest datagram sent, in bytes, everything included.
pub const DATAGRAM_BYTES_MAX: usize = 1400;

/// The longest label of a pool, in bytes.
pub const LABEL_BYTES_MAX: usize = 64;

/// The largest user event (name, payload and filters together) in bytes, unless configured.
pub const EVENT_BYTES_DEFAULT: usize = 512;

/// The largest limit of a user event that still fits a datagram beside everything else.
pub const EVENT_BYTES_LIMIT: usize = 1000;

/// How long failed and left members are remembered, unless configured: 72 hours, as Consul documents.
pub const RECONNECT_TIMEOUT: Duration = Duration::from_secs(72 * 3600);

/// Everything [`Gossip`](super::Gossip) needs at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our node name: unique in the pool.
    pub name: Arc<str>,
    /// Our node id.
    pub id: NodeId,
    /// The address others reach us at, by datagram and by stream.
    pub address: SocketAddr,
    /// What we say about ourselves.
    pub tags: Tags,
    /// Where our incarnation starts: the wall clock in milliseconds, so that a restarted agent outbids what the
    /// pool remembers of it. A clock that went back costs one refutation.
    pub incarnation: u64,
    /// The pool: packets with another label are refused. At most [`LABEL_BYTES_MAX`] bytes. For example `lan.dc1`.
    pub label: String,
    /// How fast the pool runs.
    pub timing: Timing,
    /// Networks members may come from; empty lets everyone in.
    pub allowed: Vec<Network>,
    /// The keys; empty sends and accepts plain packets.
    pub keys: KeyRing,
    /// Refuses packets that are not encrypted while there are keys. Off only while encryption is rolled out.
    pub verify_incoming: bool,
    /// Encrypts what is sent while there are keys. Off only while encryption is rolled out.
    pub verify_outgoing: bool,
    /// How long a failed member is remembered and tried again.
    pub reconnect_timeout: Duration,
    /// How long a member that left is remembered.
    pub tombstone_timeout: Duration,
    /// The largest user event in bytes; at most [`EVENT_BYTES_LIMIT`].
    pub event_bytes_max: usize,
}

impl Config {
    /// A member of an open LAN pool with Consul's defaults.
    pub fn lan(name: &str, id: NodeId, address: SocketAddr, label: &str) -> Config {
        Config {
            name: name.into(),
            id,
            address,
            tags: Tags::default(),
            incarnation: 1,
            label: label.to_owned(),
            timing: Timing::LAN,
            allowed: Vec::new(),
            keys: KeyRing::default(),
            verify_incoming: true,
            verify_outgoing: true,
            reconnect_timeout: RECONNECT_TIMEOUT,
            tombstone_timeout: RECONNECT_TIMEOUT,
            event_bytes_max: EVENT_BYTES_DEFAULT,
        }
    }

    /// Whether a member or a sender may have this address.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.allowed.is_empty() || self.allowed.iter().any(|network| network.contains(address))
    }
}

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network `text` names, such as `10.0.0.0/8` or `fd00::/8`.
    ///
    /// # Errors
    /// The text, when it is not an address, a slash and a prefix length that the address has room for.
    pub fn parse(text: &str) -> Result<Network, String> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let address: IpAddr = address.parse().ok()?;
            let prefix: u8 = prefix.parse().ok()?;
            let bits = if address.is_ipv4() { 32 } else { 128 };
            (prefix <= bits).then_some(Network { address, prefix })
        });
        parsed.ok_or_else(|| format!("invalid CIDR address: {text}"))
    }

    /// Whether `address` is of this network. IPv4 addresses written as IPv6 count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                same_prefix(ours.to_bits().into(), theirs.to_bits().into(), self.prefix, 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same_prefix(ours.to_bits(), theirs.to_bits(), self.prefix, 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn same_prefix(ours: u128, theirs: u128, prefix: u8, bits: u8) -> bool {
    let ignored = u32::from(bits.saturating_sub(prefix));
    ((ours ^ theirs).checked_shr(ignored)).unwrap_or(0) == 0
}

/// How fast a pool runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time between two probes.
    pub probe_interval: Duration,
    /// How long a probe waits before others and a stream are asked to help.
    pub probe_timeout: Duration,
    /// How many others are asked to probe for us.
    pub indirect_probes: usize,
    /// Times the base suspicion time.
    pub suspicion_mult: u32,
    /// A suspicion nobody confirms lasts this many times the shortest one.
    pub suspicion_max_mult: u32,
    /// Times the logarithm of the pool: how often a rumour is passed on.
    pub retransmit_mult: u32,
    /// Time between two rounds of gossip while there are rumours.
    pub gossip_interval: Duration,
    /// How many members hear of a round.
    pub gossip_nodes: usize,
    /// How long a failed member is still told the rumours, so that it can object.
    pub gossip_to_dead: Duration,
    /// Time between two full exchanges in a small pool.
    pub exchange_interval: Duration,
    /// How long a stream may take.
    pub stream_timeout: Duration,
    /// The worst local health: timeouts grow up to this many times.
    pub awareness_max: u32,
    /// Time between two attempts to reach a failed member.
    pub reconnect_interval: Duration,
    /// How long a failed member's name is refused to another node id.
    pub reclaim_after: Duration,
    /// How long the pool is given to hear that we leave.
    pub leave_timeout: Duration,
}

impl Timing {
    /// Consul's LAN pool.
    pub const LAN: Timing = Timing {
        probe_interval: Duration::from_secs(1),
        probe_timeout: Duration::from_millis(500),
        indirect_probes: 3,
        suspicion_mult: 4,
        suspicion_max_mult: 6,
        retransmit_mult: 4,
        gossip_interval: Duration::from_millis(200),
        gossip_nodes: 3,
        gossip_to_dead: Duration::from_secs(30),
        exchange_interval: Duration::from_secs(30),
        stream_timeout: Duration::from_secs(10),
        awareness_max: 8,
        reconnect_interval: Duration::from_secs(30),
        reclaim_after: Duration::from_secs(30),
        leave_timeout: Duration::from_secs(5),
    };

    /// Consul's WAN pool.
    pub const WAN: Timing = Timing {
        probe_interval: Duration::from_secs(5),
        probe_timeout: Duration::from_secs(3),
        suspicion_mult: 6,
        gossip_interval: Duration::from_millis(500),
        gossip_nodes: 4,
        gossip_to_dead: Duration::from_secs(60),
        exchange_interval: Duration::from_secs(60),
        stream_timeout: Duration::from_secs(30),
        ..Timing::LAN
    };

    /// The shortest time from suspicion to failure in a pool of `members`.
    pub fn suspicion_min(&self, members: usize) -> Duration {
        let scale = (members.max(1) as f64).log10().max(1.0);
        self.probe_interval.mul_f64(f64::from(self.suspicion_mult) * scale)
    }

    /// The time a suspicion nobody confirms takes.
    pub fn suspicion_max(&self, members: usize) -> Duration {
        self.suspicion_min(members) * self.suspicion_max_mult
    }

    /// How many confirmations bring a suspicion down to its shortest; none are expected in a tiny pool.
    pub fn confirmations(&self, members: usize) -> u32 {
        let wanted = self.suspicion_mult.saturating_sub(2);
        if members.saturating_sub(2) < wanted as usize { 0 } else { wanted }
    }

    /// How often a rumour is passed on by each member of a pool of `members`.
    ///
    /// More often than memberlist does in a pool so small that a round reaches all others: there they hear it that many
    /// times each, not all together. Few pass it on, and none of them is left out when packets are lost.
    pub fn retransmissions(&self, members: usize) -> u32 {
        let digits = ((members + 1) as f64).log10().ceil() as u32;
        let others = members.saturating_sub(1);
        let listeners = if others <= self.gossip_nodes { others.max(1) as u32 } else { 1 };
        self.retransmit_mult * digits.max(listeners)
    }

    /// The time between two full exchanges in a pool of `members`: longer in large pools.
    pub fn exchange_every(&self, members: usize) -> Duration {
        const UNSCALED: f64 = 32.0;
        let doublings = ((members.max(1) as f64) / UNSCALED).log2().ceil().max(0.0);
        self.exchange_interval.mul_f64(doublings + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_suspicion_times() {
        let seconds = |members| {
            let (min, max) = (Timing::LAN.suspicion_min(members), Timing::LAN.suspicion_max(members));
            (min.as_secs_f64().round() as u64, max.as_secs_f64().round() as u64)
        };
        let table = [3, 10, 32, 100, 500, 1000, 5000].map(seconds);
        assert_eq!(table, [(4, 24), (4, 24), (6, 36), (8, 48), (11, 65), (12, 72), (15, 89)]);
        assert_eq!(Timing::WAN.suspicion_min(10), Duration::from_secs(30));
    }

    #[test]
    fn published_counts() {
        assert_eq!([5, 8, 9, 99, 100, 1000].map(|members| Timing::LAN.retransmissions(members)), [4, 4, 4, 8, 12, 16]);
        assert_eq!([1, 3, 4, 100].map(|members| Timing::LAN.confirmations(members)), [0, 0, 2, 2]);
        let every = [32, 33, 64, 65, 1000].map(|members| Timing::LAN.exchange_every(members).as_secs());
        assert_eq!(every, [30, 60, 60, 90, 180]);
    }

    #[test]
    fn a_tiny_pool_hears_everything_four_times_each() {
        assert_eq!([1, 2, 3, 4].map(|members| Timing::LAN.retransmissions(members)), [4, 4, 8, 12]);
    }

    #[test]
    fn networks_contain_what_they_name() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/32", "10.1.2.3", true),
            ("10.1.2.3/32", "10.1.2.2", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "fd00::1", false),
            ("fd00::/8", "fdff::1", true),
            ("::/0", "fe80::1", true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
        ];
        for (network, address, expected) in cases {
            let network = Network::parse(network).unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{network:?} {address}");
        }
    }

    #[test]
    fn networks_that_are_none() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "fd00::/129", "x/8", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(text), Err(format!("invalid CIDR address: {text}")));
        }
    }
}
