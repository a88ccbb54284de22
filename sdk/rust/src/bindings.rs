//! The interfaces of `wit/` as Rust, made by wit-bindgen. Plugins use the typed modules beside this one; the macros
//! [`check!`](crate::check) and [`renderer!`](crate::renderer) use these.
//!
//! Each interface that plugins export is a world of its own here, since one crate cannot hold two worlds that both export `about`.
//! A component is linked of those it uses, and comes out as one of `wit/`'s worlds.
#![allow(missing_docs)]

/// What every plugin exports.
pub mod about {
    wit_bindgen::generate!({
        inline: "package lictor:sdk; world of-about { export lictor:plugin/about@1.0.0; }",
        path: "wit",
        world: "lictor:sdk/of-about",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_about",
    });
}

/// What a check exports, and what every plugin may call.
pub mod check {
    wit_bindgen::generate!({
        inline: "package lictor:sdk; world of-check { import lictor:plugin/logging@1.0.0; export lictor:plugin/check@1.0.0; }",
        path: "wit",
        world: "lictor:sdk/of-check",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_check",
    });
}

/// What a renderer exports, and what it alone may call.
pub mod renderer {
    wit_bindgen::generate!({
        inline: "package lictor:sdk; world of-renderer { import lictor:plugin/catalog@1.0.0; export lictor:plugin/renderer@1.0.0; }",
        path: "wit",
        world: "lictor:sdk/of-renderer",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_renderer",
    });
}
