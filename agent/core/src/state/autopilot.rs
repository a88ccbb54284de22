//! How the leader cares for the servers, as a replicated record.
//!
//! Owns when it may be written. What it means is in [`crate::autopilot`]; who
//! writes the first one is the leader's affair.

use std::sync::Arc;

use super::command::Reply;
use super::tables::{AutopilotConfig, Index};
use super::write::Write;

impl Write<'_> {
    /// Writes the record, always or only over the one that a client saw. A write that changes no setting still counts as
    /// one, as in Consul.
    pub(super) fn autopilot(&mut self, config: &AutopilotConfig, cas: Option<Index>) -> Reply {
        let before = self.state.autopilot.as_ref();
        let seen = before.map_or(0, |config| config.modify_index);
        if cas.is_some_and(|index| index != seen) {
            return Reply::Bool(false);
        }
        let create_index = before.map_or(self.index, |config| config.create_index);
        let written = AutopilotConfig { create_index, modify_index: self.index, ..config.clone() };
        self.state.autopilot = Some(Arc::new(written));
        match cas {
            Some(_) => Reply::Bool(true),
            None => Reply::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::trial::Trial;
    use crate::state::{Command, snapshot};

    fn put(trial: &mut Trial, min_quorum: u64, cas: Option<Index>) -> Reply {
        let config = AutopilotConfig { min_quorum, create_index: 77, modify_index: 88, ..AutopilotConfig::default() };
        trial.apply(Command::Autopilot { config: Box::new(config), cas })
    }

    /// Minimum quorum, creation and last write of the record.
    fn stored(trial: &Trial) -> Option<(u64, Index, Index)> {
        trial.state.autopilot.as_ref().map(|config| (config.min_quorum, config.create_index, config.modify_index))
    }

    #[test]
    fn a_record_keeps_when_it_was_made() {
        let mut trial = Trial::new();
        assert_eq!(put(&mut trial, 1, None), Reply::Done);
        assert_eq!(stored(&trial), Some((1, 10, 10)));
        assert_eq!(put(&mut trial, 1, None), Reply::Done);
        assert_eq!(stored(&trial), Some((1, 10, 11)));
    }

    #[test]
    fn a_condition_is_about_what_the_client_saw() {
        let mut trial = Trial::new();
        assert_eq!(put(&mut trial, 1, Some(9)), Reply::Bool(false));
        assert_eq!(put(&mut trial, 2, Some(0)), Reply::Bool(true));
        assert_eq!(put(&mut trial, 3, Some(0)), Reply::Bool(false));
        assert_eq!(stored(&trial), Some((2, 11, 11)));
        assert_eq!(put(&mut trial, 4, Some(11)), Reply::Bool(true));
        assert_eq!(stored(&trial), Some((4, 11, 13)));
    }

    #[test]
    fn a_snapshot_holds_it() {
        let mut trial = Trial::new();
        put(&mut trial, 5, None);
        assert_eq!(snapshot::decode(&snapshot::encode(&trial.state)), Ok(trial.state));
    }
}
