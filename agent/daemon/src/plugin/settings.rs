//! The `plugin` blocks of the configuration, read and checked.
//!
//! Owns their keys and how sizes are written. What a grant or a limit means is
//! `agent-wasm`'s.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use agent_core::plugin::digest::Digest;
use agent_core::state::plugin::check_name;
use agent_wasm::{DirectoryGrant, Grants, Limits, NetworkGrant, UrlGrant, environment};
use serde_json::Value;

use crate::definition::{DecodeError, Fields, Source};

/// How often a new version is tried beside the old one unless the block says otherwise.
const TRIALS: u32 = 3;

/// The most trials that may be asked for.
const TRIALS_MAX: u32 = 100;

/// The most plugins of one agent.
const PLUGINS_MAX: usize = 256;

/// Where the component of a plugin comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file of this host; a change of the file is a new version.
    File(PathBuf),
    /// This one file of the cluster's store, by the SHA-256 of its bytes.
    Digest(Digest),
    /// What the cluster publishes under the plugin's name; publishing another is a new version.
    Published,
}

/// One plugin as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSettings {
    /// Where its component comes from.
    pub origin: Origin,
    /// What it may reach.
    pub grants: Grants,
    /// What a run may use.
    pub limits: Limits,
    /// How many times a new version is tried beside the old one before it serves.
    pub trials: u32,
}

/// The plugins of one agent, by name.
pub type Declared = BTreeMap<String, PluginSettings>;

/// Reads the `plugin` blocks: each an object of one or more names with their settings.
///
/// # Errors
/// What is wrong, with the plugin and the key named.
pub fn declared(written: &[Value]) -> Result<Declared, String> {
    let mut declared = Declared::new();
    for (name, block) in written.iter().filter_map(Value::as_object).flatten() {
        let explain = |reason: &str| format!("plugin {name:?}: {reason}");
        check_name(name).map_err(|reason| explain(&reason))?;
        let settings = settings(block).map_err(|reason| explain(&reason))?;
        if declared.insert(name.clone(), settings).is_some() {
            return Err(explain("declared twice"));
        }
    }
    match written.iter().find(|block| !block.is_object()) {
        Some(_) => {
            Err("plugin: write a block with a name, such as plugin \"redis\" { path = \"/etc/redis.wasm\" }".to_owned())
        }
        None if declared.len() > PLUGINS_MAX => Err(format!("more than {PLUGINS_MAX} plugins are declared")),
        None => Ok(declared),
    }
}

/// Reads what stands in one block.
///
/// # Errors
/// What is wrong, with the key named.
pub fn settings(block: &Value) -> Result<PluginSettings, String> {
    let fields = open(block, &["path", "digest", "allow", "limits", "trials"], "")?;
    let text = |key| fields.string(key).map_err(in_words);
    let origin = match (text("path")?, text("digest")?) {
        (path, digest) if path.is_empty() && digest.is_empty() => Origin::Published,
        (path, digest) if digest.is_empty() => Origin::File(path.into()),
        (path, digest) if path.is_empty() => Origin::Digest(Digest::parse(&digest)?),
        _ => {
            return Err(
                "path and digest can't both be set: the first is a file here, the second one in the cluster".to_owned()
            );
        }
    };
    let trials = match fields.get("trials") {
        None => TRIALS,
        Some(_) => fields.count("trials").map_err(in_words)?,
    };
    if trials > TRIALS_MAX {
        return Err(format!("trials is {trials}; at most {TRIALS_MAX} are allowed"));
    }
    let none = Value::Null;
    let grants = grants(fields.get("allow").unwrap_or(&none))?;
    let limits = limits(fields.get("limits").unwrap_or(&none))?;
    Ok(PluginSettings { origin, grants, limits, trials })
}

fn grants(block: &Value) -> Result<Grants, String> {
    let fields = open(block, &["network", "urls", "directories", "environment"], "allow.")?;
    let list = |key| fields.strings(key).map_err(in_words);
    fn each<T, E: ToString>(texts: Vec<String>, parse: fn(&str) -> Result<T, E>) -> Result<Vec<T>, String> {
        texts.iter().map(|text| parse(text).map_err(|error| error.to_string())).collect()
    }
    Ok(Grants {
        network: each(list("network")?, NetworkGrant::parse)?,
        urls: each(list("urls")?, UrlGrant::parse)?,
        directories: each(list("directories")?, DirectoryGrant::parse)?,
        environment: each(list("environment")?, environment)?,
    })
}

fn limits(block: &Value) -> Result<Limits, String> {
    let fields = open(block, &["memory", "cpu", "wall", "output", "files", "sockets"], "limits.")?;
    let default = Limits::default();
    let size = |key: &str, default: u64| fields.get(key).map_or(Ok(default), |value| bytes(value, key));
    let time = |key: &str, default: Duration| match fields.get(key) {
        None => Ok(default),
        Some(_) => {
            fields.duration(key).map_err(in_words).map(|ns| Duration::from_nanos(u64::try_from(ns).unwrap_or(0)))
        }
    };
    let limits = Limits {
        memory_bytes: size("memory", default.memory_bytes)?,
        cpu: time("cpu", default.cpu)?,
        wall: time("wall", default.wall)?,
        output_bytes: size("output", default.output_bytes)?,
        files_bytes: size("files", default.files_bytes)?,
        sockets: match fields.get("sockets") {
            None => default.sockets,
            Some(_) => fields.count("sockets").map_err(in_words)?,
        },
    };
    limits.check()?;
    Ok(limits)
}

/// The fields of a block, or of a list with one block. A key nobody knows is named with `prefix` and those that are known.
fn open<'a>(block: &'a Value, known: &[&str], prefix: &str) -> Result<Fields<'a>, String> {
    let block = match block {
        Value::Array(items) if items.len() == 1 => &items[0],
        other => other,
    };
    Fields::open(block, known, Source::File, "object").map_err(|error| {
        let reason = error.to_string();
        match reason.strip_prefix("invalid config key ") {
            Some(key) => format!("unknown key {prefix}{key}; it may hold {}", known.join(", ")),
            None => reason,
        }
    })
}

fn in_words(error: DecodeError) -> String {
    error.to_string()
}

/// A size in bytes: a number, or a text with one of the units B, KiB, MiB and GiB.
///
/// # Errors
/// It is neither; the text names `key` and shows a right one.
pub fn bytes(value: &Value, key: &str) -> Result<u64, String> {
    let wrong =
        || format!("{key}: {value} is no size; write bytes as a number, or a text such as \"512KiB\" or \"16MiB\"");
    if let Some(bytes) = value.as_u64() {
        return Ok(bytes);
    }
    let text = value.as_str().ok_or_else(wrong)?.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use agent_core::hcl;

    use super::*;

    fn read(text: &str) -> Result<Declared, String> {
        let written = hcl::parse(text).unwrap();
        match &written["plugin"] {
            Value::Array(blocks) => declared(blocks),
            one => declared(std::slice::from_ref(one)),
        }
    }

    #[test]
    fn a_block_is_read_with_its_grants_and_limits() {
        let declared = read(
            r#"plugin "redis" {
              path = "/etc/redis.wasm"
              allow { network = ["127.0.0.1:6379"] environment = ["REDIS_PASSWORD"] }
              limits { memory = "32MiB" cpu = "50ms" sockets = 2 output = 512 }
              trials = 1
            }
            plugin "other" {}"#,
        )
        .unwrap();
        let redis = &declared["redis"];
        assert_eq!(redis.origin, Origin::File("/etc/redis.wasm".into()));
        assert!(redis.grants.network_allows("127.0.0.1:6379".parse().unwrap()));
        assert_eq!(redis.grants.environment, ["REDIS_PASSWORD"]);
        let Limits { memory_bytes, cpu, sockets, output_bytes, .. } = redis.limits;
        assert_eq!((memory_bytes, cpu, sockets, output_bytes), (32 << 20, Duration::from_millis(50), 2, 512));
        assert_eq!(redis.trials, 1);
        assert_eq!((&declared["other"].origin, declared["other"].trials), (&Origin::Published, TRIALS));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_plugin_and_key() {
        for (block, expected) in [
            (r#"plugin "Redis" {}"#, r#"plugin "Redis": "Redis" is no plugin name"#),
            (r#"plugin { path = "x" }"#, r#"plugin "path": "#),
            (r#"plugin "a" { pth = "x" }"#, "unknown key pth; it may hold path, digest, allow, limits, trials"),
            (r#"plugin "a" { allow { net = [] } }"#, "unknown key allow.net; it may hold network, urls"),
            (r#"plugin "a" { allow { network = ["example.com:80"] } }"#, r#"allow.network "example.com:80""#),
            (r#"plugin "a" { limits { memory = "16MB" } }"#, r#"memory: "16MB" is no size"#),
            (r#"plugin "a" { limits { memory = "1KiB" } }"#, "limits.memory must be 64 KiB to 1 GiB"),
            (r#"plugin "a" { limits { cpu = "fast" } }"#, "invalid duration"),
            (r#"plugin "a" { digest = "abc" }"#, r#""abc" is no digest: write sha256: and 64 hexadecimal digits"#),
            (r#"plugin "a" { path = "x" digest = "y" }"#, "path and digest can't both be set"),
            (r#"plugin "a" { trials = 1000 }"#, "trials is 1000; at most 100 are allowed"),
            (r#"plugin "a" {} plugin "a" {}"#, r#"plugin "a": declared twice"#),
        ] {
            let error = read(block).unwrap_err();
            assert!(error.contains(expected), "{block}: {error}");
        }
    }
}
