//! Any bytes as a stored command or a snapshot: read or refused; what was read can be written and read again.
#![no_main]

use agent_core::state::{Proposal, snapshot};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(proposal) = Proposal::decode(bytes) {
        assert_eq!(Proposal::decode(&proposal.encode()).expect("it was just written"), proposal);
    }
    drop(snapshot::decode(bytes));
});
