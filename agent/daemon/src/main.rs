//! The binary `lictor`: chooses the allocator and hands the arguments to the command line.

/// Records are many small pieces that threads free for each other: the C library's allocator spends a third of a
/// write on them and gives nothing back to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    agent_daemon::cli::main()
}
