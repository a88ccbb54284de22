//! An index never goes back: for one query of one agent `X-Consul-Index` only grows, across restarts too, and is never 0.

use std::collections::BTreeMap;

/// The highest index each query has answered with.
#[derive(Default)]
pub struct IndexOrder {
    highest: BTreeMap<String, u64>,
}

impl IndexOrder {
    /// The index that an answer to a request sent now must reach.
    pub fn floor(&self, query: &str) -> u64 {
        self.highest.get(query).copied().unwrap_or(1)
    }

    /// An answer has come to a request that was sent when [`IndexOrder::floor`] was `floor`.
    ///
    /// # Errors
    /// When its index is missing, zero or lower.
    pub fn answered(&mut self, query: &str, floor: u64, index: Option<u64>) -> Result<(), String> {
        let Some(index) = index else { return Err(format!("index: {query} answered without an index")) };
        let highest = self.highest.entry(query.to_owned()).or_insert(index);
        *highest = index.max(*highest);
        if index >= floor { Ok(()) } else { Err(format!("index: {query} went back from {floor} to {index}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_goes_back_or_is_missing_is_noticed() {
        let mut order = IndexOrder::default();
        let answers = [(Some(5), true), (Some(5), true), (Some(4), false), (Some(7), true), (None, false)];
        for (index, fine) in answers {
            let floor = order.floor("q");
            assert_eq!(order.answered("q", floor, index).is_ok(), fine, "{index:?}");
        }
        assert!(order.answered("new", order.floor("new"), Some(0)).is_err());
    }

    #[test]
    fn answers_may_overtake_each_other() {
        let mut order = IndexOrder::default();
        let (first, second) = (order.floor("q"), order.floor("q"));

        assert!(order.answered("q", first, Some(9)).is_ok());
        assert!(order.answered("q", second, Some(8)).is_ok());
    }
}
