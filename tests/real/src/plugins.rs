//! The plugins of this repository on agents: built components, what they are granted, and what their checks say.
//! `servers.rs` has what they are tried against.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::agent::{Agent, Binary, PATIENCE, config_file};
use crate::http::{Response, get, request};
use crate::pool::until;
use crate::tools::{succeeded, target_folder};

/// Where `just plugins` put a component.
///
/// # Panics
/// When it is not there, with the command that builds it.
pub fn component(name: &str) -> PathBuf {
    let folder = target_folder().join("plugins/wasm32-wasip2/release");
    let file = folder.join(format!("{}.wasm", name.replace('-', "_")));
    assert!(file.exists(), "{} is not there: run `just plugins` first", file.display());
    file
}

/// What a check is told, and the status and a part of the output that should come of it.
pub type Case = (Value, &'static str, &'static str);

/// Runs a check of `plugins/` on an agent, once for each case, with what `allow` (the inside of that block) grants.
///
/// # Panics
/// When a case does not come out as expected; shows what did.
pub fn expect(plugin: &str, allow: &str, cases: &[Case]) {
    let cases: Vec<_> = cases.iter().map(|case| (plugin, case.clone())).collect();
    PluginAgent::start(&[(plugin, &component(plugin), allow)]).expect(&cases);
}

/// A development agent with plugins.
pub struct PluginAgent {
    /// The agent.
    pub agent: Agent,
    _folder: TempDir,
}

impl PluginAgent {
    /// Starts an agent with plugins: each a name, a file, and the inside of its `allow` block. Waits until all of them serve.
    pub fn start(plugins: &[(&str, &Path, &str)]) -> PluginAgent {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let block = |(name, file, allow): &(&str, &Path, &str)| {
            // The suite runs on few processors: the limit of CPU time is about loops here, not about speed.
            format!(
                "plugin {name:?} {{ path = {file:?} allow {{ {allow} }} limits {{ cpu = \"2s\" wall = \"5s\" }} }}\n"
            )
        };
        let text: String = plugins.iter().map(block).collect();
        let config = config_file(folder.path(), "plugins.hcl", &text);
        let mut agent = Agent::start(Binary::Lictor, &["-dev", &format!("-config-file={config}")]);
        plugins.iter().for_each(|_| drop(agent.wait_for_line("a plugin serves")));
        PluginAgent { agent, _folder: folder }
    }

    /// Runs checks of its plugins, all at once.
    ///
    /// # Panics
    /// When a case does not come out as expected; shows what did.
    pub fn expect(&self, cases: &[(&str, Case)]) {
        let name = |number: usize| format!("case-{number}");
        for (number, (plugin, (config, ..))) in cases.iter().enumerate() {
            self.register(&name(number), plugin, config);
        }
        for (number, (plugin, (config, status, part))) in cases.iter().enumerate() {
            let (found, output) = self.outcome(&name(number));
            let expected = found == *status && output.contains(part);
            assert!(expected, "{plugin} with {config} is {found}, not {status} with {part:?}: {output}");
        }
    }

    /// One request.
    pub fn request(&self, method: &str, path: &str, body: &Value) -> Response {
        request(self.agent.address, method, path, body.to_string().as_bytes())
    }

    /// Registers a check.
    ///
    /// # Panics
    /// When the agent refuses it.
    pub fn register(&self, name: &str, plugin: &str, config: &Value) {
        let body = json!({"Name": name, "Plugin": plugin, "Config": config, "Interval": "1s"});
        let answer = self.request("PUT", "/v1/agent/check/register", &body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    }

    /// Waits until a check has this status, with this part in its output.
    ///
    /// # Panics
    /// When that does not come.
    pub fn wait_for(&self, name: &str, status: &str, part: &str) {
        until(PATIENCE, &format!("check {name} that is {status} and says {part:?}"), || {
            let (found, output) = self.outcome(name);
            (found == status && output.contains(part)).then_some(())
        });
    }

    /// The status and output of a check once it ran.
    pub fn outcome(&self, name: &str) -> (String, String) {
        until(PATIENCE, "outcome of the check", || {
            let checks = get(self.agent.address, "/v1/agent/checks");
            let field = |field: &str| checks[name][field].as_str().unwrap_or_default().to_owned();
            let (status, output) = (field("Status"), field("Output"));
            (!output.is_empty()).then_some((status, output))
        })
    }

    /// Runs a renderer of `plugins/` against this agent's catalog; the text it makes.
    ///
    /// # Panics
    /// When rendering fails.
    pub fn render(&self, renderer: &str, config: &Value, template: &str) -> String {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = config_file(folder.path(), "template", template);
        let done = lictor(&["plugin", "run", "-cpu=2s"])
            .env("CONSUL_HTTP_ADDR", format!("http://{}:8500", self.agent.address))
            .arg(format!("-template={file}"))
            .arg(format!("-out={}", folder.path().join("out").display()))
            .arg(format!("-config={config}"))
            .arg(component(renderer))
            .output();
        succeeded(done.expect("the binary can be started"));
        fs::read_to_string(folder.path().join("out/out")).expect("the renderer's file")
    }
}

/// The command `lictor` with these words.
pub fn lictor(words: &[&str]) -> Command {
    let mut command = Command::new(Binary::Lictor.path());
    command.args(words);
    command
}
