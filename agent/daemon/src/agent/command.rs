//! The `agent` command: flags, configuration, log, signals, exit code.
