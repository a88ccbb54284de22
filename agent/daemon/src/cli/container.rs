//! The container's entrypoint: what Consul's image takes as arguments and variables, as a command line of ours.
//!
//! The image holds this binary and no shell, so the binary does it itself when it is called by the name of the script
//! that Consul's image starts with (<https://hub.docker.com/_/consul>): `agent` gets the image's folders and the
//! addresses of the interfaces that variables name, lone flags mean `agent`, and `CONSUL_LOCAL_CONFIG` becomes a
//! file among the configuration.

use std::fs;
use std::path::{Path, PathBuf};

/// The name that asks for all this.
pub const NAME: &str = "docker-entrypoint.sh";

/// A command line, and a file to write before it is run.
#[derive(Debug, PartialEq, Eq)]
pub struct Start {
    /// The arguments, without the program's name.
    pub arguments: Vec<String>,
    /// `CONSUL_LOCAL_CONFIG` and where it belongs.
    pub file: Option<(PathBuf, String)>,
}

impl Start {
    /// What the container's arguments and variables ask for.
    pub fn of(arguments: &[String], variable: &dyn Fn(&str) -> Option<String>) -> Start {
        let rest = match arguments.first().map(String::as_str) {
            // Another command, or none at all: as it is.
            Some(first) if first != "agent" && !first.starts_with('-') => None,
            None => None,
            Some("agent") => Some(&arguments[1..]),
            Some("-v" | "-version" | "--version" | "-h" | "-help" | "--help") => None,
            Some(_) => Some(arguments),
        };
        let Some(rest) = rest else { return Start { arguments: arguments.to_vec(), file: None } };
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let config = set("CONSUL_CONFIG_DIR").unwrap_or_else(|| "/consul/config".to_owned());
        let data = set("CONSUL_DATA_DIR").unwrap_or_else(|| "/consul/data".to_owned());
        let mut line = vec!["agent".to_owned(), format!("-data-dir={data}"), format!("-config-dir={config}")];
        for (name, flag) in [("CONSUL_BIND_INTERFACE", "bind"), ("CONSUL_CLIENT_INTERFACE", "client")] {
            if let Some(interface) = set(name) {
                line.push(format!("-{flag}={{{{ GetInterfaceIP \"{interface}\" }}}}"));
            }
        }
        line.extend_from_slice(rest);
        let file = set("CONSUL_LOCAL_CONFIG").map(|text| (Path::new(&config).join("local.json"), text));
        Start { arguments: line, file }
    }

    /// Writes the file, if there is one, and gives the arguments.
    ///
    /// # Errors
    /// It can't be written; the text names it.
    pub fn prepare(self) -> Result<Vec<String>, String> {
        if let Some((path, text)) = &self.file {
            let explain = |error| {
                format!("could not write CONSUL_LOCAL_CONFIG to {}: {error}: mount a folder there", path.display())
            };
            fs::write(path, text).map_err(explain)?;
        }
        Ok(self.arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &[&str], variables: &[(&str, &str)]) -> (String, Option<(PathBuf, String)>) {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let start = Start::of(&arguments, &variable);
        (start.arguments.join(" "), start.file)
    }

    #[test]
    fn arguments_mean_what_they_mean_to_consuls_image() {
        const FOLDERS: &str = "-data-dir=/consul/data -config-dir=/consul/config";
        for (given, expected) in [
            (&["agent", "-dev", "-client", "0.0.0.0"][..], format!("agent {FOLDERS} -dev -client 0.0.0.0")),
            (&["-server", "-bootstrap"], format!("agent {FOLDERS} -server -bootstrap")),
            (&["members"], "members".to_owned()),
            (&["kv", "get", "a"], "kv get a".to_owned()),
            (&["--version"], "--version".to_owned()),
            (&[], String::new()),
        ] {
            assert_eq!(line(given, &[]).0, expected);
        }
    }

    #[test]
    fn variables_become_flags_and_a_file() {
        let variables = [
            ("CONSUL_BIND_INTERFACE", "eth0"),
            ("CONSUL_CLIENT_INTERFACE", "eth1"),
            ("CONSUL_CONFIG_DIR", "/etc/c"),
            ("CONSUL_LOCAL_CONFIG", r#"{"node_name": "n"}"#),
        ];
        let (arguments, file) = line(&["agent"], &variables);
        let addresses = r#"-bind={{ GetInterfaceIP "eth0" }} -client={{ GetInterfaceIP "eth1" }}"#;
        assert_eq!(arguments, format!("agent -data-dir=/consul/data -config-dir=/etc/c {addresses}"));
        assert_eq!(file, Some((PathBuf::from("/etc/c/local.json"), r#"{"node_name": "n"}"#.to_owned())));
        assert_eq!(line(&["members"], &variables).1, None);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let file = Some((PathBuf::from("/nonexistent/local.json"), String::new()));
        let error = Start { arguments: Vec::new(), file }.prepare().unwrap_err();
        assert!(error.contains("CONSUL_LOCAL_CONFIG to /nonexistent/local.json"), "{error}");
    }
}
