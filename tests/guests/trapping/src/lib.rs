//! Traps before anything can be asked of it: in a constructor, which runs when the component is instantiated.

wit_bindgen::generate!({ path: "../../../wit", world: "health-check" });

use exports::lictor::plugin::{about, check};

extern "C" fn constructor() {
    core::arch::wasm32::unreachable()
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

struct Trapping;

impl about::Guest for Trapping {
    fn describe() -> about::Description {
        unreachable!("the constructor traps first")
    }
}

impl check::Guest for Trapping {
    fn run(_config: String) -> check::Outcome {
        unreachable!("the constructor traps first")
    }
}

export!(Trapping);
