//! What a command is: its row in the table, its invocation, its failure.

use std::io::Write;

use serde_json::Value;

use super::client::Client;
use super::options::{self, Http};
use crate::goflag::{FlagSpec, Parsed};

/// A row of the command table. A row without `run` only groups others.
pub struct Command {
    /// The words that name it, such as `kv get`.
    pub name: &'static str,
    /// One line for listings.
    pub synopsis: &'static str,
    /// What follows the name in the usage line.
    pub arguments: &'static str,
    /// The paragraphs of the help, indented by two.
    pub about: &'static str,
    /// Command lines to show, without the program's name.
    pub examples: &'static [&'static str],
    /// Which shared flags it has.
    pub http: Http,
    /// Whether it accepts the namespace flags.
    pub namespaced: bool,
    /// Its own flags.
    pub flags: &'static [FlagSpec],
    /// Does the work; `None` for a group.
    pub run: Option<fn(&mut Invocation) -> Result<(), Failure>>,
}

impl Command {
    /// Whether flags may stand after other words. Consul's commands take them before; ours take them anywhere.
    pub fn takes_flags_anywhere(&self) -> bool {
        self.name.starts_with("plugin ")
    }
}

/// Why a command failed: what goes to standard error, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// The text, without the last line break; may be empty.
    pub message: String,
    /// The exit code.
    pub code: u8,
}

impl Failure {
    /// A failure with exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into(), code: 1 }
    }
}

/// A command being carried out.
pub struct Invocation<'a> {
    /// The name the program was called by.
    pub program: &'a str,
    /// The flags and words given.
    pub flags: Parsed,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error, for remarks of commands that succeed.
    pub err: &'a mut dyn Write,
    /// Looks up an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The command's own help, for mistakes that print it.
    pub help: &'a str,
}

impl Invocation<'_> {
    /// The words after the flags.
    pub fn args(&self) -> &[String] {
        &self.flags.positional
    }

    /// A client as the flags ask for.
    ///
    /// # Errors
    /// Settings that can't be used.
    pub fn client(&self) -> Result<Client, Failure> {
        let failed = |error| Failure::new(format!("Error connecting to Consul agent: {error}"));
        Client::new(options::settings(&self.flags, self.variable).map_err(failed)?).map_err(failed)
    }

    /// Writes a line to standard output.
    pub fn line(&mut self, line: &str) {
        self.bytes(line.as_bytes());
        self.bytes(b"\n");
    }

    /// Writes bytes to standard output.
    pub fn bytes(&mut self, bytes: &[u8]) {
        // A reader that went away, as in `| head`, is no failure of the command.
        let _ = self.out.write_all(bytes);
    }

    /// Writes a line to standard error.
    pub fn remark(&mut self, line: &str) {
        let _ = writeln!(self.err, "{line}");
    }

    /// Refuses any words after the flags.
    ///
    /// # Errors
    /// There are some.
    pub fn no_args(&self) -> Result<(), Failure> {
        if self.args().is_empty() { Ok(()) } else { Err(too_many(0, self.args().len())) }
    }
}

/// The refusal of surplus words.
pub fn too_many(expected: usize, got: usize) -> Failure {
    Failure::new(format!("Too many arguments (expected {expected}, got {got})"))
}

/// A field of a JSON object as text; empty when it is absent or null.
pub fn text(object: &Value, field: &str) -> String {
    match object.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The elements of a JSON list; none for null.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
