//! The configuration: from flags and files to checked values.
//!
//! [`load`] is the whole journey. `raw` holds what was written, as one tree of
//! known keys; [`checked`] turns it into a [`Config`] with defaults filled in
//! and everything validated, in Consul's words. Reading files blocks: call
//! [`load`] before the runtime starts, or where blocking is allowed. Nothing
//! here acts on a value; that is for the room which is handed its part.

mod address;
mod build;
pub mod checked;
mod files;
mod flags;
mod gossip;
pub(crate) mod interfaces;
pub mod json_error;
mod network;
mod raw;
mod reload;
mod resources;
mod schema;
mod sockaddr;

use std::fmt;
use std::path::PathBuf;

use agent_core::hcl;
use agent_core::local::Definitions;
use serde_json::Value;

pub use address::Network;
pub(crate) use build::hostname;
pub use checked::{Config, UnixSockets};
pub use flags::{agent_flags, flag_help};
pub use reload::{ReloadDiff, Reloadable, reloadable_diff};
pub use resources::Resources;

use crate::definition::{self, DecodeError, Defaults};
use crate::goflag::Parsed;
use crate::watch::Watch;
use raw::Document;

/// Why a configuration was refused. Displays as Consul's message, which may have several lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    fn new(message: impl Into<String>) -> Self {
        ConfigError(message.into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// A configuration that may be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// What an operator should know: files skipped, keys without effect.
    pub warnings: Vec<String>,
    /// Services and checks, in the order of the files.
    pub definitions: Definitions,
    /// What is watched, in the order of the files.
    pub watches: Vec<Watch>,
}

/// How configuration files are written, whatever their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// HCL version 1, or JSON in a file that begins with `{`.
    Hcl,
    /// JSON only.
    Json,
}

impl Format {
    /// Reads the value of `-config-format`; an empty one leaves the choice to each file's name.
    ///
    /// # Errors
    /// In Consul's words, for anything but `hcl`, `json` and nothing.
    pub fn parse(text: &str) -> Result<Option<Format>, ConfigError> {
        match text {
            "" => Ok(None),
            "hcl" => Ok(Some(Format::Hcl)),
            "json" => Ok(Some(Format::Json)),
            _ => Err(ConfigError::new("-config-format must be either 'hcl' or 'json'")),
        }
    }
}

/// Loads the configuration of an agent: files in the order given, then flags, then `-hcl` fragments. Later wins.
///
/// # Errors
/// The first source that cannot be read, or what is wrong with the values taken together.
pub fn load(given: &Parsed) -> Result<Loaded, ConfigError> {
    let format = Format::parse(given.last("config-format").unwrap_or_default())?;
    let mut paths: Vec<PathBuf> = given.all("config-file").iter().map(PathBuf::from).collect();
    paths.extend(given.all("config-dir").iter().map(PathBuf::from));
    let dev = given.bool("dev");
    let mut warnings = Vec::new();
    let mut document = if dev { build::dev_document() } else { Document::default() };
    files::read(&paths, format, &mut document, &mut warnings)?;
    document.merge(flags::document(given)?);
    for (position, fragment) in given.all("hcl").iter().enumerate() {
        let source = format!("flags-{position}.hcl");
        document.merge(decode(&source, fragment, Format::Hcl)?);
    }
    finish(&document, dev, warnings)
}

/// Checks the files as an agent that is started with nothing else would.
/// Returns the warnings; the command prints `Config validation failed: ` before an error and exits 1.
///
/// # Errors
/// As [`load`].
pub fn validate(paths: &[PathBuf], format: Option<Format>) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    let mut document = Document::default();
    files::read(paths, format, &mut document, &mut warnings)?;
    finish(&document, false, warnings).map(|loaded| loaded.warnings)
}

/// The services that files and folders define, as they are written, and warnings about files passed over.
///
/// # Errors
/// The first file that cannot be read or holds a definition of a wrong shape, in Consul's words.
pub fn service_definitions(paths: &[PathBuf]) -> Result<(Vec<Value>, Vec<String>), ConfigError> {
    let mut warnings = Vec::new();
    let mut document = Document::default();
    files::read(paths, None, &mut document, &mut warnings)?;
    Ok((document.definitions("services"), warnings))
}

/// One source as a document.
fn decode(source: &str, text: &str, format: Format) -> Result<Document, ConfigError> {
    let parsed = match format {
        Format::Hcl => hcl::parse(text),
        Format::Json => hcl::parse_json(text),
    };
    let value = parsed.map_err(|error| {
        let reason = match (format, serde_json::from_str::<serde::de::IgnoredAny>(text)) {
            (Format::Json, Err(error)) => json_error::in_go_words(text.as_bytes(), &error),
            (Format::Json, Ok(_)) | (Format::Hcl, _) => error.to_string(),
        };
        ConfigError::new(format!("failed to parse {source}: {reason}"))
    })?;
    let listed = |many: &str| value.get(many).is_some();
    let (services, checks) = (listed("services"), listed("checks"));
    let document = Document::decode(source, value)?;
    known_keys(source, &document, ["service", "services"], services, definition::decode_service)?;
    known_keys(source, &document, ["check", "checks"], checks, definition::decode_check)?;
    Ok(document)
}

/// Refuses the first definition that has a key nobody knows, naming the key as it stands in the file.
fn known_keys<T>(
    source: &str,
    document: &Document,
    [one, many]: [&str; 2],
    listed: bool,
    decode: impl Fn(&Value, &Defaults) -> Result<T, DecodeError>,
) -> Result<(), ConfigError> {
    for (position, value) in document.definitions(many).iter().enumerate() {
        if let Err(DecodeError::Shape(reason)) = decode(value, &Defaults::file())
            && let Some(key) = reason.strip_prefix(UNKNOWN_KEY)
        {
            let owner = if listed { format!("{many}[{position}]") } else { one.to_owned() };
            let mistake = format!("{UNKNOWN_KEY}{owner}.{key}");
            return Err(ConfigError::new(format!("failed to parse {source}: {}", error_list(&[mistake]))));
        }
    }
    Ok(())
}

/// From what was written to what is used.
fn finish(document: &Document, dev: bool, mut warnings: Vec<String>) -> Result<Loaded, ConfigError> {
    let config = build::config(document, dev, &interfaces::all(), &mut warnings)?;
    let services = definitions(document, "services", definition::decode_service)?;
    let checks = definitions(document, "checks", definition::decode_check)?;
    let watches = definitions(document, "watches", |written, _| Watch::parse(written))?;
    warnings.extend(document.ignored());
    Ok(Loaded { config, warnings, definitions: Definitions { services, checks }, watches })
}

/// Decodes every definition under `key`; an error names which one it is.
fn definitions<T, E: fmt::Display>(
    document: &Document,
    key: &str,
    decode: impl Fn(&Value, &Defaults) -> Result<T, E>,
) -> Result<Vec<T>, ConfigError> {
    let written = document.definitions(key);
    let decoded = written.iter().enumerate().map(|(position, value)| {
        decode(value, &Defaults::file()).map_err(|error| ConfigError::new(format!("{key}[{position}]: {error}")))
    });
    decoded.collect()
}

/// A list of mistakes as Consul prints it: a count, then one line each.
pub(crate) fn error_list(mistakes: &[String]) -> String {
    let errors = if mistakes.len() == 1 { "error" } else { "errors" };
    let lines: String = mistakes.iter().map(|line| format!("\t* {line}\n")).collect();
    format!("{} {errors} occurred:\n{lines}\n", mistakes.len())
}

/// How a definition's decoder begins to speak of a key it does not know.
const UNKNOWN_KEY: &str = "invalid config key ";

#[cfg(test)]
mod tests;
