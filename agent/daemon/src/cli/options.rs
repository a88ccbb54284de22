//! Flags every HTTP command has, and the environment variables behind them.
//!
//! Turns them into the client's settings. Reads token files; sends nothing.

use super::address::Address;
use super::client::{Settings, go_io_error};
use super::tls::TlsSettings;
use crate::goflag::{FlagSpec, Parsed, parse_bool};

/// Which requests a command makes, and so which shared flags it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    /// None: a local command.
    No,
    /// To this agent only.
    Agent,
    /// To the servers, which may be another data centre's.
    Servers,
}

const AGENT_FLAGS: &[FlagSpec] = &[
    FlagSpec::value(
        "ca-file",
        "value",
        "File of certificate authorities to trust over HTTPS. Environment: CONSUL_CACERT.",
    ),
    FlagSpec::value("ca-path", "value", "Directory of such files. Environment: CONSUL_CAPATH."),
    FlagSpec::value(
        "client-cert",
        "value",
        "Certificate to show to an agent that asks for one. Environment: CONSUL_CLIENT_CERT.",
    ),
    FlagSpec::value("client-key", "value", "Key of that certificate. Environment: CONSUL_CLIENT_KEY."),
    FlagSpec::value(
        "http-addr",
        "address",
        "Where the agent listens: host:port, http://host:port, https://host:port or unix://path. The default is http://127.0.0.1:8500. Environment: CONSUL_HTTP_ADDR; CONSUL_HTTP_SSL=true selects HTTPS.",
    ),
    FlagSpec::value(
        "tls-server-name",
        "value",
        "Name the agent's certificate must prove. Environment: CONSUL_TLS_SERVER_NAME.",
    ),
    FlagSpec::value(
        "token",
        "value",
        "ACL token to send. Without one the agent uses its own. Environment: CONSUL_HTTP_TOKEN.",
    ),
    FlagSpec::value("token-file", "value", "File to read the ACL token from. Environment: CONSUL_HTTP_TOKEN_FILE."),
];

const SERVER_FLAGS: &[FlagSpec] = &[
    FlagSpec::value("datacenter", "value", "Data centre to ask. The default is the agent's own."),
    FlagSpec::bool(
        "stale",
        "Let any server answer, which is faster and may be slightly out of date. The default is false.",
    ),
];

/// The namespace flags, which accept `default` alone.
pub const NAMESPACE_FLAGS: &[FlagSpec] = &[
    FlagSpec::value("namespace", "default", "Namespace to use. There is one, named default."),
    FlagSpec::value("partition", "default", "Partition to use. There is one, named default."),
];

impl Http {
    /// The shared flags of a command of this kind.
    pub fn flags(self) -> Vec<FlagSpec> {
        match self {
            Http::No => Vec::new(),
            Http::Agent => AGENT_FLAGS.to_vec(),
            Http::Servers => [AGENT_FLAGS, SERVER_FLAGS].concat(),
        }
    }
}

/// There is one namespace and one partition; naming another must not read or write in this one.
fn refuse_other_tenancies(text: &dyn Fn(&str, &str) -> String) -> Result<(), String> {
    for (flag, variable) in [("namespace", "CONSUL_NAMESPACE"), ("partition", "CONSUL_PARTITION")] {
        let named = text(flag, variable);
        if !matches!(named.as_str(), "" | "default") {
            return Err(format!("there is no {flag} {named:?}: -{flag} and {variable} accept only \"default\""));
        }
    }
    Ok(())
}

/// The client settings that flags, and behind them the environment, ask for.
///
/// # Errors
/// An address that can't be read, or a token file.
pub fn settings(flags: &Parsed, variable: &dyn Fn(&str) -> Option<String>) -> Result<Settings, String> {
    let text = |flag: &str, name: &str| match flags.last(flag) {
        Some(value) if !value.is_empty() => value.to_owned(),
        _ => variable(name).unwrap_or_default(),
    };
    let switch = |name: &str| variable(name).and_then(|value| parse_bool(&value));
    let https = switch("CONSUL_HTTP_SSL") == Some(true);
    let address = match text("http-addr", "CONSUL_HTTP_ADDR") {
        empty if empty.is_empty() => Address { https, ..Address::default() },
        given => Address::parse(&given, https)?,
    };
    refuse_other_tenancies(&text)?;
    // A file wins, because the variable for tokens is often set for everything else.
    let token = match text("token-file", "CONSUL_HTTP_TOKEN_FILE") {
        empty if empty.is_empty() => text("token", "CONSUL_HTTP_TOKEN"),
        file => {
            let read = std::fs::read_to_string(&file);
            let read = read.map_err(|error| format!("Error loading token file: open {file}: {}", go_io_error(&error)));
            read?.trim().to_owned()
        }
    };
    Ok(Settings {
        address,
        token,
        basic_auth: variable("CONSUL_HTTP_AUTH").filter(|auth| !auth.is_empty()),
        datacenter: flags.last("datacenter").unwrap_or_default().to_owned(),
        stale: flags.bool("stale"),
        tls: TlsSettings {
            ca_file: text("ca-file", "CONSUL_CACERT"),
            ca_path: text("ca-path", "CONSUL_CAPATH"),
            client_cert: text("client-cert", "CONSUL_CLIENT_CERT"),
            client_key: text("client-key", "CONSUL_CLIENT_KEY"),
            server_name: text("tls-server-name", "CONSUL_TLS_SERVER_NAME"),
            skip_verify: switch("CONSUL_HTTP_SSL_VERIFY") == Some(false),
        },
    })
}
