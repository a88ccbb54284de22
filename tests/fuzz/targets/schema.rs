//! Any text as a plugin's schema, and any as a config held against it: read or refused with a reason, the answer in words.
#![no_main]

use agent_core::plugin::Schema;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|texts: (&str, &str)| {
    let (schema, config) = texts;
    match (Schema::parse(schema), serde_json::from_str(config)) {
        (Err(refused), _) => assert!(!refused.to_string().is_empty()),
        (Ok(schema), Ok(config)) => {
            if let Err(messages) = schema.check(&config) {
                assert!(!messages.is_empty() && messages.iter().all(|message| !message.is_empty()));
            }
        }
        (Ok(_), Err(_)) => {}
    }
});
