//! The smallest check there is: it passes. What a run costs beside it is the host's.

wit_bindgen::generate!({ path: "../../../wit", world: "health-check" });

use exports::lictor::plugin::{about, check};

struct Trivial;

impl about::Guest for Trivial {
    fn describe() -> about::Description {
        about::Description {
            name: "trivial".into(),
            version: "1.0.0".into(),
            summary: "Passes.".into(),
            config_schema: r#"{"type": "object", "additionalProperties": false}"#.into(),
            wants: about::Wants { network: vec![], urls: vec![], directories: vec![], environment: vec![] },
        }
    }
}

impl check::Guest for Trivial {
    fn run(_config: String) -> check::Outcome {
        check::Outcome { status: check::Status::Passing, output: "ok".into(), metrics: vec![] }
    }
}

export!(Trivial);
