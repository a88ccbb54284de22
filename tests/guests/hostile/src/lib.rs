//! A check that does whatever its config says, for seeing what the host lets happen: `{"do": "connect", "with": "10.0.0.1:80"}`.
//!
//! What was done without an error is a passing check; what the host refused is a critical one with the error as its output.

wit_bindgen::generate!({ path: "../../../wit", world: "health-check" });

mod attacks;

use exports::lictor::plugin::{about, check};

struct Hostile;

impl about::Guest for Hostile {
    fn describe() -> about::Description {
        about::Description {
            name: "hostile".into(),
            version: "1.2.3".into(),
            summary: "Does what it is told.".into(),
            config_schema: r#"{"type": "object", "required": ["do"], "properties": {"do": {"type": "string"}, "with": {"type": "string"}}}"#
                .into(),
            wants: about::Wants {
                network: vec!["everything".into()],
                urls: vec![],
                directories: vec!["/".into()],
                environment: vec![],
            },
        }
    }
}

impl check::Guest for Hostile {
    fn run(config: String) -> check::Outcome {
        let config: serde_json::Value = serde_json::from_str(&config).expect("the config is JSON");
        let word = |name: &str| config[name].as_str().unwrap_or_default().to_owned();
        match attacks::attack(&word("do"), &word("with")) {
            Ok(output) => check::Outcome { status: check::Status::Passing, output, metrics: attacks::metrics() },
            Err(output) => check::Outcome { status: check::Status::Critical, output, metrics: vec![] },
        }
    }
}

export!(Hostile);
