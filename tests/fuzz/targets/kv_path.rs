//! Any path to the key/value store: a key or nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| {
    if let Some(key) = agent_daemon::http::server::kv_key(path) {
        assert!(key.len() <= path.len());
    }
});
