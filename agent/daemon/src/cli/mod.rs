//! The command line: finds the command that the arguments name and runs it.
//!
//! Owns dispatch and exit codes: 0, 1 for failures, 127 for an unknown
//! command, and what a command chooses itself. The commands are rows of
//! [`commands`]; each prints through its [`command::Invocation`], so tests see
//! everything. Help is in [`help`]; streams and codes are Consul's.

pub mod address;
mod agent;
mod autopilot;
pub(crate) mod base64;
mod catalog;
pub mod client;
pub mod command;
pub mod commands;
mod container;
mod event;
mod force_leave;
pub mod help;
mod info;
mod join;
mod keygen;
mod keyring;
mod kv;
mod leave;
mod lock;
mod lock_keys;
mod maint;
mod members;
mod monitor;
mod options;
mod plugin;
mod raft;
mod raft_recover;
mod reload;
mod rtt;
mod services;
mod signals;
mod table;
mod tls;
mod version;
mod watch;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::config::interfaces::ipv4_of;
use crate::goflag;
use command::{Command, Failure, Invocation};
use commands::COMMANDS;
use container::{Container, Start};

/// Runs the command that the process arguments name and returns its exit code.
pub fn main() -> ExitCode {
    let mut args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let invoked = args.next().unwrap_or_default();
    let program = Path::new(&invoked).file_name().map_or("lictor".into(), |name| name.to_string_lossy());
    let variable = |name: &str| std::env::var(name).ok();
    let mut args: Vec<String> = args.collect();
    if program == container::NAME {
        let container = Container { variable: &variable, address: &ipv4_of };
        match Start::of(&args, &container).and_then(Start::prepare) {
            Ok(arguments) => args = arguments,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        }
    }
    let shell = Shell { program: &program, hints: std::io::stderr().is_terminal(), variable: &variable };
    let code = run(&args, &shell, &mut std::io::stdout(), &mut std::io::stderr());
    ExitCode::from(code)
}

/// Where a command line was typed.
pub struct Shell<'a> {
    /// The name the program was called by, for usage lines.
    pub program: &'a str,
    /// Whether a person reads the errors, who may be told what to try. Scripts match the bare texts.
    pub hints: bool,
    /// Looks up an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// Runs `args` (without the program's name) and returns the exit code.
pub fn run(args: &[String], shell: &Shell, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let program = shell.program;
    let (code, text) = match Request::read(args) {
        Request::Version => (0, version::version_text()),
        Request::Listing(code) => (code, help::listing(program)),
        Request::Help(command) => (0, help::of(program, command)),
        Request::Group(command) => (1, help::of(program, command)),
        Request::EarlyFlags(command) => (1, help::early_flags(program, command)),
        Request::Run(command, rest) => return carry_out(command, rest, shell, out, err),
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
    shell: &Shell,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let table = help::flags(command);
    let help = help::of(shell.program, command);
    let parsed = match command.takes_flags_anywhere() {
        true => goflag::parse_anywhere(&table, args),
        false => goflag::parse(&table, args),
    };
    let failure = match (parsed, command.run) {
        (Ok(flags), Some(run)) => {
            let Shell { program, hints: _, variable } = *shell;
            match run(&mut Invocation { program, flags, out, err, variable, help: &help }) {
                Ok(()) => return 0,
                Err(failure) => failure,
            }
        }
        (Err(goflag::FlagError::Help), _) => Failure::new(goflag::usage_after_error(&table).trim_end()),
        (Err(error), _) => Failure::new(format!("{error}\n{}", goflag::usage_after_error(&table).trim_end())),
        (Ok(_), None) => Failure::new(help),
    };
    if !failure.message.is_empty() {
        let hint = if shell.hints { hint(&failure.message, shell.program) } else { String::new() };
        // As above: a closed standard error leaves the exit code alone.
        let _ = writeln!(err, "{}{hint}", failure.message);
    }
    failure.code
}

/// What a person can do about an agent that was not reached; empty for other failures.
fn hint(message: &str, program: &str) -> String {
    if message.contains(": dial ") {
        format!(
            "\nIs an agent running there? Start one with `{program} agent -dev`, or name its address with -http-addr."
        )
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests;
