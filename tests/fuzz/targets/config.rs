//! Any text as the configuration of an agent: values that may be used, or a reason against it.
#![no_main]

use std::sync::LazyLock;

use agent_daemon::config::{agent_flags, load};
use agent_daemon::goflag::{FlagSpec, parse};
use libfuzzer_sys::fuzz_target;

static FLAGS: LazyLock<Vec<FlagSpec>> = LazyLock::new(agent_flags);

fuzz_target!(|text: &str| {
    let given = parse(&FLAGS, &["-dev".to_owned(), format!("-hcl={text}")]).expect("any text is a fragment");
    if let Err(refused) = load(&given) {
        assert!(!refused.to_string().is_empty());
    }
});
