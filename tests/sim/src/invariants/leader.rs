//! One leader per term: no two servers ever believe that they lead in the same term.

use std::collections::BTreeMap;

/// Who led in which term.
#[derive(Default)]
pub struct Leaders {
    terms: BTreeMap<u64, String>,
}

impl Leaders {
    /// A server believes that it leads.
    ///
    /// # Errors
    /// When another one led in that term.
    pub fn saw(&mut self, term: u64, server: &str) -> Result<(), String> {
        let known = self.terms.entry(term).or_insert_with(|| server.to_owned());
        if known == server { Ok(()) } else { Err(format!("leader: both {known} and {server} lead in term {term}")) }
    }

    /// How many terms had a leader.
    pub fn count(&self) -> usize {
        self.terms.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_leader_in_a_term_is_noticed() {
        let mut leaders = Leaders::default();
        assert!(leaders.saw(1, "a").is_ok() && leaders.saw(2, "b").is_ok() && leaders.saw(1, "a").is_ok());

        assert!(leaders.saw(1, "b").is_err());
    }
}
