//! What a plugin author does: the steps of `sdk/README.md`, and the examples in each language, all on one agent.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fs;
use std::hash::Hasher;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use real::plugins::{PluginAgent, lictor};
use real::readme::{Block, blocks};
use real::servers::{free_address, http};
use real::tools::{programs_folder, succeeded, target_folder, tools_folder};
use serde_json::{Value, json};

/// A machine of one's own in front of the steps: a network with nothing but an empty loopback, processes that end with the shell,
/// a `/tmp` that is $1, the agent already built ($2), and $3 for what cargo makes on its way.
const OWN_MACHINE: &str = r#"
ip link set dev lo up
mkdir -p "$1/clone/target/release" "$1/build"
mount --bind "$2" "$1/clone/target/release"
mount --bind "$3" "$1/build"
mount --rbind "$1" /tmp
cd /tmp/clone
"#;

/// What the steps build that was built before the test.
const AGENT_BUILD: &str = "cargo build --release\n";

#[test]
fn a_newcomer_follows_the_page_and_sees_a_service_turn_critical() {
    let page = include_str!("../../../sdk/README.md");
    let steps: Vec<String> = blocks(page).iter().map(typed).collect();
    assert!(steps[0].starts_with(AGENT_BUILD), "the first step builds the agent: {}", steps[0]);
    let script = format!("{OWN_MACHINE}{}", steps.join("echo '=== the next step'\n").replacen(AGENT_BUILD, "", 1));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut machine = Command::new("unshare");
    machine.args("--mount --net --pid --fork --kill-child --mount-proc bash -euc".split(' ')).args([&script, "bash"]);
    machine.arg(folder.path()).arg(programs_folder()).arg(cargo_folder());

    let said =
        succeeded(offline(&mut machine).env("CARGO_BUILD_BUILD_DIR", "/tmp/build").output().expect("unshare runs"));

    let (tried, rest) = said.split_once("\npassing\nconnected to 127.0.0.1:9999").expect(&said);
    let (passing, critical) = rest.split_once(r#""Status": "critical""#).expect(&said);
    assert!(!tried.contains("Status") && passing.contains(r#""Status": "passing""#), "{said}");
    assert!(critical.contains("could not connect to 127.0.0.1:9999"), "{said}");
}

/// What a reader types for a block: commands as they are; what is to be put into the agent's configuration, as a file.
fn typed(block: &Block) -> String {
    match block.language.as_str() {
        "sh" => block.text.clone(),
        "hcl" => format!("cat > agent.hcl <<'END'\n{}END\n", block.text),
        other => panic!("a block in {other} is none of the steps"),
    }
}

/// Builds use what earlier builds of this tree fetched and made.
fn offline(command: &mut Command) -> &mut Command {
    command.env("CARGO_NET_OFFLINE", "true").env_remove("CARGO_TARGET_DIR");
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS")
}

/// Where cargo keeps what it makes on its way to an example: most of it is what the plugins of this tree are made of too.
fn cargo_folder() -> PathBuf {
    let folder = target_folder().join("plugins");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

#[test]
fn examples_in_rust_python_and_javascript_run_on_one_agent() {
    let server = http("200 OK", "");
    let [rust, python, javascript] = thread::scope(|scope| {
        let built = [RUST, PYTHON, JAVASCRIPT].map(|example| scope.spawn(move || example.component()));
        built.map(|component| component.join().expect("the example builds"))
    });
    let network = "network = [\"127.0.0.0/8:*\"]";
    let agent =
        PluginAgent::start(&[("rust", &rust, network), ("python", &python, ""), ("javascript", &javascript, "")]);
    let value = |value: u32| json!({"value": value});
    let address = |address: std::net::SocketAddr| json!({"address": address.to_string()});
    type Turn<'a> = (&'a str, Value, &'a str);
    let turns: [(&str, [Turn; 3]); 2] = [
        (
            "passing",
            [("rust", address(server), "connected to"), ("python", value(1), "is 1"), ("javascript", value(1), "is 1")],
        ),
        (
            "critical",
            [
                ("rust", address(free_address()), "could not"),
                ("python", value(11), "is 11"),
                ("javascript", value(11), "is 11"),
            ],
        ),
    ];
    for (status, turn) in turns {
        turn.iter().for_each(|(plugin, config, _)| agent.register(plugin, plugin, config));
        turn.iter().for_each(|(plugin, _, part)| agent.wait_for(plugin, status, part));
    }
}

/// A template of the SDK.
struct Example {
    language: &'static str,
    /// What its page has readers install, which tests/setup did.
    install: &'static str,
    /// What they get of that, and where tests/setup put it.
    installed: Option<(&'static str, &'static str)>,
    /// The component that the page's commands make.
    component: &'static str,
    /// Whether compiling it takes so long that it is done once for many runs.
    large: bool,
}

const RUST: Example = Example {
    language: "rust",
    install: "rustup target add wasm32-wasip2\n",
    installed: None,
    component: "target/wasm32-wasip2/release/example.wasm",
    large: false,
};

const PYTHON: Example = Example {
    language: "python",
    install: "python3 -m venv venv && venv/bin/pip install -r requirements.txt\n",
    installed: Some(("venv", "python")),
    component: "example.wasm",
    large: true,
};

const JAVASCRIPT: Example = Example {
    language: "js",
    install: "npm install\n",
    installed: Some(("node_modules", "componentize-js/node_modules")),
    component: "example.wasm",
    large: true,
};

impl Example {
    /// What its page's commands make of what `plugin new` writes; kept in the target folder until that changes.
    fn component(&self) -> PathBuf {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let made = lictor(&["plugin", "new", "-lang", self.language, "example"]).current_dir(&folder).output();
        succeeded(made.expect("the agent runs"));
        let written = folder.path().join("example");
        let folder = target_folder().join("examples").join(self.language);
        let kept = folder.join(format!("{:016x}.wasm", fingerprint(&written)));
        if !kept.exists() {
            self.build(&written);
            // What is there belongs to an older template, and need not be.
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).expect("the target folder can be written");
            let draft = kept.with_extension("draft");
            fs::copy(written.join(self.component), &draft).expect("the component was built");
            fs::rename(draft, &kept).expect("the target folder can be written");
        }
        if self.large { compiled(&kept) } else { kept }
    }

    fn build(&self, folder: &Path) {
        let page = fs::read_to_string(folder.join("README.md")).expect("a page");
        let commands = blocks(&page).remove(0).text;
        assert!(commands.contains(self.install), "{commands}");
        let building = |line: &&str| !line.starts_with("lictor ");
        let commands: String = commands.replacen(self.install, "", 1).split_inclusive('\n').filter(building).collect();
        if let Some((name, place)) = self.installed {
            symlink(tools_folder().join(place), folder.join(name)).expect("a link");
        }
        let mut shell = Command::new("bash");
        shell.args(["-euc", &commands]).current_dir(folder).env("CARGO_BUILD_BUILD_DIR", cargo_folder());
        succeeded(offline(&mut shell).output().expect("bash runs"));
    }
}

/// The component compiled ahead, kept beside it while this agent takes it.
fn compiled(component: &Path) -> PathBuf {
    let kept = component.with_extension("cwasm");
    let taken = lictor(&["plugin", "run"]).arg(&kept).output().expect("the agent runs");
    if !taken.status.success() {
        let draft = component.with_extension("draft");
        let mut compile = lictor(&["plugin", "compile", "-target", std::env::consts::ARCH]);
        succeeded(compile.arg("-out").arg(&draft).arg(component).output().expect("the agent runs"));
        fs::rename(draft, &kept).expect("the target folder can be written");
    }
    kept
}

/// A number that changes with any file of a folder.
fn fingerprint(folder: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            hasher.write(path.file_name().map_or(&[], OsStr::as_encoded_bytes));
            match path.is_dir() {
                true => folders.push(path),
                false => hasher.write(&fs::read(path).expect("a file")),
            }
        }
    }
    hasher.finish()
}
