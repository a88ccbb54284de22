//! One instance's records as bytes that can stand anywhere in a packet.
//!
//! Names in additional records may be pointers to earlier names (RFC 1035,
//! section 4.1.4). A piece knows where its pointers are and turns them to where its
//! own records came to stand; it never points into another piece.

/// A record of an answer with the additional records behind it.
pub(super) struct Piece {
    /// The answer, then what is behind it.
    bytes: Vec<u8>,
    answer_end: usize,
    /// Where the first additional record ends.
    first_end: usize,
    /// Where pointers stand and what they point to, both in `bytes`.
    pointers: Vec<(usize, usize)>,
    /// How many additional records there are.
    pub(super) behind: usize,
    /// Pieces with the same number look the same to a client.
    pub(super) same: usize,
    /// Pieces with the same number are about the same name.
    pub(super) name: usize,
}

impl Piece {
    /// Takes a packet apart whose question ends at `start` and that holds one answer and what is behind it. Pointers
    /// must only be at the ends of owners' names. `None` if there is no answer.
    pub(super) fn read(packet: &[u8], start: usize, same: usize, name: usize) -> Option<Piece> {
        let bytes = packet.get(start..)?.to_vec();
        let (mut ends, mut pointers) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < bytes.len() {
            while let length @ 1..=63 = *bytes.get(at)? {
                at += 1 + usize::from(length);
            }
            if bytes[at] != 0 {
                let target = usize::from(u16::from_be_bytes([bytes[at], *bytes.get(at + 1)?]) & 0x3fff);
                // The answer's own points to the question, which stands where it stood.
                if !ends.is_empty() {
                    pointers.push((at, target.checked_sub(start)?));
                }
                at += 1;
            }
            // Type, class and TTL, then the length of the data.
            at += 9;
            at += 2 + usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
            ends.push(at);
        }
        let answer_end = *ends.first()?;
        let first_end = *ends.get(1).unwrap_or(&answer_end);
        Some(Piece { bytes, answer_end, first_end, pointers, behind: ends.len() - 1, same, name })
    }

    /// What it takes in memory besides itself, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        size_of::<Piece>() + self.bytes.len() + size_of_val(&self.pointers[..])
    }

    /// The bytes of the answer.
    pub(super) fn answer(&self) -> &[u8] {
        &self.bytes[..self.answer_end]
    }

    /// The bytes with all that is behind it.
    pub(super) fn whole(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes with the first record behind it.
    pub(super) fn lean(&self) -> &[u8] {
        &self.bytes[..self.first_end]
    }

    /// Appends what is behind the answer, or only the first of it, to a packet where the answer stands at `answer_at`;
    /// returns the number of records.
    pub(super) fn write_behind(&self, all: bool, answer_at: usize, out: &mut Vec<u8>) -> usize {
        let end = if all { self.bytes.len() } else { self.first_end };
        let behind_at = out.len();
        out.extend_from_slice(&self.bytes[self.answer_end..end]);
        for (at, target) in self.pointers.iter().filter(|(at, _)| *at < end) {
            let base = if *target < self.answer_end { answer_at } else { behind_at - self.answer_end };
            let at = behind_at - self.answer_end + at;
            let pointer = 0xc000 | (base + target) as u16;
            out[at..at + 2].copy_from_slice(&pointer.to_be_bytes());
        }
        if all { self.behind } else { self.behind.min(1) }
    }
}
