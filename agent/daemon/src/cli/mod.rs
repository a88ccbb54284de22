//! The command line: finds the command that the arguments name and runs it.
//!
//! Owns dispatch, help and exit codes: 0, 1 for failures, 127 for an unknown
//! command, and what a command chooses itself. The commands are rows of
//! [`commands`]; each prints through its [`command::Invocation`], so tests see
//! everything. Help wording is ours; layout, streams and codes are Consul's.

pub mod address;
mod agent;
mod catalog;
pub mod client;
pub mod command;
mod commands;
mod kv;
mod members;
mod operate;
mod options;
mod services;
mod table;
mod tls;

use std::io::Write;
use std::process::ExitCode;

use crate::config;
use crate::goflag::{self, FlagSpec};
use command::{Command, Failure, Invocation};
use commands::COMMANDS;

/// Runs the command that the process arguments name and returns its exit code.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let variable = |name: &str| std::env::var(name).ok();
    let code = run(&args, &variable, &mut std::io::stdout(), &mut std::io::stderr());
    ExitCode::from(code)
}

/// Runs `args` (without the program's name) and returns the exit code.
pub fn run(args: &[String], variable: &dyn Fn(&str) -> Option<String>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let (code, text) = match Request::read(args) {
        Request::Version => (0, operate::version_text()),
        Request::Listing(code) => (code, listing()),
        Request::Help(command) => (0, help(command)),
        Request::Group(command) => (1, help(command)),
        Request::EarlyFlags(command) => (
            1,
            format!(
                "Invalid flags before the subcommand. If these flags are for\nthe subcommand, please put them after the subcommand.\n\n{}",
                help(command)
            ),
        ),
        Request::Run(command, rest) => return carry_out(command, rest, variable, out, err),
    };
    let text = text.trim_end_matches('\n');
    // Nobody may be reading; that changes nothing about the exit code.
    let _ = if code == 0 { writeln!(out, "{text}") } else { writeln!(err, "{text}") };
    code
}

/// What the arguments ask for.
enum Request<'a> {
    Version,
    Listing(u8),
    Help(&'static Command),
    Group(&'static Command),
    EarlyFlags(&'static Command),
    Run(&'static Command, &'a [String]),
}

impl Request<'_> {
    fn read(args: &[String]) -> Request<'_> {
        let scanned = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
        let first = args[..scanned].iter().position(|arg| !arg.starts_with('-') && !arg.is_empty());
        let before = &args[..first.unwrap_or(scanned)];
        let helps = args[..scanned].iter().any(|arg| is_help(arg));
        if before.iter().any(|arg| matches!(arg.as_str(), "-v" | "-version" | "--version")) {
            return Request::Version;
        }
        let found =
            first.and_then(|first| find(&args[first..]).map(|(command, words)| (command, &args[first + words..])));
        match found {
            None => Request::Listing(if helps && first.is_none() { 0 } else { 127 }),
            Some((command, _)) if helps => Request::Help(command),
            Some((command, _)) if !before.is_empty() => Request::EarlyFlags(command),
            Some((command, _)) if command.run.is_none() => Request::Group(command),
            Some((command, rest)) => Request::Run(command, rest),
        }
    }
}

fn is_help(word: &str) -> bool {
    matches!(word, "-h" | "-help" | "--help")
}

/// The longest command that the words start with, and how many words it takes.
fn find(words: &[String]) -> Option<(&'static Command, usize)> {
    let matching = COMMANDS.iter().filter_map(|command| {
        let name: Vec<&str> = command.name.split(' ').collect();
        let matches = words.len() >= name.len() && name.iter().zip(words).all(|(name, word)| name == word);
        matches.then_some((command, name.len()))
    });
    matching.max_by_key(|(_, words)| *words)
}

fn carry_out(
    command: &'static Command,
    args: &[String],
    variable: &dyn Fn(&str) -> Option<String>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let table = flags(command);
    let failure = match (goflag::parse(&table, args), command.run) {
        (Ok(flags), Some(run)) => match run(&mut Invocation { flags, out, err, variable }) {
            Ok(()) => return 0,
            Err(failure) => failure,
        },
        (Err(goflag::FlagError::Help), _) => Failure::new(goflag::usage_after_error(&table).trim_end()),
        (Err(error), _) => Failure::new(format!("{error}\n{}", goflag::usage_after_error(&table).trim_end())),
        (Ok(_), None) => Failure::new(help(command)),
    };
    if !failure.message.is_empty() {
        // As above: a closed standard error leaves the exit code alone.
        let _ = writeln!(err, "{}", failure.message);
    }
    failure.code
}

fn flags(command: &Command) -> Vec<FlagSpec> {
    [command.http.flags(), own_flags(command)].concat()
}

/// The flags a command has to itself. Those of `agent` come from the table of configuration keys.
fn own_flags(command: &Command) -> Vec<FlagSpec> {
    let namespaces = if command.namespaced { options::NAMESPACE_FLAGS } else { &[] };
    match command.name {
        "agent" => config::agent_flags(),
        _ => [command.flags, namespaces].concat(),
    }
}

/// The listing of top-level commands.
fn listing() -> String {
    let rows = rows("");
    format!("Usage: consul [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n{rows}\n")
}

/// Name and synopsis of the commands right below `group`; of the top level for an empty one.
fn rows(group: &str) -> String {
    let prefix = if group.is_empty() { String::new() } else { format!("{group} ") };
    let below: Vec<(&str, &str)> = COMMANDS
        .iter()
        .filter_map(|command| Some((command.name.strip_prefix(&prefix)?, command.synopsis)))
        .filter(|(name, _)| !name.contains(' '))
        .collect();
    let width = below.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    below.iter().map(|(name, synopsis)| format!("    {name:width$}    {synopsis}\n")).collect()
}

fn help(command: &Command) -> String {
    let usage = format!("Usage: consul {} {}", command.name, command.arguments);
    let mut text = format!("{}\n\n  {}\n\n", usage.trim_end(), command.about);
    if command.run.is_none() {
        text.push_str(&format!("Subcommands:\n{}", rows(command.name)));
    }
    text.push_str(&goflag::help_section("HTTP API Options", &command.http.flags()));
    text.push_str(&goflag::help_section("Command Options", &own_flags(command)));
    text.trim_end().to_owned()
}

/// The two halves of a `key=value` flag.
fn split_pair<'a>(flag: &str, pair: &'a str) -> Result<(&'a str, &'a str), Failure> {
    pair.split_once('=').ok_or_else(|| {
        let quoted = goflag::quote(pair);
        Failure::new(format!("invalid value {quoted} for flag -{flag}: Missing \"=\" value in argument: {pair}"))
    })
}

#[cfg(test)]
mod tests;
