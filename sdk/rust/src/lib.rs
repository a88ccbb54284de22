//! What a lictor plugin is made with. A plugin is a function and one macro call:
//!
//! ```no_run
//! #[derive(serde::Deserialize)]
//! struct Config { address: String }
//!
//! lictor_plugin::check! {
//!     summary: "Connects, and says how long it took.",
//!     schema: r#"{"type": "object", "required": ["address"], "properties": {"address": {"type": "string"}}}"#,
//!     wants: { network: ["the address to connect to"] },
//!     run: run,
//! }
//!
//! fn run(config: Config) -> lictor_plugin::Result<lictor_plugin::Outcome> {
//!     let began = std::time::Instant::now();
//!     lictor_plugin::tcp::connect(&config.address, std::time::Duration::from_secs(5))?;
//!     Ok(lictor_plugin::Outcome::passing("connected").gauge("connect_seconds", began.elapsed().as_secs_f64()))
//! }
//! ```
//!
//! It never needs more than `cargo build --target wasm32-wasip2`. An error that `run` returns is a critical check whose output
//! is the error with its causes; a panic is one too, but its text goes nowhere, so return errors.

pub mod bindings;
pub mod catalog;
pub mod http;
pub mod log;
mod outcome;
mod password;
pub mod plugin;
pub mod tcp;
mod threshold;
mod word;

pub use anyhow::{Context, Error, Result, anyhow, bail, ensure};
pub use outcome::{Outcome, Status};
pub use password::Password;
pub use plugin::{File, Rendering, Wants};
pub use threshold::{Demands, Thresholds};
pub use word::{host_and_port, word};

/// Makes a function the health check of this component. Name and version are those of `Cargo.toml`.
///
/// - `summary`: what it checks, in a sentence.
/// - `schema`: a JSON Schema of its config, as text; `""` takes any object.
/// - `wants`: what it would like to be granted, for a person to read; `network`, `urls`, `directories`, `environment`, each may be left out.
/// - `run`: a function from a config, any `serde::Deserialize`, to `Result<Outcome>`.
#[macro_export]
macro_rules! check {
    (summary: $summary:expr, schema: $schema:expr, $(wants: { $($kind:ident: [$($want:expr),* $(,)?]),* $(,)? },)? run: $run:path $(,)?) => {
        const _: () = {
            struct Plugin;

            $crate::describe!(Plugin, $summary, $schema, { $($($kind: [$($want),*],)*)? });

            impl $crate::bindings::check::exports::lictor::plugin::check::Guest for Plugin {
                fn run(config: String) -> $crate::bindings::check::exports::lictor::plugin::check::Outcome {
                    $crate::plugin::run_check(&config, $run)
                }
            }

            $crate::bindings::check::export_check!(Plugin with_types_in $crate::bindings::check);
        };
    };
}

/// Makes a function the renderer of this component. As [`check!`], but `render` is a function from a config and a
/// [`Rendering`] to `Result<Vec<File>>`.
#[macro_export]
macro_rules! renderer {
    (summary: $summary:expr, schema: $schema:expr, $(wants: { $($kind:ident: [$($want:expr),* $(,)?]),* $(,)? },)? render: $render:path $(,)?) => {
        const _: () = {
            struct Plugin;

            $crate::describe!(Plugin, $summary, $schema, { $($($kind: [$($want),*],)*)? });

            impl $crate::bindings::renderer::exports::lictor::plugin::renderer::Guest for Plugin {
                fn render(
                    request: $crate::bindings::renderer::exports::lictor::plugin::renderer::Request,
                ) -> Result<Vec<$crate::bindings::renderer::exports::lictor::plugin::renderer::File>, String> {
                    $crate::plugin::run_renderer(request, $render)
                }
            }

            $crate::bindings::renderer::export_renderer!(Plugin with_types_in $crate::bindings::renderer);
        };
    };
}

/// What [`check!`] and [`renderer!`] have in common.
#[doc(hidden)]
#[macro_export]
macro_rules! describe {
    ($plugin:ident, $summary:expr, $schema:expr, { $($kind:ident: [$($want:expr),*],)* }) => {
        impl $crate::bindings::about::exports::lictor::plugin::about::Guest for $plugin {
            fn describe() -> $crate::bindings::about::exports::lictor::plugin::about::Description {
                let wants = $crate::Wants { $($kind: vec![$(($want).into()),*],)* ..Default::default() };
                $crate::plugin::describe(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), $summary, $schema, wants)
            }
        }

        $crate::bindings::about::export_about!($plugin with_types_in $crate::bindings::about);
    };
}
