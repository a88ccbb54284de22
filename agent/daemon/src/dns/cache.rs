//! Answers about services that wait, encoded, for the next question of the same kind.
//!
//! ```text
//! request -> key: flags, counts, question in lower case, OPT record without options
//!   kept, and the service's index is what it was  -> some pieces in random order -> packet
//!   otherwise                                     -> core's shares, encoded      -> kept
//! ```
//!
//! Nothing here outlives a change: the index of a service moves with whatever
//! changes an answer about it, the policy is compared by identity, and what
//! shows the time is kept for a second. Questions without shares, and answers that
//! would have to be shortened, are left to `respond`. Each loop has a cache of its
//! own, bounded in bytes, so there is no lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_core::dns::share::Sequence;
use agent_core::dns::trim::{RECORD_BYTES_MIN, Room};
use agent_core::dns::{Answer, Code, Data, DnsConfig, Share, Shares, View, shares};
use agent_core::state::State;
use agent_core::state::tables::{Index, ServiceName};

use super::packet::{self, Encoding, HEADER_BYTES, Request};
use super::piece::Piece;

/// What a cache may hold, in bytes, with what each entry costs besides its contents. A service of more than about ten
/// thousand instances is looked up for every question.
const CACHE_BYTES_MAX: usize = 2 << 20;

/// An entry besides its contents, roughly.
const ENTRY_BYTES: usize = 256;

/// The largest packet of a client whose answers are kept, in bytes; what EDNS clients usually take is less.
const PACKET_BYTES_MAX: usize = 4096;

/// The bit of the header's third byte that says that answers were left out.
const TRUNCATED: u8 = 0x02;

/// The bytes of an OPT record without options.
const OPT_BYTES: usize = 11;

/// Answers to questions of the same kind, ready but for their order.
pub(super) struct Cache {
    config: Arc<DnsConfig>,
    kept: BTreeMap<Vec<u8>, Kept>,
    size_bytes: usize,
    key: Vec<u8>,
}

/// All that answers to one question are made of.
struct Kept {
    service: ServiceName,
    index: Index,
    /// The second in which it holds, when it has no pieces but shows the time.
    second: Option<u32>,
    /// The header of an answer without pieces.
    head: [u8; HEADER_BYTES],
    /// What follows in a packet without pieces.
    tail: Vec<u8>,
    pieces: Vec<Piece>,
    /// How many pieces a client may see: what differs, up to the limit of the policy.
    had: usize,
    room: Room,
    /// Some pieces look the same to a client.
    repeats: bool,
    enable_truncate: bool,
    /// The order of the last answer, from where the next one is shuffled.
    order: Vec<usize>,
}

impl Cache {
    /// An empty cache.
    pub(super) fn new() -> Self {
        Cache { config: Arc::default(), kept: BTreeMap::new(), size_bytes: 0, key: Vec::new() }
    }

    /// Answers the packet `bytes` from what is kept or can be; `false` if it is for [`super::respond`] to answer.
    pub(super) fn answer(&mut self, view: &View<'_>, config: &Arc<DnsConfig>, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        if !Arc::ptr_eq(&self.config, config) {
            self.forget();
            self.config = Arc::clone(config);
        }
        let Some(end) = packet::question_end(bytes).filter(|end| bytes.len() <= end + OPT_BYTES) else { return false };
        self.key.clear();
        self.key.extend_from_slice(&bytes[2..]);
        self.key[HEADER_BYTES - 2..end - 2].make_ascii_lowercase();
        if let Some(kept) = self.kept.get_mut(&self.key)
            && kept.holds(view.state, view.unix_s)
        {
            return kept.write(&bytes[..end], view.seed, out);
        }
        let Some(mut kept) = Kept::new(view, bytes) else { return false };
        let written = kept.write(&bytes[..end], view.seed, out);
        self.keep(kept);
        written
    }

    /// Keeps it under the latest key. A full cache starts anew: what is asked often is back soon.
    fn keep(&mut self, kept: Kept) {
        let size_bytes = kept.size_bytes() + self.key.len();
        let before = self.kept.remove(&self.key).map_or(0, |kept| kept.size_bytes() + self.key.len());
        self.size_bytes -= before;
        if self.size_bytes + size_bytes > CACHE_BYTES_MAX {
            self.forget();
        }
        if size_bytes <= CACHE_BYTES_MAX {
            self.size_bytes += size_bytes;
            self.kept.insert(self.key.clone(), kept);
        }
    }

    fn forget(&mut self) {
        self.kept.clear();
        self.size_bytes = 0;
    }
}

impl Kept {
    /// What the answers to a request can be made of, if it is a question with shares.
    fn new(view: &View<'_>, bytes: &[u8]) -> Option<Kept> {
        let config = view.config;
        let request = packet::decode(bytes).ok().filter(|_| !config.disable_compression)?;
        let room = Room::udp(config, request.edns.as_ref().map(|edns| edns.payload_bytes));
        if room.bytes_max > PACKET_BYTES_MAX {
            return None;
        }
        let Shares { service, index, list, without, answers_max } = shares(view, &request.name, request.kind)?;
        let mut empty = Vec::new();
        let encoding = Encoding { recursion_available: !config.recursors.is_empty(), compress: true, edns: true };
        packet::encode(bytes, &request, &without, encoding, &mut empty);
        let pieces = pieces(bytes, &request, list)?;
        let different = pieces.iter().map(|piece| piece.same + 1).max().unwrap_or(0);
        let head = *empty.first_chunk().expect("a packet has a header");
        Some(Kept {
            service,
            index,
            second: pieces.is_empty().then_some(view.unix_s),
            head,
            tail: empty.split_off(request.question_end),
            had: if answers_max == 0 { different } else { different.min(answers_max) },
            room,
            repeats: different < pieces.len(),
            enable_truncate: config.enable_truncate,
            order: (0..pieces.len()).collect(),
            pieces,
        })
    }

    fn holds(&self, state: &State, unix_s: u32) -> bool {
        self.second.is_none_or(|second| second == unix_s) && self.index == state.service_index(&self.service)
    }

    fn size_bytes(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(Piece::size_bytes).sum();
        ENTRY_BYTES + self.service.len() + self.tail.len() + pieces + size_of_val(&self.order[..])
    }

    /// Writes an answer to a request, given up to the end of its question; `false` if it would have to be shortened.
    /// What is left out, and when, is as in [`agent_core::dns::trim::trim`].
    fn write(&mut self, question: &[u8], seed: u64, out: &mut Vec<u8>) -> bool {
        let most = self.had.min(self.room.answers_max).min(self.room.bytes_max / RECORD_BYTES_MIN);
        self.draw(most, seed);
        let room = self.room.bytes_max.saturating_sub(question.len() + self.tail.len());
        let whole: usize = self.order[..most].iter().map(|at| self.pieces[*at].whole().len()).sum();
        let (count, whole) = if most == self.had && whole <= room {
            (most, true)
        } else {
            // An answer that is too large as a whole loses at least one record.
            (self.fitting(if most == self.had { most.saturating_sub(1) } else { most }, room), false)
        };
        if count == 0 && most > 0 {
            return false;
        }
        out.clear();
        out.extend_from_slice(question);
        out[2..HEADER_BYTES].copy_from_slice(&self.head[2..]);
        let additionals = self.write_pieces(count, whole, out);
        for (at, more) in [(6, count), (10, additionals)] {
            let before = u16::from_be_bytes([out[at], out[at + 1]]);
            out[at..at + 2].copy_from_slice(&(before + more as u16).to_be_bytes());
        }
        if self.enable_truncate && count < self.had {
            out[2] |= TRUNCATED;
        }
        out.extend_from_slice(&self.tail);
        true
    }

    /// Puts `most` random pieces that a client can tell apart in front.
    fn draw(&mut self, most: usize, seed: u64) {
        let mut sequence = Sequence(seed);
        let (mut drawn, mut at) = (0, 0);
        while drawn < most {
            let other = at + sequence.below(self.order.len() - at);
            self.order.swap(at, other);
            let same = self.pieces[self.order[at]].same;
            if !self.repeats || self.order[..drawn].iter().all(|other| self.pieces[*other].same != same) {
                self.order.swap(drawn, at);
                drawn += 1;
            }
            at += 1;
        }
    }

    /// How many of the first `most` pieces fit into `room` bytes, with one additional record for each name.
    fn fitting(&self, most: usize, room: usize) -> usize {
        let mut size_bytes = 0;
        let fits = |at: &usize| {
            let piece = &self.pieces[self.order[*at]];
            size_bytes += if self.is_new(*at) { piece.lean().len() } else { piece.answer().len() };
            size_bytes <= room
        };
        (0..most).take_while(fits).count()
    }

    /// Whether none of the pieces before the one at this place of the order is about the same name.
    fn is_new(&self, at: usize) -> bool {
        let name = self.pieces[self.order[at]].name;
        self.order[..at].iter().all(|other| self.pieces[*other].name != name)
    }

    /// Writes the answers of the first `count` pieces, then what is behind them; returns how many records that was.
    fn write_pieces(&self, count: usize, whole: bool, out: &mut Vec<u8>) -> usize {
        let answers_at = out.len();
        for at in &self.order[..count] {
            out.extend_from_slice(self.pieces[*at].answer());
        }
        let (mut answer_at, mut additionals) = (answers_at, 0);
        for (at, piece) in self.order[..count].iter().map(|at| &self.pieces[*at]).enumerate() {
            if whole || self.is_new(at) {
                additionals += piece.write_behind(whole, answer_at, out);
            }
            answer_at += piece.answer().len();
        }
        additionals
    }
}

/// The shares, encoded; `None` if one can't be.
fn pieces(bytes: &[u8], request: &Request, list: Vec<Share>) -> Option<Vec<Piece>> {
    let mut names = BTreeMap::new();
    let mut pieces = Vec::with_capacity(list.len());
    let mut packet = Vec::new();
    let encoding = Encoding { recursion_available: false, compress: true, edns: false };
    for share in list {
        let next = names.len();
        let name = match &share.answer.data {
            Data::Srv { target, .. } => target.clone(),
            _ => String::new(),
        };
        let name = *names.entry(name).or_insert(next);
        let alone = Answer { answers: vec![share.answer], additionals: share.behind, ..Answer::empty(Code::NoError) };
        packet::encode(bytes, request, &alone, encoding, &mut packet);
        let piece = Piece::read(&packet, request.question_end, share.same, name)?;
        if piece.behind != alone.additionals.len() {
            return None;
        }
        pieces.push(piece);
    }
    Some(pieces)
}

#[cfg(test)]
mod tests;
