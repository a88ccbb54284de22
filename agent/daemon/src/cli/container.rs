//! The container's entrypoint: what Consul's image takes as arguments and variables, as a command line of ours.
//!
//! The image holds this binary and no shell, so the binary does it itself when it is called by the name of the script
//! that Consul's image starts with (<https://hub.docker.com/_/consul>): `agent` gets the image's folders and the
//! addresses of the interfaces that variables name, lone flags mean `agent`, and `CONSUL_LOCAL_CONFIG` becomes a
//! file among the configuration. A container that starts as `root` has its folders handed over to the image's user, and
//! goes on as that. `CONSUL_ALLOW_PRIVILEGED_PORTS` needs nothing: containers may bind low ports.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use crate::again;

/// The name that asks for all this.
pub const NAME: &str = "docker-entrypoint.sh";

/// The user and group of Consul's image, which its files belong to.
const USER: u32 = 100;
const GROUP: u32 = 1000;

/// A command line, and what is to be done before it is run.
#[derive(Debug, PartialEq, Eq)]
pub struct Start {
    /// The arguments, without the program's name.
    pub arguments: Vec<String>,
    /// `CONSUL_LOCAL_CONFIG` and where it belongs.
    pub file: Option<(PathBuf, String)>,
    /// Folders that must belong to the image's user; none when the rights of `root` are to be kept.
    pub owned: Vec<PathBuf>,
}

/// Where the container's arguments run: its variables and its interfaces.
pub struct Container<'a> {
    /// Looks up an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Finds the IPv4 address of an interface, or says why it can't.
    pub address: &'a dyn Fn(&str) -> Result<IpAddr, String>,
}

impl Start {
    /// What the container's arguments and variables ask for.
    ///
    /// # Errors
    /// A variable names an interface that has no address.
    pub fn of(arguments: &[String], container: &Container<'_>) -> Result<Start, String> {
        let set = |name: &str| (container.variable)(name).filter(|value| !value.is_empty());
        let config = set("CONSUL_CONFIG_DIR").unwrap_or_else(|| "/consul/config".to_owned());
        let data = set("CONSUL_DATA_DIR").unwrap_or_else(|| "/consul/data".to_owned());
        let owned = match (container.variable)("CONSUL_DISABLE_PERM_MGMT") {
            None => vec![PathBuf::from(&data), PathBuf::from(&config)],
            Some(_) => Vec::new(),
        };
        let is_agent = |word: &String| word == "agent";
        let line = match arguments.split_first() {
            // A whole command line of its own says itself where its files are.
            Some((program, rest)) if matches!(program.as_str(), "consul" | "lictor") => rest.to_vec(),
            Some((first, rest)) if is_agent(first) => agent_line(rest, &config, &data, container)?,
            Some((flag, _)) if flag.starts_with('-') && !asks_about_program(flag) => {
                agent_line(arguments, &config, &data, container)?
            }
            // Another command, or none at all: as it is.
            _ => arguments.to_vec(),
        };
        let text = set("CONSUL_LOCAL_CONFIG").filter(|_| line.first().is_some_and(is_agent));
        let file = text.map(|text| (Path::new(&config).join("local.json"), text));
        Ok(Start { arguments: line, file, owned })
    }

    /// Writes the file, if there is one, and gives up the rights of `root` where the process has them, which runs the program again.
    /// Gives the arguments where it hasn't.
    ///
    /// # Errors
    /// The file can't be written, a folder can't be handed over, or the program can't be run again; the text names it.
    pub fn prepare(self) -> Result<Vec<String>, String> {
        if let Some((path, text)) = &self.file {
            let explain = |error| {
                format!("could not write CONSUL_LOCAL_CONFIG to {}: {error}: mount a folder there", path.display())
            };
            fs::write(path, text).map_err(explain)?;
        }
        if self.owned.is_empty() || !rustix::process::geteuid().is_root() {
            return Ok(self.arguments);
        }
        for folder in &self.owned {
            hand_over(folder).map_err(|error| {
                format!(
                    "could not make {} belong to user {USER}: {error}: set CONSUL_DISABLE_PERM_MGMT to run as root",
                    folder.display()
                )
            })?;
        }
        let error = again::as_user(USER, GROUP, &self.arguments);
        Err(format!("could not run as user {USER}: {error}: set CONSUL_DISABLE_PERM_MGMT to run as root"))
    }
}

/// `agent` with the image's folders, the addresses that variables name, and what was given.
fn agent_line(given: &[String], config: &str, data: &str, container: &Container<'_>) -> Result<Vec<String>, String> {
    let mut line = vec!["agent".to_owned(), format!("-data-dir={data}"), format!("-config-dir={config}")];
    for (name, flag) in [("CONSUL_BIND_INTERFACE", "bind"), ("CONSUL_CLIENT_INTERFACE", "client")] {
        if let Some(interface) = (container.variable)(name).filter(|value| !value.is_empty()) {
            let address = (container.address)(&interface).map_err(|error| format!("{name}: {error}"))?;
            line.push(format!("-{flag}={address}"));
        }
    }
    line.extend_from_slice(given);
    Ok(line)
}

fn asks_about_program(flag: &str) -> bool {
    matches!(flag, "-v" | "-version" | "--version" | "-h" | "-help" | "--help")
}

/// Makes a folder the image's user's. One that isn't there is nobody's.
fn hand_over(folder: &Path) -> io::Result<()> {
    match fs::metadata(folder) {
        Ok(found) if found.uid() != USER => chown(folder, Some(USER), Some(GROUP)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Start, String> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let address = |interface: &str| match interface {
            "eth0" => Ok(IpAddr::from([10, 0, 0, 5])),
            "eth1" => Ok(IpAddr::from([10, 0, 1, 5])),
            _ => Err("no such interface".to_owned()),
        };
        Start::of(&arguments, &Container { variable: &variable, address: &address })
    }

    fn line(arguments: &[&str], variables: &[(&str, &str)]) -> (String, Option<(PathBuf, String)>) {
        let start = start(arguments, variables).unwrap();
        (start.arguments.join(" "), start.file)
    }

    #[test]
    fn arguments_mean_what_they_mean_to_consuls_image() {
        const FOLDERS: &str = "-data-dir=/consul/data -config-dir=/consul/config";
        for (given, expected) in [
            (&["agent", "-dev", "-client", "0.0.0.0"][..], format!("agent {FOLDERS} -dev -client 0.0.0.0")),
            (&["-server", "-bootstrap"], format!("agent {FOLDERS} -server -bootstrap")),
            (&["consul", "agent", "-dev"], "agent -dev".to_owned()),
            (&["consul", "members"], "members".to_owned()),
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
        let local = Some((PathBuf::from("/etc/c/local.json"), r#"{"node_name": "n"}"#.to_owned()));
        assert_eq!(arguments, "agent -data-dir=/consul/data -config-dir=/etc/c -bind=10.0.0.5 -client=10.0.1.5");
        assert_eq!(file, local);
        assert_eq!(line(&["consul", "agent"], &variables), ("agent".to_owned(), local));
        assert_eq!(line(&["members"], &variables).1, None);
        let unknown = start(&["agent"], &[("CONSUL_BIND_INTERFACE", "nope")]);
        assert_eq!(unknown, Err("CONSUL_BIND_INTERFACE: no such interface".to_owned()));
    }

    #[test]
    fn folders_are_handed_over_unless_that_is_disabled() {
        let owned = |variables: &[(&str, &str)]| start(&["agent"], variables).unwrap().owned;
        assert_eq!(owned(&[("CONSUL_DATA_DIR", "/d")]), [Path::new("/d"), Path::new("/consul/config")]);
        assert!(owned(&[("CONSUL_DISABLE_PERM_MGMT", "")]).is_empty());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let file = Some((PathBuf::from("/nonexistent/local.json"), String::new()));
        let error = Start { arguments: Vec::new(), file, owned: Vec::new() }.prepare().unwrap_err();
        assert!(error.contains("CONSUL_LOCAL_CONFIG to /nonexistent/local.json"), "{error}");
    }
}
