//! `agent`: runs an agent, and `validate`: checks its files without running one.

use std::path::PathBuf;

use super::command::{Failure, Invocation};
use crate::agent;
use crate::config::{self, Format};

/// Runs until the agent leaves or is stopped. The agent prints its own log.
pub fn run(invocation: &mut Invocation) -> Result<(), Failure> {
    match agent::command::run(&invocation.flags, invocation.program) {
        0 => Ok(()),
        code => Err(Failure { message: String::new(), code }),
    }
}

/// Checks files and folders as an agent would that is started with nothing else.
pub fn validate(invocation: &mut Invocation) -> Result<(), Failure> {
    let paths: Vec<PathBuf> = invocation.args().iter().map(PathBuf::from).collect();
    if paths.is_empty() {
        return Err(Failure::new("Must specify at least one config file or directory"));
    }
    let invalid = |error| Failure::new(format!("Config validation failed: {error}"));
    let format = Format::parse(invocation.flags.last("config-format").unwrap_or_default())
        // The missing quote is Consul's, and only here.
        .map_err(|_| Failure::new("-config-format must be either 'hcl' or 'json"))?;
    let warnings = config::validate(&paths, format).map_err(invalid)?;
    for warning in warnings {
        invocation.remark(&warning);
    }
    if !invocation.flags.bool("quiet") {
        invocation.line("Configuration is valid!");
    }
    Ok(())
}
