//! Why a host cannot be made or a plugin cannot be loaded, in words for the operator.

use std::fmt;

/// Why there is no host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError(pub(crate) String);

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not start the plugin host: {}", self.0)
    }
}

impl std::error::Error for HostError {}

/// Why a component is not loaded. Nothing is left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// Not a component: a plain module, a text, a truncated file. Says what it is.
    NotAComponent(String),
    /// Larger than this many bytes.
    TooLarge(u64),
    /// It exports neither world of ours, or both; these are its exports.
    WrongWorld(Vec<String>),
    /// It needs an interface newer than this agent's.
    NewerInterface {
        /// The interface and version it names.
        asked: String,
        /// The version here.
        ours: String,
    },
    /// It imports what neither WASI 0.2 nor our interfaces have, by this name.
    MissingImport(String),
    /// It imports or exports something of the right name and the wrong type.
    WrongType(String),
    /// This build has no compiler.
    NeedsCompiler,
    /// It was compiled ahead, which only [`crate::Host::load_trusted`] takes.
    CompiledAhead,
    /// It was compiled ahead for another processor, another version of the agent, or is damaged. Says which.
    CompiledForAnother(String),
    /// Its own description breaks a rule.
    BadDescription {
        /// The field of `description`.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// It failed when it was asked to describe itself, which it does without any grant.
    Describe(crate::Failure),
    /// The compiler refused it.
    DoesNotCompile(String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::NotAComponent(what) => write!(f, "not a WebAssembly component: {what}"),
            LoadError::TooLarge(max) => write!(f, "larger than the {} a plugin may have", crate::failure::bytes(*max)),
            LoadError::WrongWorld(exports) => {
                let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
                write!(f, "a plugin exports lictor:plugin/about and either lictor:plugin/check or lictor:plugin/renderer; this one exports {exports}")
            }
            LoadError::NewerInterface { asked, ours } => {
                write!(f, "made for {asked}, and this agent has {ours}: update the agent, or build the plugin against {ours}")
            }
            LoadError::MissingImport(name) => write!(f, "imports {name}, which this agent does not offer (it has WASI 0.2 and lictor:plugin)"),
            LoadError::WrongType(why) => write!(f, "an interface has not the type it should have: {why}"),
            LoadError::NeedsCompiler => f.write_str(
                "this build of lictor has no compiler: run `lictor plugin compile --target portable FILE` with the full build \
                 (or --target aarch64 or x86_64 for speed) and use the .cwasm it writes",
            ),
            LoadError::CompiledAhead => f.write_str(
                "compiled ahead: such a file is native code and is loaded only from a path in this agent's own configuration or with a trusted signature",
            ),
            LoadError::CompiledForAnother(why) => {
                write!(f, "compiled ahead, but not usable here ({why}): compile it again with `lictor plugin compile` of this version and for this processor")
            }
            LoadError::BadDescription { field, why } => write!(f, "its description breaks a rule: {field} {why}"),
            LoadError::Describe(failure) => write!(f, "it failed to describe itself: {failure}"),
            LoadError::DoesNotCompile(why) => write!(f, "damaged, truncated or not valid WebAssembly: {why}"),
        }
    }
}

impl std::error::Error for LoadError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a build without the feature `compiler` says to every `.wasm`.
    #[test]
    fn who_has_no_compiler_is_told_how_to_compile() {
        let text = LoadError::NeedsCompiler.to_string();
        assert!(text.contains("`lictor plugin compile --target portable FILE`") && text.contains(".cwasm"), "{text}");
    }
}
