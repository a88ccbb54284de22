//! Help: what a command is for and how it is called, in our own words and Consul's layout.
//!
//! Owns the texts around the table of commands. Prints nothing itself.

use super::command::Command;
use super::commands::COMMANDS;
use super::options;
use crate::config;
use crate::goflag::{self, FlagSpec};

/// Every flag of a command: the shared ones, then its own.
pub fn flags(command: &Command) -> Vec<FlagSpec> {
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
pub fn listing(program: &str) -> String {
    let rows = rows("");
    let more = format!("Every command explains itself: {program} <command> -h");
    format!("Usage: {program} [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n{rows}\n{more}\n")
}

/// The help of one command, which for a group lists what is below it.
pub fn of(program: &str, command: &Command) -> String {
    let usage = format!("Usage: {program} {} {}", command.name, command.arguments);
    let mut text =
        format!("{}\n\n  {}\n\n", usage.trim_end(), command.about.replace('\n', "\n  ").replace("\n  \n", "\n\n"));
    for line in command.examples {
        text.push_str(&format!("      $ {program} {line}\n"));
    }
    if !command.examples.is_empty() {
        text.push('\n');
    }
    if command.run.is_none() {
        text.push_str(&format!("Subcommands:\n{}", rows(command.name)));
    }
    text.push_str(&goflag::help_section("HTTP API Options", &command.http.flags()));
    text.push_str(&goflag::help_section("Command Options", &own_flags(command)));
    text.trim_end().to_owned()
}

/// The complaint about flags that stand before the command's name.
pub fn early_flags(program: &str, command: &Command) -> String {
    let complaint = "Invalid flags before the subcommand. If these flags are for\nthe subcommand, please put them after the subcommand.";
    format!("{complaint}\n\n{}", of(program, command))
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
