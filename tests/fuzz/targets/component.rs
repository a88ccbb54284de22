//! Any bytes as a component: compiled to what is known as such, or refused with a reason. They are never run.
#![no_main]

use agent_wasm::{Host, Target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Host::compile(bytes, Target::Portable) {
        Ok(compiled) => assert!(Host::is_compiled(&compiled) && !Host::is_compiled(bytes)),
        Err(refused) => assert!(!refused.to_string().is_empty()),
    }
});
