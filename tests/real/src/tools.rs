//! Where things are that tests use and did not make: what `tests/setup` installed, and the folder that this tree is built into.

use std::env;
use std::path::PathBuf;

/// The cache folder that `tests/setup` fills.
pub fn tools_folder() -> PathBuf {
    let home = PathBuf::from(env::var_os("HOME").expect("HOME is set"));
    env::var_os("LICTOR_TOOLS").map_or(home.join(".cache/lictor/tools"), PathBuf::from)
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
