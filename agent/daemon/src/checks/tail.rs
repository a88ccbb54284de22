//! The last bytes of a stream of any length.

use std::collections::VecDeque;

/// Keeps the last `bytes_max` bytes of what is pushed.
pub(super) struct Tail {
    bytes: VecDeque<u8>,
    bytes_max: usize,
    total: u64,
}

impl Tail {
    pub(super) fn new(bytes_max: usize) -> Self {
        Tail { bytes: VecDeque::new(), bytes_max, total: 0 }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.total += chunk.len() as u64;
        let chunk = &chunk[chunk.len().saturating_sub(self.bytes_max)..];
        let excess = (self.bytes.len() + chunk.len()).saturating_sub(self.bytes_max);
        self.bytes.drain(..excess);
        self.bytes.extend(chunk);
    }

    /// How many bytes were pushed.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// What was kept, with what is not UTF-8 replaced.
    pub(super) fn text(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let mut tail = Tail::new(4);
        for chunk in ["ab", "", "cde", "f"] {
            tail.push(chunk.as_bytes());
        }
        assert_eq!((tail.text().as_str(), tail.total()), ("cdef", 6));
        tail.push(b"0123456789");
        assert_eq!((tail.text().as_str(), tail.total()), ("6789", 16));
    }
}
