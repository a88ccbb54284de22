//! What to run: the command line, and where the two agents are.
//!
//! It decides nothing about how a part works.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// What the command line may say; printed when it says something else.
pub const USAGE: &str = "usage: bench [--rounds N] [--seconds N] [--soak-seconds N] [--only lictor|consul] [PART...]
  LICTOR=path   the agent built from this tree (default: beside this binary)
  CONSUL=path   the real Consul 1.8.7 (default: where tests/real/get-consul puts it)
  ETCD=path     etcd 3.5 (default: where `tests/real/get-consul --etcd` puts it)
parts:";

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The agent built from this tree.
    Lictor,
    /// The real Consul 1.8.7.
    Consul,
    /// The least a program could do on this machine: hyper's hello, a UDP echo, an fsync loop.
    Limit,
    /// etcd 3.5, where it does the same.
    Etcd,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The path of the agent built from this tree.
    pub lictor: PathBuf,
    /// The path of the real Consul.
    pub consul: PathBuf,
    /// The path of etcd.
    pub etcd: PathBuf,
    /// How often each part runs against each.
    pub rounds: usize,
    /// How long load is measured, after the warm-up.
    pub length: Duration,
    /// How long load runs before it is measured.
    pub warm_up: Duration,
    /// How long the soak lasts.
    pub soak: Duration,
    /// Only this agent, without limits.
    pub only: Option<Kind>,
    /// The names of the parts to run; all but the soak when empty.
    pub parts: Vec<String>,
}

impl Options {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// An unknown flag or value, in words.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options::defaults()?;
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--rounds" => options.rounds = whole(&value()?)? as usize,
                "--seconds" => options.length = Duration::from_secs(whole(&value()?)?),
                "--soak-seconds" => options.soak = Duration::from_secs(whole(&value()?)?),
                "--only" => options.only = Some(kind(&value()?)?),
                flag if flag.starts_with('-') => return Err(format!("unknown flag {flag}")),
                name => options.parts.push(name.to_owned()),
            }
        }
        Ok(options)
    }

    fn defaults() -> Result<Options, String> {
        let own = env::current_exe().map_err(|error| format!("this binary has no path: {error}"))?;
        let cache = |binary: &str| {
            let home = PathBuf::from(env::var_os("HOME").unwrap_or_default());
            let cache = env::var_os("PEERS_CACHE").map_or(home.join(".cache/lictor-peers"), PathBuf::from);
            cache.join(binary)
        };
        Ok(Options {
            lictor: env::var_os("LICTOR").map_or(own.with_file_name("lictor"), PathBuf::from),
            consul: env::var_os("CONSUL").map_or_else(|| cache("consul/usr/bin/consul"), PathBuf::from),
            etcd: env::var_os("ETCD").map_or_else(|| cache("etcd-server/usr/bin/etcd"), PathBuf::from),
            rounds: 3,
            length: Duration::from_secs(3),
            warm_up: Duration::from_secs(1),
            soak: Duration::from_secs(600),
            only: None,
            parts: Vec::new(),
        })
    }
}

fn whole(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or(format!("{text:?} is not a whole number above zero"))
}

fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "lictor" => Ok(Kind::Lictor),
        "consul" => Ok(Kind::Consul),
        _ => Err(format!("{text:?} is neither lictor nor consul")),
    }
}
