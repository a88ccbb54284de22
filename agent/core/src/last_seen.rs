//! The newest answers that a client agent was given, for as long as no server can be reached.
//!
//! Owns how much is kept: a bounded number of bytes, of which those that were
//! asked for longest ago go first. What the answers are it does not know.

use std::collections::BTreeMap;

use crate::Instant;

/// Answers by what was asked, within a number of bytes.
#[derive(Clone, Debug)]
pub struct LastSeen<V> {
    bytes_max: usize,
    bytes: usize,
    /// Counts uses; the smallest was used longest ago.
    clock: u64,
    answers: BTreeMap<Box<[u8]>, Kept<V>>,
    by_use: BTreeMap<u64, Box<[u8]>>,
}

#[derive(Clone, Debug)]
struct Kept<V> {
    value: V,
    bytes: usize,
    used: u64,
    since: Instant,
}

/// What an answer costs beside its own bytes: the entries in both maps.
const OVERHEAD_BYTES: usize = 192;

impl<V: Clone> LastSeen<V> {
    /// Keeps at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        LastSeen { bytes_max, bytes: 0, clock: 0, answers: BTreeMap::new(), by_use: BTreeMap::new() }
    }

    /// Remembers an answer of `size` bytes, in place of an older one to the same question. One that alone would take
    /// a quarter of the room is not kept, and neither is what it would have replaced.
    pub fn keep(&mut self, now: Instant, question: &[u8], value: V, size: usize) {
        self.forget(question);
        let bytes = size.saturating_add(2 * question.len()).saturating_add(OVERHEAD_BYTES);
        if bytes > self.bytes_max / 4 {
            return;
        }
        while self.bytes + bytes > self.bytes_max {
            let Some((_, oldest)) = self.by_use.first_key_value() else { break };
            let oldest = oldest.clone();
            self.forget(&oldest);
        }
        self.clock += 1;
        self.bytes += bytes;
        self.by_use.insert(self.clock, question.into());
        self.answers.insert(question.into(), Kept { value, bytes, used: self.clock, since: now });
    }

    /// The answer to a question, and since when it is known.
    pub fn find(&mut self, question: &[u8]) -> Option<(V, Instant)> {
        let kept = self.answers.get_mut(question)?;
        self.clock += 1;
        let question = self.by_use.remove(&kept.used).unwrap_or_else(|| question.into());
        self.by_use.insert(self.clock, question);
        kept.used = self.clock;
        Some((kept.value.clone(), kept.since))
    }

    /// How many bytes are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = LastSeen::new(self.bytes_max);
    }

    fn forget(&mut self, question: &[u8]) {
        if let Some(kept) = self.answers.remove(question) {
            self.by_use.remove(&kept.used);
            self.bytes -= kept.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_newest_answer_is_found_with_its_age() {
        let mut seen = LastSeen::new(10_000);
        let later = Instant::START + Duration::from_secs(5);
        seen.keep(Instant::START, b"q", 1, 10);
        seen.keep(later, b"q", 2, 10);
        assert_eq!(seen.find(b"q"), Some((2, later)));
        assert_eq!(seen.find(b"other"), None);
    }

    #[test]
    fn what_was_asked_for_longest_ago_makes_room() {
        let mut seen = LastSeen::new(10_000);
        for number in 0..20_u8 {
            seen.keep(Instant::START, &[number], number, 1_000);
            // Asked for all the time, so it stays.
            assert!(seen.find(&[0]).is_some(), "{number}");
            assert!(seen.bytes() <= 10_000);
        }
        assert_eq!((seen.find(&[1]), seen.find(&[19]).is_some()), (None, true));
    }

    #[test]
    fn an_answer_that_is_too_large_leaves_no_older_one_behind() {
        let mut seen = LastSeen::new(10_000);
        seen.keep(Instant::START, b"q", 1, 10);
        seen.keep(Instant::START, b"q", 2, 5_000);
        assert_eq!((seen.find(b"q"), seen.bytes()), (None, 0));
    }

    #[test]
    fn nothing_is_kept_of_what_was_forgotten() {
        let mut seen = LastSeen::new(4_000);
        for number in 0..1_000_u16 {
            seen.keep(Instant::START, &number.to_be_bytes(), number, 300);
        }
        assert_eq!(seen.answers.len(), seen.by_use.len());
        assert!(seen.answers.len() < 10);
    }
}
