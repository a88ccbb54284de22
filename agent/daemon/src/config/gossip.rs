//! The settings of the LAN pool: keys, whom to join, how fast it runs.
//!
//! Part of `build`; owns nothing but these rules.

use std::time::Duration;

use agent_core::duration;
use agent_core::gossip::config::RECONNECT_TIMEOUT;
use agent_core::gossip::{Network, Timing};

use super::build::Reader;
use super::checked::{Gossip, RetryJoin};
use super::interfaces::Interface;
use super::{ConfigError, address, error_list};
use crate::gossip::decode_key;

/// The shortest time between two acts of a pool; less would only burn the processor.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// Reads them. Mistakes of one value go to the reader.
///
/// # Errors
/// In Consul's words, for values that make no sense.
pub(super) fn config(reader: &mut Reader<'_>, host: &[Interface]) -> Result<Gossip, ConfigError> {
    let document = reader.document;
    let bind = match document.text("serf_lan").filter(|text| !text.is_empty()) {
        Some(text) => address::single("serf_lan", text, host)
            .map_err(|error| reader.mistakes.push(error.to_string().trim_end().to_owned()))
            .ok(),
        None => None,
    };
    let key = match document.text("encrypt").filter(|text| !text.is_empty()) {
        Some(text) => {
            Some(decode_key(text).map_err(|error| ConfigError::new(format!("encrypt has invalid key: {error}")))?)
        }
        None => None,
    };
    let bool = |path: &str, default: bool| document.bool(path).unwrap_or(default);
    Ok(Gossip {
        bind,
        timing: timing(reader),
        allowed: allowed(&document.list("serf_lan_allowed_cidrs"))?,
        key,
        verify_incoming: bool("encrypt_verify_incoming", true),
        verify_outgoing: bool("encrypt_verify_outgoing", true),
        keyring_file: !bool("disable_keyring_file", false),
        reconnect_timeout: reader.duration("reconnect_timeout", nanoseconds(RECONNECT_TIMEOUT)),
        rejoin_after_leave: bool("rejoin_after_leave", false),
        start_join: document.list("start_join"),
        retry_join: RetryJoin {
            addresses: document.list("retry_join"),
            interval: reader.duration("retry_interval", 30 * duration::SECOND).max(INTERVAL_MIN),
            // Consul takes anything below one for never giving up.
            attempts_max: u32::try_from(document.int("retry_max").unwrap_or(0)).unwrap_or(0),
        },
    })
}

fn allowed(texts: &[String]) -> Result<Vec<Network>, ConfigError> {
    let (mut networks, mut mistakes) = (Vec::new(), Vec::new());
    for text in texts {
        match Network::parse(text) {
            Ok(network) => networks.push(network),
            Err(_) => mistakes.push(format!("invalid cidr: {text}")),
        }
    }
    if mistakes.is_empty() {
        return Ok(networks);
    }
    Err(ConfigError::new(format!("serf_lan_allowed_cidrs: {}", error_list(&mistakes))))
}

fn timing(reader: &mut Reader<'_>) -> Timing {
    let lan = Timing::LAN;
    let mut interval = |name: &str, default: Duration| {
        reader.duration(&format!("gossip_lan.{name}"), nanoseconds(default)).max(INTERVAL_MIN)
    };
    let gossip_interval = interval("gossip_interval", lan.gossip_interval);
    let probe_interval = interval("probe_interval", lan.probe_interval);
    let probe_timeout = interval("probe_timeout", lan.probe_timeout);
    let count = |name: &str, default: u32| {
        let number = reader.document.int(&format!("gossip_lan.{name}")).unwrap_or_else(|| i64::from(default));
        u32::try_from(number.clamp(1, 1000)).expect("1 to 1,000")
    };
    Timing {
        gossip_interval,
        probe_interval,
        probe_timeout,
        gossip_nodes: count("gossip_nodes", 3) as usize,
        retransmit_mult: count("retransmit_mult", lan.retransmit_mult),
        suspicion_mult: count("suspicion_mult", lan.suspicion_mult),
        ..lan
    }
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).expect("defaults are far below 292 years")
}
