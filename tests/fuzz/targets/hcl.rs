//! Any text as configuration: read or refused with a reason.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(refused) = agent_core::hcl::parse(text) {
        assert!(!refused.to_string().is_empty());
    }
});
