//! This program in place of itself, in the same process: for what can only be chosen before a program starts.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Settings of mimalloc, which it reads once, when the process starts: how long memory that was freed is kept, in milliseconds, and
/// after how many allocations a thread looks for what others freed of its own (10 and 10000 by default).
const GIVE_BACK: [(&str, &str); 2] = [("MIMALLOC_PURGE_DELAY", "0"), ("MIMALLOC_GENERIC_COLLECT", "100")];

/// Has the allocator give memory back to the system as soon as it is freed, where nobody has set that otherwise.
///
/// By default it does so when the thread that freed it allocates again later: an agent that went quiet keeps what its
/// busiest moment took. Returns only when there is nothing to do or it could not be done.
///
/// # Errors
/// The program could not be started again.
pub fn with_memory_given_back() -> io::Result<()> {
    if GIVE_BACK.iter().any(|(name, _)| std::env::var_os(name).is_some()) {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    Err(this_program(name, arguments)?.envs(GIVE_BACK).exec())
}

/// Gives up the rights of `root` for those of a user. Returns only when it could not be done.
pub fn as_user(user: u32, group: u32, arguments: &[String]) -> io::Error {
    match this_program("lictor".into(), arguments.iter().map(OsString::from)) {
        Ok(mut program) => program.uid(user).gid(group).exec(),
        Err(error) => error,
    }
}

fn this_program(name: OsString, arguments: impl Iterator<Item = OsString>) -> io::Result<Command> {
    // By its path: `/proc/self/exe` would show up as a process called `exe`.
    let mut command = Command::new(std::env::current_exe()?);
    command.arg0(name).args(arguments);
    Ok(command)
}
