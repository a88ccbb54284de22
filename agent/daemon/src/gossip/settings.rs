//! What a pool is started with, from the agent's configuration.
//!
//! Owns the tags by which Consul's agents know each other. Reads no files.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use agent_core::gossip::config::RECONNECT_TIMEOUT;
use agent_core::gossip::{self, Key, KeyRing, Network, NodeId, Tags, Timing};

use super::files::Files;
use crate::http::API_VERSION;
use crate::roster::CLUSTER_TAG;

/// Addresses that are tried until one answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryJoin {
    /// Hosts, with or without a port.
    pub addresses: Vec<String>,
    /// Time between two attempts.
    pub interval: Duration,
    /// How many attempts may fail; zero never gives up.
    pub attempts_max: u32,
}

/// Who a member says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The node name.
    pub name: String,
    /// The node id, a UUID in text form.
    pub id: String,
    /// The data centre.
    pub datacenter: String,
    /// The port of its RPC when it is a server.
    pub server_port: Option<u16>,
    /// Whether it may elect itself.
    pub bootstrap: bool,
    /// How many servers it waits for; zero when it does not.
    pub expect: u32,
    /// The cluster it is a member of.
    pub cluster: Option<u128>,
}

impl Identity {
    /// What it says about itself: the tags of Consul's agents. The protocol versions are those Consul's clients expect
    /// to see.
    pub fn tags(&self) -> BTreeMap<String, String> {
        let mut tags = BTreeMap::new();
        let mut set = |name: &str, value: String| tags.insert(name.to_owned(), value);
        set("acls", "0".to_owned());
        set("build", format!("{API_VERSION}:"));
        set("dc", self.datacenter.clone());
        set("id", self.id.clone());
        set("segment", String::new());
        set("vsn", "2".to_owned());
        set("vsn_max", "3".to_owned());
        set("vsn_min", "2".to_owned());
        match self.server_port {
            Some(port) => {
                set("role", "consul".to_owned());
                set("port", port.to_string());
                set("raft_vsn", "3".to_owned());
            }
            None => {
                set("role", "node".to_owned());
            }
        }
        if self.bootstrap {
            set("bootstrap", "1".to_owned());
        }
        if let Some(cluster) = self.cluster {
            set(CLUSTER_TAG, format!("{cluster:032x}"));
        }
        if self.expect > 0 {
            set("expect", self.expect.to_string());
        }
        tags
    }
}

/// The settings of one pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Who we are.
    pub identity: Identity,
    /// Where to listen; port zero lets the system choose.
    pub bind: SocketAddr,
    /// Where others reach us; port zero is the one that is listened on.
    pub advertise: SocketAddr,
    /// How fast the pool runs.
    pub timing: Timing,
    /// Networks members may come from; empty lets everyone in.
    pub allowed: Vec<Network>,
    /// The key of `encrypt`, used until there is a file of keys.
    pub key: Option<Key>,
    /// Refuses plain packets while there are keys.
    pub verify_incoming: bool,
    /// Seals what is sent while there are keys.
    pub verify_outgoing: bool,
    /// How long failed members are remembered.
    pub reconnect_timeout: Duration,
    /// Where keys and peers are kept; `None` keeps nothing.
    pub data_dir: Option<PathBuf>,
    /// Whether keys are kept in a file.
    pub keyring_file: bool,
    /// Joins its peers again although it left.
    pub rejoin_after_leave: bool,
    /// Addresses to join at the start; the agent does not start if none answers.
    pub start_join: Vec<String>,
    /// Addresses to join as soon as one answers.
    pub retry_join: RetryJoin,
}

impl Settings {
    /// A member that listens at `address`, tells nobody and keeps nothing, with Consul's times.
    pub fn lan(identity: Identity, address: SocketAddr) -> Settings {
        Settings {
            identity,
            bind: address,
            advertise: address,
            timing: Timing::LAN,
            allowed: Vec::new(),
            key: None,
            verify_incoming: true,
            verify_outgoing: true,
            reconnect_timeout: RECONNECT_TIMEOUT,
            data_dir: None,
            keyring_file: true,
            rejoin_after_leave: false,
            start_join: Vec::new(),
            retry_join: RetryJoin { addresses: Vec::new(), interval: Duration::from_secs(30), attempts_max: 0 },
        }
    }

    /// Where its files are.
    pub(super) fn files(&self) -> Option<Files> {
        self.data_dir.as_deref().map(Files::below)
    }

    /// What the machine is told.
    pub(super) fn machine(&self, bound: SocketAddr, keys: KeyRing, wall_ms: u64) -> gossip::Config {
        let Identity { name, id, datacenter, .. } = &self.identity;
        let id = uuid::Uuid::parse_str(id).unwrap_or_default().as_u128();
        let port = if self.advertise.port() == 0 { bound.port() } else { self.advertise.port() };
        let address = SocketAddr::new(self.advertise.ip(), port);
        let tags = Tags::new(self.identity.tags()).unwrap_or_else(|error| {
            // Only a very long name of a data centre makes them too large; without tags nobody knows what we are.
            tracing::error!(%error, "the tags of this agent do not fit: choose a shorter name for the data centre");
            Tags::default()
        });
        gossip::Config {
            tags,
            incarnation: wall_ms,
            timing: self.timing,
            allowed: self.allowed.clone(),
            keys,
            verify_incoming: self.verify_incoming,
            verify_outgoing: self.verify_outgoing,
            reconnect_timeout: self.reconnect_timeout,
            tombstone_timeout: self.reconnect_timeout,
            ..gossip::Config::lan(name, NodeId(id), address, &format!("lan.{datacenter}"))
        }
    }
}
