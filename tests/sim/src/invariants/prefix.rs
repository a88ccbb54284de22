//! Equal applied prefixes: two servers that have applied the same entry have the same state.

use std::collections::BTreeMap;

/// The digest of the state at each index, as the first server to reach it showed it.
#[derive(Default)]
pub struct Prefixes {
    states: BTreeMap<u64, (String, u64)>,
}

impl Prefixes {
    /// A server's state at `index` has this digest.
    ///
    /// # Errors
    /// When it was another one on another server, or on this one before.
    pub fn saw(&mut self, server: &str, index: u64, digest: u64) -> Result<(), String> {
        let (first, known) = self.states.entry(index).or_insert_with(|| (server.to_owned(), digest));
        if *known == digest {
            return Ok(());
        }
        Err(format!("prefix: {server} has another state at index {index} than {first}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_states_at_one_index_are_noticed() {
        let mut prefixes = Prefixes::default();
        assert!(prefixes.saw("a", 5, 1).is_ok() && prefixes.saw("b", 5, 1).is_ok() && prefixes.saw("b", 6, 2).is_ok());

        assert!(prefixes.saw("c", 6, 1).is_err());
    }
}
