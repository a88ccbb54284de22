//! The binary `lictor`: hands the arguments to the command line.

fn main() -> std::process::ExitCode {
    agent_daemon::cli::main()
}
