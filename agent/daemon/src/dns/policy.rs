//! A DNS policy as a client agent sends it to servers along with a question.
//!
//! Holds what answers depend on. Whom a client asks beyond the domain stays with the
//! client: a server never contacts an address that came this way. Fields are
//! only appended.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_core::dns::DnsConfig;
use agent_core::dns::config::SoaConfig;
use serde::{Deserialize, Serialize};

/// The largest policy that is sent or read, in bytes: a thousand services with TTLs of their own.
pub const POLICY_BYTES_MAX: usize = 32 << 10;

/// The longest domain, in bytes: what is left of a name when the shortest label stands in front.
const DOMAIN_BYTES_MAX: usize = 251;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Wire {
    domain: String,
    alt_domain: String,
    only_passing: bool,
    node_ttl_s: u32,
    service_ttl_s: BTreeMap<String, u32>,
    a_record_limit: u64,
    udp_answer_limit: u64,
    enable_truncate: bool,
    disable_compression: bool,
    node_meta_txt: bool,
    soa_s: [u32; 4],
    recursion: bool,
}

/// What a server knows of a client's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How to answer. Without recursors.
    pub config: DnsConfig,
    /// The client has recursors.
    pub recursion: bool,
}

/// The bytes of a policy. One that is too large loses the TTLs of its services, and the log says so.
pub fn encode(config: &DnsConfig) -> Arc<[u8]> {
    let bytes = bytes(config, config.service_ttl_s.clone());
    if bytes.len() <= POLICY_BYTES_MAX {
        return bytes.into();
    }
    tracing::warn!(
        "dns_config.service_ttl is larger than the {POLICY_BYTES_MAX} bytes that a client sends to its servers, and is \
         not used: give TTLs to prefixes instead"
    );
    self::bytes(config, BTreeMap::new()).into()
}

fn bytes(config: &DnsConfig, service_ttl_s: BTreeMap<String, u32>) -> Vec<u8> {
    let soa = config.soa;
    let wire = Wire {
        domain: config.domain.clone(),
        alt_domain: config.alt_domain.clone(),
        only_passing: config.only_passing,
        node_ttl_s: config.node_ttl_s,
        service_ttl_s,
        a_record_limit: config.a_record_limit as u64,
        udp_answer_limit: config.udp_answer_limit as u64,
        enable_truncate: config.enable_truncate,
        disable_compression: config.disable_compression,
        node_meta_txt: config.node_meta_txt,
        soa_s: [soa.refresh_s, soa.retry_s, soa.expire_s, soa.min_ttl_s],
        recursion: !config.recursors.is_empty(),
    };
    postcard::to_stdvec(&wire).expect("a policy has no type it refuses")
}

/// Reads a policy.
///
/// # Errors
/// It is too large or makes no sense; the text says why.
pub fn decode(bytes: &[u8]) -> Result<Policy, String> {
    if bytes.len() > POLICY_BYTES_MAX {
        return Err(format!("the dns policy is larger than {POLICY_BYTES_MAX} bytes"));
    }
    let wire: Wire = match postcard::take_from_bytes(bytes) {
        Ok((wire, [])) => wire,
        Ok((_, rest)) => return Err(format!("{} bytes follow the dns policy", rest.len())),
        Err(why) => return Err(format!("the dns policy cannot be read: {why}")),
    };
    if wire.domain.len().max(wire.alt_domain.len()) > DOMAIN_BYTES_MAX {
        return Err(format!("the dns domain is longer than {DOMAIN_BYTES_MAX} bytes"));
    }
    let [refresh_s, retry_s, expire_s, min_ttl_s] = wire.soa_s;
    let limit = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    let config = DnsConfig {
        domain: wire.domain,
        alt_domain: wire.alt_domain,
        only_passing: wire.only_passing,
        node_ttl_s: wire.node_ttl_s,
        service_ttl_s: wire.service_ttl_s,
        a_record_limit: limit(wire.a_record_limit),
        udp_answer_limit: limit(wire.udp_answer_limit),
        enable_truncate: wire.enable_truncate,
        disable_compression: wire.disable_compression,
        node_meta_txt: wire.node_meta_txt,
        soa: SoaConfig { refresh_s, retry_s, expire_s, min_ttl_s },
        ..DnsConfig::default()
    };
    Ok(Policy { config, recursion: wire.recursion })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unusual() -> DnsConfig {
        DnsConfig {
            domain: "lictor".to_owned(),
            alt_domain: "alt".to_owned(),
            only_passing: true,
            node_ttl_s: 1,
            service_ttl_s: [("we*".to_owned(), 300)].into(),
            a_record_limit: 2,
            udp_answer_limit: 4,
            enable_truncate: true,
            disable_compression: true,
            node_meta_txt: false,
            soa: SoaConfig { refresh_s: 5, retry_s: 6, expire_s: 7, min_ttl_s: 8 },
            ..DnsConfig::default()
        }
    }

    #[test]
    fn a_policy_arrives_without_the_recursors() {
        let recursors = vec![([127, 0, 0, 1], 53).into()];

        let arrived = decode(&encode(&DnsConfig { recursors, recursor_timeout_ms: 9, ..unusual() }));

        assert_eq!(arrived, Ok(Policy { config: unusual(), recursion: true }));
    }

    #[test]
    fn its_bytes_stay_as_they_are() {
        let bytes = b"\x06lictor\x03alt\x01\x01\x01\x03we*\xac\x02\x02\x04\x01\x01\x00\x05\x06\x07\x08\x00";

        assert_eq!(&encode(&unusual())[..], bytes);
    }

    #[test]
    fn what_is_damaged_or_too_large_is_refused() {
        let sound = encode(&unusual());
        let long = encode(&DnsConfig { domain: "x".repeat(252), ..DnsConfig::default() });
        for (bytes, why) in [
            (&sound[..sound.len() - 1], "the dns policy cannot be read: "),
            (&[&sound[..], &[0]].concat(), "1 bytes follow the dns policy"),
            (&long, "the dns domain is longer than 251 bytes"),
            (&vec![0; POLICY_BYTES_MAX + 1], "the dns policy is larger than 32768 bytes"),
        ] {
            let refused = decode(bytes).expect_err(why);
            assert!(refused.starts_with(why), "{refused}");
        }
    }

    #[test]
    fn what_would_be_too_large_is_sent_without_the_ttls_of_services() {
        let service_ttl_s = (0..5_000).map(|number| (format!("service-{number}"), 1)).collect();

        let arrived = decode(&encode(&DnsConfig { service_ttl_s, ..unusual() })).expect("it is small enough");

        assert_eq!(arrived.config, DnsConfig { service_ttl_s: BTreeMap::new(), ..unusual() });
    }
}
