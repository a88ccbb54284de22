//! Keeps an answer within what the client can take.
//!
//! Answers are left out from the end (their order is random anyway), and with
//! them the additional records that only they point to. What stands in the
//! additional section for a trimmed answer is one record per name, as in Consul.

use std::collections::BTreeMap;

use super::config::DnsConfig;
use super::record::{Answer, Data, Owner, Record};

/// However high `udp_answer_limit` is, no more answers go over UDP without EDNS.
pub const UDP_ANSWERS_MAX: usize = 8;

/// The largest UDP packet without EDNS, in bytes (RFC 1035).
pub const UDP_BYTES: usize = 512;

/// Pointer, type, class, TTL and length: no record takes fewer bytes.
pub const RECORD_BYTES_MIN: usize = 12;

/// What the client can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The largest packet, in bytes.
    pub bytes_max: usize,
    /// The most answers.
    pub answers_max: usize,
}

impl Room {
    /// What a question over UDP leaves: `edns_bytes` is the payload size of its OPT record.
    pub fn udp(config: &DnsConfig, edns_bytes: Option<u16>) -> Room {
        let bytes_max = edns_bytes.map_or(UDP_BYTES, |bytes| usize::from(bytes).max(UDP_BYTES));
        // A datagram holds less than 64 KiB.
        let bytes_max = bytes_max.min(usize::from(u16::MAX) - 68);
        let limited = bytes_max == UDP_BYTES;
        let answers_max = if limited { config.udp_answer_limit.min(UDP_ANSWERS_MAX) } else { usize::MAX };
        Room { bytes_max, answers_max }
    }

    /// What a question over TCP leaves.
    pub fn tcp() -> Room {
        Room { bytes_max: usize::from(u16::MAX), answers_max: usize::MAX }
    }
}

/// Leaves out what does not fit. `measure` is the size of the encoded packet in bytes; it is asked at most once for
/// an answer that fits, and logarithmically often otherwise.
pub fn trim(answer: &mut Answer, room: Room, config: &DnsConfig, mut measure: impl FnMut(&Answer) -> usize) {
    if !answer.trims {
        return;
    }
    let had = answer.answers.len();
    // No record takes less than its fixed part, so what is surely too much is never encoded.
    let mut count = had.min(room.answers_max).min(room.bytes_max / RECORD_BYTES_MIN);
    if count < had {
        *answer = cut(answer, count);
    }
    if count > 1 && measure(answer) > room.bytes_max {
        // At least one answer stays, whatever its size.
        let (mut fits, mut too_many) = (1, count);
        while fits + 1 < too_many {
            let middle = fits.midpoint(too_many);
            if measure(&cut(answer, middle)) <= room.bytes_max {
                fits = middle;
            } else {
                too_many = middle;
            }
        }
        count = fits;
        *answer = cut(answer, count);
    }
    answer.truncated = config.enable_truncate && count < had;
}

/// The first `count` answers with what they point to.
fn cut(answer: &Answer, count: usize) -> Answer {
    let mut behind: BTreeMap<&str, &Record> = BTreeMap::new();
    for record in &answer.additionals {
        if let Owner::Name(name) = &record.owner {
            behind.entry(name).or_insert(record);
        }
    }
    let answers = answer.answers[..count].to_vec();
    let mut additionals = Vec::new();
    for mut record in &answer.answers[..count] {
        // Taking what was pointed to out of the map ends every chain.
        while let Some(next) = target(record).and_then(|name| behind.remove(name)) {
            additionals.push(next.clone());
            record = next;
        }
    }
    Answer {
        code: answer.code,
        authoritative: answer.authoritative,
        truncated: answer.truncated,
        trims: answer.trims,
        answers,
        authorities: answer.authorities.clone(),
        additionals,
        unresolved: answer.unresolved.clone(),
    }
}

fn target(record: &Record) -> Option<&str> {
    match &record.data {
        Data::Srv { target, .. } => Some(target),
        Data::Cname(target) => Some(target),
        Data::A(_) | Data::Aaaa(_) | Data::Txt(_) | Data::Ns(_) | Data::Soa { .. } | Data::Ptr(_) => None,
    }
}
