//! `plugin compile`: a component made into native code ahead of time, for agents without a compiler.

use agent_wasm::{COMPONENT_BYTES_MAX, Host, Target};

use super::super::client::go_io_error;
use super::super::command::{Failure, Invocation};
use super::only_word;
use crate::goflag::FlagSpec;

/// Its flags.
pub const FLAGS: &[FlagSpec] = &[
    FlagSpec::value("target", "processor", "For which: aarch64, x86_64, or portable for all, interpreted and slower."),
    FlagSpec::value("out", "file", "The file to write. The default is FILE with .TARGET.cwasm for its ending."),
];

/// `plugin compile`.
pub fn compile(run: &mut Invocation) -> Result<(), Failure> {
    let path = only_word(run, "FILE")?;
    let wanted =
        run.flags.last("target").ok_or_else(|| Failure::new("-target is missing: aarch64, x86_64 or portable"))?;
    let target = Target::parse(wanted)
        .ok_or_else(|| Failure::new(format!("-target {wanted:?} is not known: aarch64, x86_64 or portable")))?;
    let out = match run.flags.last("out") {
        Some(out) => out.to_owned(),
        None => format!("{}.{wanted}.cwasm", path.strip_suffix(".wasm").unwrap_or(&path)),
    };
    let component = super::read(&path, COMPONENT_BYTES_MAX)?;
    let compiled = Host::compile(&component, target).map_err(|error| Failure::new(format!("{path}: {error}")))?;
    std::fs::write(&out, &compiled)
        .map_err(|error| Failure::new(format!("could not write {out}: {}", go_io_error(&error))))?;
    run.line(&format!("Compiled {path} for {wanted}: {out}, {} KiB", compiled.len() >> 10));
    Ok(())
}
