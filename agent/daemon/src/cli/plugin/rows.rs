//! The rows that `plugin` and what is below it have in the table of commands.

use super::super::command::Command;
use super::super::commands::{BASE, GROUP};
use super::super::options::Http;
use super::{compile, new, push, run, show, sign};
use crate::goflag::FlagSpec;

/// `plugin`, which groups the others.
pub const PLUGIN: Command = Command {
    name: "plugin",
    synopsis: "Make, try, store and sign plugins",
    about: "Plugins are WASI components that run checks. The servers keep their files, named\nby their SHA-256, and agents fetch them from there. Which file of a plugin runs is\nin the key lictor/plugins/<name>: push writes it, and writing the digest of an\nearlier file there rolls back.",
    examples: &["plugin push redis.wasm", "plugin list", "kv put lictor/plugins/redis sha256:..."],
    ..GROUP
};

/// `plugin compile`.
pub const COMPILE: Command = Command {
    name: "plugin compile",
    synopsis: "Compile a plugin ahead of time",
    arguments: "[options] FILE",
    about: "Compiles a plugin for agents that have no compiler. What comes out is native code:\nan agent runs it only from a path in its own configuration, or when somebody in its\nplugin_trust has signed it.",
    examples: &["plugin compile redis.wasm -target aarch64"],
    http: Http::No,
    flags: compile::FLAGS,
    run: Some(compile::compile),
    ..BASE
};

/// `plugin keygen`.
pub const KEYGEN: Command = Command {
    name: "plugin keygen",
    synopsis: "Make a key that signs plugins",
    about: "Makes an ed25519 key, writes it to a file that only you can read (PKCS#8, PEM),\nand prints the public key in base 64, for the setting plugin_trust.",
    examples: &["plugin keygen -out release.key"],
    http: Http::No,
    flags: &[FlagSpec::value("out", "file", "The file to write, which must not exist. (default \"plugin.key\")")],
    run: Some(sign::keygen),
    ..BASE
};

/// `plugin list`.
pub const LIST: Command = Command {
    name: "plugin list",
    synopsis: "List the plugins",
    about: "Lists the plugins that the servers keep, and which file of each is to run.",
    examples: &["plugin list"],
    http: Http::Servers,
    run: Some(show::list),
    ..BASE
};

/// `plugin new`.
pub const NEW: Command = Command {
    name: "plugin new",
    synopsis: "Begin a plugin of your own",
    arguments: "[options] NAME",
    about: "Writes a folder NAME with a health check that builds, in Rust, Python or JavaScript,\nand with all it needs of the SDK.",
    examples: &["plugin new doorbell", "plugin new doorbell -lang python"],
    http: Http::No,
    flags: new::FLAGS,
    run: Some(new::new),
    ..BASE
};

/// `plugin push`.
pub const PUSH: Command = Command {
    name: "plugin push",
    synopsis: "Store a plugin and have it run",
    arguments: "[options] FILE",
    about: "Sends a plugin's file to the servers, publishes it, and writes its digest to the\nkey lictor/plugins/<name>: agents that run the plugin fetch it from then on. Its\nsignature FILE.sig goes along if there is one. An interrupted push goes on where it\nstopped when it is repeated.",
    examples: &["plugin push redis.wasm", "plugin push -name=redis -sig=release.sig redis.wasm"],
    http: Http::Servers,
    flags: push::FLAGS,
    run: Some(push::push),
    ..BASE
};

/// `plugin remove`.
pub const REMOVE: Command = Command {
    name: "plugin remove",
    synopsis: "Remove a plugin",
    arguments: "[options] NAME",
    about: "Removes a plugin with all its files and its key. Agents that run it keep what they\nhave until they start again.",
    examples: &["plugin remove redis"],
    http: Http::Servers,
    run: Some(show::remove),
    ..BASE
};

/// `plugin run`.
pub const RUN: Command = Command {
    name: "plugin run",
    synopsis: "Try a plugin here and now",
    arguments: "[options] FILE",
    about: "Runs a plugin once, as an agent would, with what the flags grant and nothing else.\nNo agent is needed, except by renderers that read the catalog. A check exits with 0\nwhen it is passing, 1 for warning and 2 for critical.",
    examples: &["plugin run redis.wasm -config '{\"address\": \"127.0.0.1:6379\"}' -allow-network 127.0.0.1:6379"],
    http: Http::Servers,
    flags: run::FLAGS,
    run: Some(run::run),
    ..BASE
};

/// `plugin show`.
pub const SHOW: Command = Command {
    name: "plugin show",
    synopsis: "Show a plugin and its files",
    arguments: "[options] NAME",
    about: "Shows a plugin and the files of it that the servers keep, the newest first.",
    examples: &["plugin show redis"],
    http: Http::Servers,
    run: Some(show::show),
    ..BASE
};

/// `plugin sign`.
pub const SIGN: Command = Command {
    name: "plugin sign",
    synopsis: "Sign a plugin",
    arguments: "[options] FILE",
    about: "Signs a plugin's file with a key from plugin keygen. push sends the signature\nalong.",
    examples: &["plugin sign redis.wasm -key release.key"],
    http: Http::No,
    flags: &[
        FlagSpec::value("key", "file", "The file with the key."),
        FlagSpec::value("out", "file", "The file to write. The default is FILE.sig."),
    ],
    run: Some(sign::sign),
    ..BASE
};

/// `plugin verify`.
pub const VERIFY: Command = Command {
    name: "plugin verify",
    synopsis: "Check a plugin's signature",
    arguments: "[options] FILE",
    about: "Checks that a plugin's file is what one of the keys signed. Exits with 1 if not.",
    examples: &["plugin verify redis.wasm -key uKSW7Zr7pvW08ci1WqrnwGGw3wiTmcMpgwzvZjoEE10="],
    http: Http::No,
    flags: &[
        FlagSpec::value(
            "key",
            "public key",
            "A public key in base 64, as keygen prints it. May be given several times.",
        )
        .repeated(),
        FlagSpec::value("sig", "file", "The signature. The default is FILE.sig."),
    ],
    run: Some(sign::verify),
    ..BASE
};
