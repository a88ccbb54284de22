//! `plugin new`: a folder with a check that builds, to begin from.
//!
//! What is written lies in `sdk/`, and is part of this binary: a plugin author
//! needs no clone. `{{name}}` in a file becomes the plugin's name, `{{wasm}}`
//! what cargo calls its component.

use std::fs;
use std::path::Path;

use agent_core::state::plugin::check_name;

use super::super::client::go_io_error;
use super::super::command::{Failure, Invocation};
use super::only_word;
use crate::goflag::FlagSpec;

/// Its flags.
pub const FLAGS: &[FlagSpec] = &[FlagSpec::value("lang", "language", "rust, python or js. (default \"rust\")")];

/// A file of `sdk/` by where it goes and what it holds.
type File = (&'static str, &'static str);

macro_rules! files {
    ($from:literal: $($to:literal <- $file:literal),* $(,)?) => {
        &[$(($to, include_str!(concat!("../../../../../", $from, "/", $file)))),*]
    };
}

const RUST: &[File] = files!("sdk/templates/rust":
    "Cargo.toml" <- "Cargo.toml",
    "README.md" <- "README.md",
    "config.schema.json" <- "config.schema.json",
    "src/lib.rs" <- "src/lib.rs",
    ".gitignore" <- "gitignore",
);

const RUST_SDK: &[File] = files!("sdk/rust":
    "lictor-plugin/Cargo.toml" <- "Cargo.toml",
    "lictor-plugin/src/bindings.rs" <- "src/bindings.rs",
    "lictor-plugin/src/catalog.rs" <- "src/catalog.rs",
    "lictor-plugin/src/http.rs" <- "src/http.rs",
    "lictor-plugin/src/lib.rs" <- "src/lib.rs",
    "lictor-plugin/src/log.rs" <- "src/log.rs",
    "lictor-plugin/src/outcome.rs" <- "src/outcome.rs",
    "lictor-plugin/src/password.rs" <- "src/password.rs",
    "lictor-plugin/src/plugin.rs" <- "src/plugin.rs",
    "lictor-plugin/src/tcp.rs" <- "src/tcp.rs",
    "lictor-plugin/src/threshold.rs" <- "src/threshold.rs",
    "lictor-plugin/src/word.rs" <- "src/word.rs",
);

const PYTHON: &[File] = files!("sdk/templates/python":
    "README.md" <- "README.md",
    "app.py" <- "app.py",
    "requirements.txt" <- "requirements.txt",
);

const JS: &[File] = files!("sdk/templates/js":
    "README.md" <- "README.md",
    "build.mjs" <- "build.mjs",
    "check.js" <- "check.js",
    "package.json" <- "package.json",
);

const WIT: &[File] = files!("wit":
    "wit/about.wit" <- "about.wit",
    "wit/check.wit" <- "check.wit",
    "wit/render.wit" <- "render.wit",
);

/// `plugin new`.
pub fn new(run: &mut Invocation) -> Result<(), Failure> {
    let name = only_word(run, "NAME")?;
    check_name(&name).map_err(Failure::new)?;
    let (sdk, parts): (&str, &[&[File]]) = match run.flags.last("lang").unwrap_or("rust") {
        "rust" => ("lictor-plugin", &[RUST, RUST_SDK]),
        "python" => ("", &[PYTHON]),
        "js" => ("", &[JS]),
        other => return Err(Failure::new(format!("-lang {other:?} is not known: rust, python or js"))),
    };
    let folder = Path::new(&name);
    let failed =
        |path: &Path, error| Failure::new(format!("could not write {}: {}", path.display(), go_io_error(&error)));
    // What is there may be somebody's work.
    fs::create_dir(folder).map_err(|error| failed(folder, error))?;
    let wit = WIT.iter().map(|(to, text)| (folder.join(sdk).join(to), *text));
    let files = parts.iter().copied().flatten().map(|(to, text)| (folder.join(to), *text));
    for (path, text) in files.chain(wit) {
        let text = text.replace("{{name}}", &name).replace("{{wasm}}", &name.replace('-', "_"));
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).and_then(|()| fs::write(&path, text)).map_err(|error| failed(&path, error))?;
    }
    run.line(&format!("{name}/ holds a check that builds; {name}/README.md says how."));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_sdk_goes_along() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (folder, prefix, files) in [
            ("sdk/rust/src", "lictor-plugin/src/", RUST_SDK),
            ("sdk/templates/python", "", PYTHON),
            ("sdk/templates/js", "", JS),
        ] {
            let there = fs::read_dir(root.join(folder)).unwrap();
            let there: BTreeSet<String> =
                there.map(|entry| format!("{prefix}{}", entry.unwrap().file_name().display())).collect();
            let ours = files
                .iter()
                .map(|(to, _)| (*to).to_owned())
                .filter(|to| to.starts_with(prefix) && !to.ends_with("plugin/Cargo.toml"));
            assert_eq!(ours.collect::<BTreeSet<_>>(), there, "{folder}");
        }
        let wit = fs::read_dir(root.join("wit")).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(wit.filter(|name| name.display().to_string().ends_with(".wit")).count(), WIT.len());
    }
}
