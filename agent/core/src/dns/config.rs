//! What an operator decides about DNS answers. Plain values; reading them is the daemon's business.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The DNS policy. `Default` is Consul's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// The domain answered for, lower case, without dots at its ends.
    pub domain: String,
    /// A second domain answered for; empty for none. Answers point into `domain`.
    pub alt_domain: String,
    /// Leave out instances with warnings, too.
    pub only_passing: bool,
    /// TTL of node answers, in seconds.
    pub node_ttl_s: u32,
    /// TTL of service answers in seconds, by service name, by prefix followed by `*`, or `*`; lower case.
    pub service_ttl_s: BTreeMap<String, u32>,
    /// The most addresses in an answer; zero for no limit.
    pub a_record_limit: usize,
    /// The most answers over UDP without EDNS. Never more than [`super::trim::UDP_ANSWERS_MAX`].
    pub udp_answer_limit: usize,
    /// Say so in the header when answers were left out.
    pub enable_truncate: bool,
    /// Write every name in full.
    pub disable_compression: bool,
    /// Add node metadata as TXT records to answers that were not asked for TXT.
    pub node_meta_txt: bool,
    /// Timers of the SOA record.
    pub soa: SoaConfig,
    /// Who is asked for names outside the domains.
    pub recursors: Vec<SocketAddr>,
    /// In which order recursors are asked.
    pub recursor_strategy: RecursorStrategy,
    /// How long one recursor is waited for, in milliseconds.
    pub recursor_timeout_ms: u64,
}

/// In which order recursors are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecursorStrategy {
    /// As written.
    #[default]
    Sequential,
    /// Shuffled for every question.
    Random,
}

/// Timers of the SOA record, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoaConfig {
    /// How often secondaries look.
    pub refresh_s: u32,
    /// How soon they retry.
    pub retry_s: u32,
    /// When they give up.
    pub expire_s: u32,
    /// How long a negative answer may be kept; the TTL of the record, too.
    pub min_ttl_s: u32,
}

impl Default for DnsConfig {
    fn default() -> Self {
        DnsConfig {
            domain: "consul".to_owned(),
            alt_domain: String::new(),
            only_passing: false,
            node_ttl_s: 0,
            service_ttl_s: BTreeMap::new(),
            a_record_limit: 0,
            udp_answer_limit: 3,
            enable_truncate: false,
            disable_compression: false,
            node_meta_txt: true,
            soa: SoaConfig { refresh_s: 3600, retry_s: 600, expire_s: 86_400, min_ttl_s: 0 },
            recursors: Vec::new(),
            recursor_strategy: RecursorStrategy::Sequential,
            recursor_timeout_ms: 2_000,
        }
    }
}

impl DnsConfig {
    /// The TTL of a service's answers: its own, else that of the longest prefix, in seconds.
    pub fn service_ttl_s(&self, service: &str) -> u32 {
        if self.service_ttl_s.is_empty() {
            return 0;
        }
        let service = service.to_ascii_lowercase();
        if let Some(ttl) = self.service_ttl_s.get(&service) {
            return *ttl;
        }
        let prefixes = self.service_ttl_s.iter().filter_map(|(pattern, ttl)| Some((pattern.strip_suffix('*')?, *ttl)));
        let matching = prefixes.filter(|(prefix, _)| service.starts_with(prefix));
        matching.max_by_key(|(prefix, _)| prefix.len()).map_or(0, |(_, ttl)| ttl)
    }
}
