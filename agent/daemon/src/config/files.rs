//! Configuration files and folders.
//!
//! Owns which files are read and in which order; their content belongs to
//! [`super::decode`]. Folders are not searched below their first level.

use std::path::{Path, PathBuf};

use agent_core::hcl;

use super::raw::Document;
use super::{ConfigError, Format, decode};

/// The most files in one folder.
const FOLDER_FILES_MAX: usize = 10_000;

/// Lays every file of `paths` over `document`, in order; a folder stands for its files in order of their names.
pub(super) fn read(
    paths: &[PathBuf],
    format: Option<Format>,
    document: &mut Document,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    for path in paths {
        for file in files_at(path)? {
            let Some(format) = format.or_else(|| format_of(&file)) else {
                let name = file.display();
                let reason = "extension must be .hcl or .json, or config format must be set";
                warnings.push(format!("skipping file {name}, {reason}"));
                continue;
            };
            document.merge(decode(&file.display().to_string(), &text_of(&file)?, format)?);
        }
    }
    Ok(())
}

fn format_of(file: &Path) -> Option<Format> {
    match file.extension()?.to_str()? {
        "hcl" => Some(Format::Hcl),
        "json" => Some(Format::Json),
        _ => None,
    }
}

fn files_at(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let failed = |what: &str, error: std::io::Error| {
        let name = path.display();
        ConfigError::new(format!("config: {what} failed on {name}. open {name}: {}", reason(&error)))
    };
    let metadata = std::fs::metadata(path).map_err(|error| failed("Open", error))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| failed("Readdir", error))? {
        let file = entry.map_err(|error| failed("Readdir", error))?.path();
        // Following links matters: Kubernetes mounts every file of a folder as one.
        if std::fs::metadata(&file).is_ok_and(|metadata| metadata.is_file()) {
            files.push(file);
        }
        if files.len() > FOLDER_FILES_MAX {
            let name = path.display();
            return Err(ConfigError::new(format!("config: {name} holds more than {FOLDER_FILES_MAX} files")));
        }
    }
    files.sort();
    Ok(files)
}

fn text_of(file: &Path) -> Result<String, ConfigError> {
    let name = file.display();
    let failed = |error: std::io::Error| {
        ConfigError::new(format!("config: ReadFile failed on {name}: open {name}: {}", reason(&error)))
    };
    let size = std::fs::metadata(file).map_err(failed)?.len();
    if size > hcl::SIZE_BYTES_MAX as u64 {
        let max = hcl::SIZE_BYTES_MAX;
        return Err(ConfigError::new(format!("failed to parse {name}: {size} bytes are more than the {max} allowed")));
    }
    let bytes = std::fs::read(file).map_err(failed)?;
    String::from_utf8(bytes).map_err(|_| ConfigError::new(format!("failed to parse {name}: not UTF-8")))
}

/// The operating system's reason as Go words the frequent ones.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
