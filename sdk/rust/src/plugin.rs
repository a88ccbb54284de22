//! What the macros call: descriptions, and one run from the JSON of its config to its answer.
//! It never decides about a plugin's result, except that an error is critical.

use serde::de::DeserializeOwned;

use crate::bindings::about::exports::lictor::plugin::about;
use crate::bindings::check::exports::lictor::plugin::check;
use crate::bindings::renderer::exports::lictor::plugin::renderer;
use crate::{Context, Outcome, Result};

/// What a plugin would like to be granted, for a person to read. Wanting grants nothing.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    /// Addresses and ports to connect to, as `10.0.0.0/8:6379`, or words that say which.
    pub network: Vec<String>,
    /// URLs to request.
    pub urls: Vec<String>,
    /// Directories to read.
    pub directories: Vec<String>,
    /// Environment variables to read.
    pub environment: Vec<String>,
}

/// What a renderer is asked for, beside its config.
#[derive(Clone, Debug, Default)]
pub struct Rendering {
    /// The template's text; empty where there is none.
    pub template: String,
    /// The node that renders.
    pub node: String,
    /// Its data centre.
    pub datacenter: String,
}

/// A file that a renderer made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Relative to the destination; empty for the destination itself.
    pub path: String,
    /// What is in it.
    pub content: Vec<u8>,
}

impl File {
    /// The destination itself, with this content.
    pub fn destination(content: impl Into<Vec<u8>>) -> File {
        File { path: String::new(), content: content.into() }
    }

    /// A file below the destination.
    pub fn at(path: impl Into<String>, content: impl Into<Vec<u8>>) -> File {
        File { path: path.into(), content: content.into() }
    }
}

/// Answers `describe`.
pub fn describe(name: &str, version: &str, summary: &str, schema: &str, wants: Wants) -> about::Description {
    let Wants { network, urls, directories, environment } = wants;
    about::Description {
        name: name.into(),
        version: version.into(),
        summary: summary.into(),
        config_schema: schema.into(),
        wants: about::Wants { network, urls, directories, environment },
    }
}

/// Runs a check: an error is a critical outcome that says it with all its causes.
pub fn run_check<C: DeserializeOwned>(config: &str, run: impl FnOnce(C) -> Result<Outcome>) -> check::Outcome {
    let outcome = read_config(config).and_then(run);
    outcome.unwrap_or_else(|error| Outcome::critical(format!("{error:#}"))).into_wit()
}

/// Renders: an error is the text of all its causes.
///
/// # Errors
/// Whatever `render` fails with, and a config that does not fit its type.
pub fn run_renderer<C: DeserializeOwned>(
    request: renderer::Request,
    render: impl FnOnce(C, Rendering) -> Result<Vec<File>>,
) -> Result<Vec<renderer::File>, String> {
    let renderer::Request { config, template, node, datacenter } = request;
    let files = read_config(&config).and_then(|config| render(config, Rendering { template, node, datacenter }));
    let files = files.map_err(|error| format!("{error:#}"))?;
    Ok(files.into_iter().map(|File { path, content }| renderer::File { path, content }).collect())
}

fn read_config<C: DeserializeOwned>(config: &str) -> Result<C> {
    let config = if config.trim().is_empty() { "{}" } else { config };
    serde_json::from_str(config).context("the config does not fit this plugin")
}
