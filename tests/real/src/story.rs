//! The same client program told to two agents: its transcripts must be equal.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use crate::agent::{Agent, Binary};
use crate::tools::tools_folder;

/// A client program under `clients/`.
#[derive(Clone, Copy, Debug)]
pub enum Story {
    /// `story.py`: python-consul and dig.
    Python,
    /// `story.mjs`: the npm client.
    Npm,
}

impl Story {
    fn command(self, address: Ipv4Addr) -> Command {
        let clients = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients");
        let tools = tools_folder();
        let mut command = match self {
            Story::Python => Command::new(tools.join("python/bin/python")),
            Story::Npm => Command::new("node"),
        };
        match self {
            Story::Python => command.arg(clients.join("story.py")),
            Story::Npm => command.arg(clients.join("story.mjs")).arg(tools.join("npm")),
        };
        command.arg(address.to_string());
        command
    }

    /// Tells the story to a fresh agent and returns the transcript.
    ///
    /// # Panics
    /// When the client fails; prints what it said.
    pub fn told_to(self, binary: Binary) -> String {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = folder.path().join("story.json");
        fs::write(&config, r#"{"node_name": "story", "ports": {"grpc": -1}}"#).expect("a temporary folder is writable");
        let agent = Agent::start(binary, &["-dev", &format!("-config-file={}", config.display())]);
        let output = self.command(agent.address).output().expect("the client can be started: run tests/setup");
        let transcript = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?} failed with {binary:?}:\n{transcript}\n{complaint}");
        transcript
    }
}
