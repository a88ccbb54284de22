//! `pages FOLDER [DATE]`: writes man pages and shell completions of every command into a folder.
//!
//! Everything comes from the table that the commands themselves are parsed and explained by, so nothing can be
//! forgotten or out of date. The same tree gives the same bytes: the date is that of the release, not of today.

mod man;
mod shells;

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use agent_daemon::cli::commands::COMMANDS;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (folder, date) = match arguments.as_slice() {
        [folder] => (folder, ""),
        [folder, date] => (folder, date.as_str()),
        _ => {
            eprintln!("usage: pages FOLDER [DATE]");
            return ExitCode::FAILURE;
        }
    };
    match write_all(Path::new(folder), date) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pages: could not write into {folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write_all(folder: &Path, date: &str) -> io::Result<()> {
    let (manuals, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&manuals)?;
    fs::create_dir_all(&completions)?;
    fs::write(manuals.join("lictor.1"), man::overview(COMMANDS, date))?;
    for command in COMMANDS {
        let file = format!("lictor-{}.1", command.name.replace(' ', "-"));
        fs::write(manuals.join(file), man::page(command, date))?;
    }
    fs::write(completions.join("lictor.bash"), shells::bash(COMMANDS))?;
    fs::write(completions.join("_lictor"), shells::zsh(COMMANDS))?;
    fs::write(completions.join("lictor.fish"), shells::fish(COMMANDS))
}
