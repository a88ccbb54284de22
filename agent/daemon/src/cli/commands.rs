//! The command table: every name, its one line, its flags and the function behind it.

use super::command::Command;
use super::options::Http;
use super::{agent, catalog, info, keygen, kv, leave, maint, members, monitor, raft, reload, services, version};
use crate::goflag::FlagSpec;

const NODE_META: FlagSpec =
    FlagSpec::pair("node-meta", "Only nodes with this metadata. May be given several times.").repeated();
const CAS: FlagSpec =
    FlagSpec::bool("cas", "Act only if the key still has the index in -modify-index. The default is false.");
const MODIFY_INDEX: FlagSpec = FlagSpec::uint("modify-index", "The ModifyIndex that -cas compares with.");

/// A command that other commands differ from.
const BASE: Command = Command {
    name: "",
    synopsis: "",
    arguments: "[options]",
    about: "",
    examples: &[],
    http: Http::Agent,
    namespaced: false,
    flags: &[],
    run: None,
};

/// A row that only groups others.
const GROUP: Command = Command { arguments: "<subcommand> [options] [args]", http: Http::No, ..BASE };

/// Every command, sorted by name.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "agent",
        synopsis: "Runs an agent",
        about: "Starts the agent and runs until it leaves or is stopped.",
        http: Http::No,
        run: Some(agent::run),
        ..BASE
    },
    Command {
        name: "catalog",
        synopsis: "Look into the catalog",
        about: "Lists what the servers know about data centres, nodes and services.",
        ..GROUP
    },
    Command {
        name: "catalog datacenters",
        synopsis: "Lists all known datacenters",
        about: "Lists the data centres that are known.",
        http: Http::Servers,
        run: Some(catalog::datacenters),
        ..BASE
    },
    Command {
        name: "catalog nodes",
        synopsis: "Lists all nodes in the given datacenter",
        about: "Lists the nodes of a data centre.",
        http: Http::Servers,
        flags: &[
            FlagSpec::bool("detailed", "Also show full ids, tagged addresses and metadata."),
            FlagSpec::value("filter", "string", "Filter expression that nodes must match."),
            FlagSpec::value("near", "string", "Node to sort by distance from; _agent is this agent's."),
            NODE_META,
            FlagSpec::value("service", "id or name", "Only nodes that offer this service."),
        ],
        run: Some(catalog::nodes),
        ..BASE
    },
    Command {
        name: "catalog services",
        synopsis: "Lists all registered services in a datacenter",
        about: "Lists the services of a data centre.",
        http: Http::Servers,
        namespaced: true,
        flags: &[
            FlagSpec::value("node", "id or name", "Only services of this node."),
            NODE_META,
            FlagSpec::bool("tags", "Show each service's tags beside it."),
        ],
        run: Some(catalog::services),
        ..BASE
    },
    Command {
        name: "info",
        synopsis: "Provides debugging information for operators.",
        about: "Shows the agent's own figures.",
        run: Some(info::info),
        ..BASE
    },
    Command {
        name: "keygen",
        synopsis: "Generates a new encryption key",
        arguments: "",
        about: "Prints 32 random bytes in base 64, as a key for gossip.",
        http: Http::No,
        run: Some(keygen::keygen),
        ..BASE
    },
    Command { name: "kv", synopsis: "Interact with the key-value store", about: "Reads and writes keys.", ..GROUP },
    Command {
        name: "kv delete",
        synopsis: "Removes data from the KV store",
        arguments: "[options] KEY_OR_PREFIX",
        about: "Deletes a key, or with -recurse every key under a prefix. A key that does not exist counts as deleted.",
        http: Http::Servers,
        namespaced: true,
        flags: &[
            CAS,
            MODIFY_INDEX,
            FlagSpec::bool("recurse", "Delete every key that starts with the given text. The default is false."),
        ],
        run: Some(kv::delete),
        ..BASE
    },
    Command {
        name: "kv export",
        synopsis: "Exports a tree from the KV store as JSON",
        arguments: "[KEY_OR_PREFIX]",
        about: "Prints the keys under a prefix as JSON that kv import reads.",
        http: Http::Servers,
        namespaced: true,
        run: Some(kv::export),
        ..BASE
    },
    Command {
        name: "kv get",
        synopsis: "Retrieves or lists data from the KV store",
        arguments: "[options] [KEY_OR_PREFIX]",
        about: "Prints the value of a key, or what is under a prefix.",
        http: Http::Servers,
        namespaced: true,
        flags: &[
            FlagSpec::bool("base64", "Show values in base 64. The default is false."),
            FlagSpec::bool("detailed", "Also show indexes, flags and session. The default is false."),
            FlagSpec::bool("keys", "List names instead of values, up to the next separator. The default is false."),
            FlagSpec::bool("recurse", "Show every key that starts with the given text. The default is false."),
            FlagSpec::value("separator", "string", "What separates the parts of a name, for -keys. (default \"/\")"),
        ],
        run: Some(kv::get),
        ..BASE
    },
    Command {
        name: "kv import",
        synopsis: "Imports a tree stored as JSON to the KV store",
        arguments: "[DATA]",
        about: "Writes the keys in DATA: JSON from kv export, @file, or - for standard input.",
        http: Http::Servers,
        namespaced: true,
        run: Some(kv::import),
        ..BASE
    },
    Command {
        name: "kv put",
        synopsis: "Sets or updates data in the KV store",
        arguments: "[options] KEY [DATA]",
        about: "Writes DATA to a key: the text itself, @file, or - for standard input.",
        http: Http::Servers,
        namespaced: true,
        flags: &[
            FlagSpec::bool("acquire", "Lock the key for -session. The default is false."),
            FlagSpec::bool("base64", "DATA is in base 64. The default is false."),
            CAS,
            FlagSpec::uint("flags", "A number to store beside the value. The default is 0."),
            MODIFY_INDEX,
            FlagSpec::bool("release", "Unlock the key that -session holds. The default is false."),
            FlagSpec::value("session", "string", "The session for -acquire and -release."),
        ],
        run: Some(kv::put),
        ..BASE
    },
    Command {
        name: "leave",
        synopsis: "Gracefully leaves the Consul cluster and shuts down",
        about: "Makes the agent leave the cluster and end.",
        run: Some(leave::leave),
        ..BASE
    },
    Command {
        name: "maint",
        synopsis: "Controls node or service maintenance mode",
        about: "Takes a node or service out of answers, or puts it back. Without flags it shows what is in maintenance.",
        flags: &[
            FlagSpec::bool("disable", "End maintenance."),
            FlagSpec::bool("enable", "Begin maintenance."),
            FlagSpec::value("reason", "string", "Why, for people to read."),
            FlagSpec::value("service", "string", "Id of the service; without it the whole node."),
        ],
        run: Some(maint::maint),
        ..BASE
    },
    Command {
        name: "members",
        synopsis: "Lists the members of a Consul cluster",
        about: "Lists the agents that this one knows by gossip.",
        flags: &[
            FlagSpec::bool("detailed", "Show the tags."),
            FlagSpec::value("segment", "string", "Only members of this segment."),
            FlagSpec::value("status", "string", "Only members whose status matches this regular expression."),
            FlagSpec::bool("wan", "Ask a server for the members of all data centres."),
        ],
        run: Some(members::run),
        ..BASE
    },
    Command {
        name: "monitor",
        synopsis: "Stream logs from a Consul agent",
        about: "Prints the agent's log as it is written, until interrupted.",
        flags: &[
            FlagSpec::bool("log-json", "As JSON."),
            FlagSpec::value("log-level", "string", "The lowest level to show."),
        ],
        run: Some(monitor::monitor),
        ..BASE
    },
    Command {
        name: "operator",
        synopsis: "Provides cluster-level tools for Consul operators",
        about: "Looks at the servers' own affairs.",
        arguments: "<subcommand> [options]",
        ..GROUP
    },
    Command {
        name: "operator raft",
        synopsis: "Provides cluster-level tools for Consul operators",
        about: "Looks at the servers' consensus.",
        arguments: "<subcommand> [options]",
        ..GROUP
    },
    Command {
        name: "operator raft list-peers",
        synopsis: "Display the current Raft peer configuration",
        about: "Lists the servers that vote.",
        http: Http::Servers,
        run: Some(raft::list_peers),
        ..BASE
    },
    Command {
        name: "reload",
        synopsis: "Triggers the agent to reload configuration files",
        arguments: "",
        about: "Makes the agent read its configuration again.",
        run: Some(reload::reload),
        ..BASE
    },
    Command {
        name: "services",
        synopsis: "Interact with services",
        about: "Registers services at the agent and takes them off.",
        ..GROUP
    },
    Command {
        name: "services deregister",
        synopsis: "Deregister services with the local agent",
        arguments: "[options] [FILE...]",
        about: "Takes off a service by -id, or the services that the files define.",
        http: Http::Servers,
        namespaced: true,
        flags: &[FlagSpec::value("id", "string", "Id of the service.")],
        run: Some(services::deregister),
        ..BASE
    },
    Command {
        name: "services register",
        synopsis: "Register services with the local agent",
        arguments: "[options] [FILE...]",
        about: "Registers one service by flags, or the services that the files define (HCL or JSON).",
        http: Http::Servers,
        namespaced: true,
        flags: &[
            FlagSpec::value("address", "string", "Address of the service."),
            FlagSpec::value("id", "string", "Id of the service. The default is its name."),
            FlagSpec::value("kind", "string", "Kind of the service."),
            FlagSpec::pair("meta", "Metadata as key=value. May be given several times.").repeated(),
            FlagSpec::value("name", "string", "Name of the service."),
            FlagSpec::int("port", "Port of the service."),
            FlagSpec::value("tag", "value", "A tag. May be given several times.").repeated(),
            FlagSpec::pair("tagged-address", "Another address as name=host:port. May be given several times.")
                .repeated(),
        ],
        run: Some(services::register),
        ..BASE
    },
    Command {
        name: "validate",
        synopsis: "Validate config files/directories",
        arguments: "[options] FILE_OR_DIRECTORY...",
        about: "Checks configuration files as an agent would that is started with nothing else.",
        http: Http::No,
        flags: &[
            FlagSpec::value("config-format", "string", "How the files are written, whatever their names: hcl or json."),
            FlagSpec::bool("quiet", "Say nothing when the configuration is valid."),
        ],
        run: Some(agent::validate),
        ..BASE
    },
    Command {
        name: "version",
        synopsis: "Prints the Consul version",
        about: "Prints the version of Consul's interface and lictor's own.",
        http: Http::No,
        flags: &[FlagSpec::value("format", "string", "Output format, pretty or json. (default \"pretty\")")],
        run: Some(version::version),
        ..BASE
    },
];
