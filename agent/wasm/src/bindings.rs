//! What `wit/` says, as Rust: generated, not written.

#![allow(missing_docs)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "template-renderer",
    imports: { default: trappable, "lictor:plugin/catalog": async | trappable },
    exports: { default: async },
    additional_derives: [PartialEq],
});

pub use lictor::plugin::{catalog, logging};

/// The other world, with the interfaces it shares.
pub mod health_check {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "health-check",
        imports: { default: trappable },
        exports: { default: async },
        with: { "lictor:plugin/logging": super::logging },
    });
}
