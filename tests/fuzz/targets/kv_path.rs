//! Any path to the key/value store: a key or nothing, and a clean path that stays as it is.
#![no_main]

use agent_daemon::http::path::cleaned;
use agent_daemon::http::server::kv_key;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| {
    if let Some(key) = kv_key(path) {
        assert!(key.len() <= path.len());
    }
    if let Some(clean) = cleaned(path) {
        assert_eq!(cleaned(&clean), None);
    }
});
