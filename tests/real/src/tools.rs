//! Where things are that tests use and did not make, and running them: what `tests/setup` installed, and what this tree is built into.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Output};

/// The cache folder that `tests/setup` fills.
pub fn tools_folder() -> PathBuf {
    let home = PathBuf::from(env::var_os("HOME").expect("HOME is set"));
    env::var_os("LICTOR_TOOLS").map_or(home.join(".cache/lictor/tools"), PathBuf::from)
}

/// A program that `tests/setup` installed from Debian: those of servers lie where not every user looks.
pub fn installed(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default()));
    command
}

/// What a program said that succeeded.
///
/// # Panics
/// When it did not; shows what it said.
pub fn succeeded(done: Output) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}: {said}", done.status);
    said
}

/// The folder of this build's programs, the agent among them: `<target>/<profile>`.
pub fn programs_folder() -> PathBuf {
    let program = env::current_exe().expect("a running program has a path");
    let folder = program.parent().expect("a program lies in a folder");
    // Test binaries lie in `deps` below it.
    let programs = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    programs.expect("cargo builds into a target folder").to_owned()
}

/// The target folder of this build.
pub fn target_folder() -> PathBuf {
    programs_folder().parent().expect("cargo builds into a target folder").to_owned()
}
