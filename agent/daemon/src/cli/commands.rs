//! The command table: every name, its one line, its flags and the function behind it.

use super::command::Command;
use super::options::Http;
use super::{
    agent, autopilot, catalog, event, force_leave, info, join, keygen, keyring, kv, leave, lock, maint, members,
    monitor, plugin, raft, raft_recover, reload, rtt, services, version, watch,
};
use crate::goflag::FlagSpec;

const NODE_META: FlagSpec =
    FlagSpec::pair("node-meta", "Only nodes with this metadata. May be given several times.").repeated();
const CAS: FlagSpec =
    FlagSpec::bool("cas", "Act only if the key still has the index in -modify-index. The default is false.");
const MODIFY_INDEX: FlagSpec = FlagSpec::uint("modify-index", "The ModifyIndex that -cas compares with.");

/// A command that other commands differ from.
pub(super) const BASE: Command = Command {
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
pub(super) const GROUP: Command = Command { arguments: "<subcommand> [options] [args]", http: Http::No, ..BASE };

/// Every command, sorted by name.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "agent",
        synopsis: "Run an agent",
        about: "Starts the agent and runs until it leaves or is stopped.\n\n-dev gives a server that keeps everything in memory, for trying things out.\nSettings come from the files given, then from flags; later ones win.",
        examples: &["agent -dev", "agent -server -bootstrap -data-dir=/var/lib/lictor -config-file=agent.hcl"],
        http: Http::No,
        run: Some(agent::run),
        ..BASE
    },
    Command {
        name: "catalog",
        synopsis: "List data centres, nodes and services",
        about: "Lists what the servers know about data centres, nodes and services.",
        examples: &["catalog nodes -service=web", "catalog services -tags"],
        ..GROUP
    },
    Command {
        name: "catalog datacenters",
        synopsis: "List the data centres",
        about: "Lists the data centres that the agent knows, one a line.",
        http: Http::Servers,
        run: Some(catalog::datacenters),
        ..BASE
    },
    Command {
        name: "catalog nodes",
        synopsis: "List the nodes of a data centre",
        about: "Lists the nodes of a data centre as a table: name, id, address, data centre.\nFlags that choose nodes can be combined.",
        examples: &[
            "catalog nodes",
            "catalog nodes -detailed -node-meta rack=r1",
            "catalog nodes -filter 'Meta.rack == \"r1\"'",
        ],
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
        synopsis: "List the services of a data centre",
        about: "Lists the names of the services of a data centre, or of one node.",
        examples: &["catalog services -tags", "catalog services -node=db1"],
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
        name: "event",
        synopsis: "Fire a user event",
        arguments: "[options] [payload]",
        about: "Fires an event that every agent of the data centre hears once. Its watches act on\nit; filters choose which agents it concerns.",
        examples: &["event -name=deploy -service=web 1.2.3"],
        http: Http::Servers,
        flags: &[
            FlagSpec::value("name", "string", "Name of the event."),
            FlagSpec::value("node", "string", "Only agents whose node name matches this regular expression."),
            FlagSpec::value("service", "string", "Only agents with a service that matches."),
            FlagSpec::value("tag", "string", "Only agents whose service has a tag that matches. Needs -service."),
        ],
        run: Some(event::event),
        ..BASE
    },
    Command {
        name: "force-leave",
        synopsis: "Make a failed member count as left",
        arguments: "[options] name",
        about: "Tells the pool that a failed member will not come back, so that nobody tries to\nreach it any more. One that is alive objects.",
        examples: &["force-leave web-7", "force-leave -prune web-7"],
        flags: &[FlagSpec::bool("prune", "Forget it at once, so that it is no longer listed.")],
        run: Some(force_leave::force_leave),
        ..BASE
    },
    Command {
        name: "info",
        synopsis: "Show an agent's figures",
        about: "Shows the figures an agent keeps about itself: build, consensus, runtime.",
        run: Some(info::info),
        ..BASE
    },
    Command {
        name: "join",
        synopsis: "Join the pool of other agents",
        arguments: "[options] address ...",
        about: "Makes the agent join the pool that the agents at these addresses are in.\nOne that answers is enough.",
        examples: &["join 10.0.0.5", "join server-1 server-2:8301"],
        flags: &[FlagSpec::bool("wan", "Join servers of another data centre.")],
        run: Some(join::join),
        ..BASE
    },
    Command {
        name: "keygen",
        synopsis: "Make a key for gossip",
        arguments: "",
        about: "Prints 32 random bytes in base 64, a key for the setting `encrypt`.",
        http: Http::No,
        run: Some(keygen::keygen),
        ..BASE
    },
    Command {
        name: "keyring",
        synopsis: "List and change the keys of gossip",
        about: "Asks every member to list or change the keys that gossip is sealed with.\nTo rotate: install a new key, use it, remove the old one.\nExits with 1 unless every member did it.",
        examples: &["keyring -list", "keyring -install=$(lictor keygen)"],
        flags: &[
            FlagSpec::value("install", "string", "Key that members are to accept from now on."),
            FlagSpec::bool("list", "List the keys and how many members have each."),
            FlagSpec::bool("list-primary", "List the keys that members seal with."),
            FlagSpec::bool("local-only", "Ask the LAN alone. Only with -list and -list-primary."),
            FlagSpec::int(
                "relay-factor",
                "Accepted for compatibility, 0 to 5: answers that get lost are asked for again.",
            ),
            FlagSpec::value("remove", "string", "Key that members are to accept no longer."),
            FlagSpec::value("use", "string", "Key that members are to seal with from now on."),
        ],
        run: Some(keyring::keyring),
        ..BASE
    },
    Command {
        name: "kv",
        synopsis: "Read and write keys",
        about: "Reads and writes keys.",
        examples: &["kv put app/colour blue", "kv get app/colour", "kv get -keys app/"],
        ..GROUP
    },
    Command {
        name: "kv delete",
        synopsis: "Delete keys",
        arguments: "[options] KEY_OR_PREFIX",
        about: "Deletes a key, or with -recurse every key that starts with the given text.\nA key that does not exist counts as deleted.",
        examples: &["kv delete app/colour", "kv delete -recurse app/"],
        http: Http::Servers,
        namespaced: true,
        flags: &[
            CAS,
            MODIFY_INDEX,
            FlagSpec::bool("recurse", "Delete every key that starts with the given text. The default is false."),
        ],
        run: Some(kv::delete),
    },
    Command {
        name: "kv export",
        synopsis: "Print keys as JSON",
        arguments: "[KEY_OR_PREFIX]",
        about: "Prints every key that starts with the given text as JSON that kv import reads.",
        examples: &["kv export app/ > app.json"],
        http: Http::Servers,
        namespaced: true,
        run: Some(kv::export),
        ..BASE
    },
    Command {
        name: "kv get",
        synopsis: "Print values or names",
        arguments: "[options] [KEY_OR_PREFIX]",
        about: "Prints the value of a key. With -recurse or -keys, what starts with the given\ntext; then no match is no failure.",
        examples: &["kv get app/colour", "kv get -recurse -detailed app/"],
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
    },
    Command {
        name: "kv import",
        synopsis: "Write keys from JSON",
        arguments: "[DATA]",
        about: "Writes the keys in DATA: JSON from kv export, @file, or - for standard input.",
        examples: &["kv import @app.json"],
        http: Http::Servers,
        namespaced: true,
        run: Some(kv::import),
        ..BASE
    },
    Command {
        name: "kv put",
        synopsis: "Write a key",
        arguments: "[options] KEY [DATA]",
        about: "Writes DATA to a key: the text itself, @file, or - for standard input.\n\nWith -cas nothing is written if the key has changed. With -acquire or -release\nthe session takes or gives back the lock on the key.",
        examples: &[
            "kv put app/colour blue",
            "kv put app/config @config.json",
            "kv put -cas -modify-index=42 app/colour green",
        ],
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
    },
    Command {
        name: "leave",
        synopsis: "Make an agent leave and end",
        about: "Makes the agent leave the cluster in order and end.",
        run: Some(leave::leave),
        ..BASE
    },
    Command {
        name: "lock",
        synopsis: "Run a program while holding a lock",
        arguments: "[options] prefix child...",
        about: "Takes the lock below a prefix of keys, runs a program, and gives the lock back.\nA program whose lock is lost is asked to end, and ended after five seconds.\nWith -n above 1 so many may hold it at a time.",
        examples: &["lock jobs/backup ./backup.sh", "lock -n=3 -timeout=10s jobs/import ./import.sh"],
        http: Http::Servers,
        flags: &[
            FlagSpec::bool("child-exit-code", "Exit with 2 when the program fails by itself. The default is false."),
            FlagSpec::int(
                "monitor-retry",
                "How often failing to see the lock is tolerated, a second apart. (default 3)",
            ),
            FlagSpec::int("n", "How many may hold the lock at a time. (default 1)"),
            FlagSpec::value("name", "string", "Name of the session. By default made from the program."),
            FlagSpec::bool("pass-stdin", "Give the program our standard input."),
            FlagSpec::bool("shell", "Let a shell read the program's words. The default is true."),
            FlagSpec::value("timeout", "duration", "How long to wait for the lock; 0s waits for ever."),
            FlagSpec::value("try", "duration", "Another name of -timeout."),
            FlagSpec::bool("verbose", "Say what is being done."),
        ],
        run: Some(lock::lock),
        ..BASE
    },
    Command {
        name: "maint",
        synopsis: "Begin, end or show maintenance",
        about: "Takes a node or service out of answers, or puts it back. Without flags it shows\nwhat is in maintenance.",
        examples: &["maint -enable -reason='new disk'", "maint -disable", "maint -enable -service=web"],
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
        synopsis: "List the agents in the pool",
        about: "Lists the agents that this one knows, with address and status.\nExits with 2 when none match.",
        examples: &["members", "members -status='^failed$'"],
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
        synopsis: "Follow an agent's log",
        about: "Prints the agent's log as it is written, until interrupted.",
        examples: &["monitor -log-level=debug"],
        flags: &[
            FlagSpec::bool("log-json", "As JSON."),
            FlagSpec::value("log-level", "string", "The lowest level to show."),
        ],
        run: Some(monitor::monitor),
        ..BASE
    },
    Command {
        name: "operator",
        synopsis: "Look at the servers' own affairs",
        about: "Looks at the servers' own affairs.",
        arguments: "<subcommand> [options]",
        ..GROUP
    },
    Command {
        name: "operator autopilot",
        synopsis: "Look at and change how the leader cares for the servers",
        about: "The leader gives new servers their vote and removes dead ones by itself. These\ncommands show and change the settings it goes by, which all servers share.",
        examples: &["operator autopilot get-config", "operator autopilot set-config -min-quorum=3"],
        arguments: "<subcommand> [options]",
        ..GROUP
    },
    Command {
        name: "operator autopilot get-config",
        synopsis: "Show the settings",
        about: "Shows the settings by which the leader cares for the servers.",
        http: Http::Servers,
        run: Some(autopilot::get_config),
        ..BASE
    },
    Command {
        name: "operator autopilot set-config",
        synopsis: "Change settings",
        about: "Changes the settings that are given and leaves the others as they are. They are\nkept by the servers together, in place of what their configuration files say.",
        examples: &[
            "operator autopilot set-config -cleanup-dead-servers=false",
            "operator autopilot set-config -server-stabilization-time=30s -min-quorum=3",
        ],
        http: Http::Servers,
        flags: &[
            FlagSpec::bool("cleanup-dead-servers", "Remove servers that died, while those that remain are a majority."),
            FlagSpec::bool("disable-upgrade-migration", "Kept for compatibility; has no effect."),
            FlagSpec::value(
                "last-contact-threshold",
                "200ms",
                "The longest silence of a healthy server. Below two heartbeats it counts as two heartbeats.",
            ),
            FlagSpec::uint("max-trailing-logs", "How many entries a healthy server may be behind the leader."),
            FlagSpec::uint("min-quorum", "Never remove a dead server when fewer voters than this would remain."),
            FlagSpec::value("redundancy-zone-tag", "value", "Kept for compatibility; has no effect."),
            FlagSpec::value(
                "server-stabilization-time",
                "10s",
                "How long a new server must have been healthy before it gets a vote.",
            ),
            FlagSpec::value("upgrade-version-tag", "value", "Kept for compatibility; has no effect."),
        ],
        run: Some(autopilot::set_config),
        ..BASE
    },
    Command {
        name: "operator raft",
        synopsis: "Look at and change the servers' consensus",
        about: "Looks at how the servers agree on the log, changes who they are, and recovers a\nserver when most of the others are lost.",
        examples: &["operator raft list-peers"],
        arguments: "<subcommand> [options]",
        ..GROUP
    },
    Command {
        name: "operator raft list-peers",
        synopsis: "List the servers and who leads",
        about: "Lists the servers that keep the log, who leads, and who votes.",
        http: Http::Servers,
        run: Some(raft::list_peers),
        ..BASE
    },
    Command {
        name: "operator raft recover",
        synopsis: "Make a stopped server the only one, when most are lost",
        about: raft_recover::ABOUT,
        examples: &[
            "operator raft recover -data-dir=/var/lib/lictor",
            "operator raft recover -data-dir=/var/lib/lictor -yes",
        ],
        http: Http::No,
        flags: &[
            FlagSpec::value("data-dir", "path", "The data folder of the stopped server."),
            FlagSpec::value("node-id", "id", "Its node id, where that is not in the folder's file node-id."),
            FlagSpec::bool("yes", "Do it. Without this flag nothing is changed."),
        ],
        run: Some(raft_recover::recover),
        ..BASE
    },
    Command {
        name: "operator raft remove-peer",
        synopsis: "Remove a server that is gone",
        about: "Removes a server from those that agree on the log. Dead servers are removed by\nthemselves, and with force-leave; this is for one that the pool no longer knows.\nIt needs a leader: where there is none, see operator raft recover.",
        examples: &["operator raft remove-peer -address=10.0.0.7:8300"],
        http: Http::Servers,
        flags: &[
            FlagSpec::value("address", "string", "Its address: IP:port."),
            FlagSpec::value("id", "string", "Its node id."),
        ],
        run: Some(raft::remove_peer),
        ..BASE
    },
    Command {
        name: "operator raft transfer-leader",
        synopsis: "Hand the lead to another server",
        about: "Makes another server the leader: the one named, or whichever has most of the log.",
        examples: &["operator raft transfer-leader"],
        http: Http::Servers,
        flags: &[FlagSpec::value("id", "string", "Node id of the server that is to lead.")],
        run: Some(raft::transfer_leader),
        ..BASE
    },
    plugin::rows::PLUGIN,
    plugin::rows::COMPILE,
    plugin::rows::KEYGEN,
    plugin::rows::LIST,
    plugin::rows::NEW,
    plugin::rows::PUSH,
    plugin::rows::REMOVE,
    plugin::rows::RUN,
    plugin::rows::SHOW,
    plugin::rows::SIGN,
    plugin::rows::VERIFY,
    Command {
        name: "reload",
        synopsis: "Make an agent read its configuration again",
        arguments: "",
        about: "Makes the agent read its configuration again. What can't change while it runs\nis left as it is, and its log says so.",
        run: Some(reload::reload),
        ..BASE
    },
    Command {
        name: "rtt",
        synopsis: "Estimate the round trip between members",
        arguments: "[options] node1 [node2]",
        about: "Estimates the round trip between two members from their places on the map that\ngossip keeps. The second one is this agent unless named.",
        examples: &["rtt web-1", "rtt web-1 db-1"],
        flags: &[FlagSpec::bool("wan", "Between servers of data centres, named as node.datacenter.")],
        run: Some(rtt::rtt),
        ..BASE
    },
    Command {
        name: "services",
        synopsis: "Register and deregister services",
        about: "Registers services at the agent and takes them off.",
        examples: &["services register -name=web -port=80", "services deregister -id=web"],
        ..GROUP
    },
    Command {
        name: "services deregister",
        synopsis: "Take services off an agent",
        arguments: "[options] [FILE...]",
        about: "Takes off a service by -id, or the services that the files define.",
        examples: &["services deregister -id=web", "services deregister web.hcl"],
        http: Http::Servers,
        namespaced: true,
        flags: &[FlagSpec::value("id", "string", "Id of the service.")],
        run: Some(services::deregister),
    },
    Command {
        name: "services register",
        synopsis: "Register services at an agent",
        arguments: "[options] [FILE...]",
        about: "Registers one service by flags, or the services that the files define (HCL or\nJSON). The agent keeps them until they are taken off.",
        examples: &["services register -name=web -port=80 -tag=blue", "services register web.hcl"],
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
    },
    Command {
        name: "validate",
        synopsis: "Check configuration files",
        arguments: "[options] FILE_OR_DIRECTORY...",
        about: "Checks files and folders as an agent would that is started with nothing else.\nExits with 1 at the first mistake.",
        examples: &["validate /etc/lictor"],
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
        synopsis: "Print the version",
        about: "Prints the version of the interface, which is Consul's, and lictor's own.",
        http: Http::No,
        flags: &[FlagSpec::value("format", "string", "Output format, pretty or json. (default \"pretty\")")],
        run: Some(version::version),
        ..BASE
    },
    Command {
        name: "watch",
        synopsis: "Act on changes",
        arguments: "[options] [child...]",
        about: "Watches a key, services, nodes, checks or events. Without a program it prints what\nis there now; with one it runs it for every change, with the news as JSON on its\nstandard input and their index in CONSUL_INDEX.",
        examples: &["watch -type=key -key=app/colour", "watch -type=service -service=web ./reload-proxy"],
        http: Http::Servers,
        flags: &[
            FlagSpec::value("key", "string", "The key to watch. Only for type key."),
            FlagSpec::value("name", "string", "The name of events to watch. Only for type event."),
            FlagSpec::value("passingonly", "[true|false]", "Only instances whose checks pass. Only for type service."),
            FlagSpec::value("prefix", "string", "What the keys to watch begin with. Only for type keyprefix."),
            FlagSpec::value("service", "string", "The service to watch. For types service and checks."),
            FlagSpec::bool("shell", "Let a shell read the program's words. The default is true."),
            FlagSpec::value("state", "string", "The state of checks to watch. Only for type checks."),
            FlagSpec::value(
                "tag",
                "value",
                "A tag that instances must carry. Only for type service. May be given several times.",
            )
            .repeated(),
            FlagSpec::value(
                "type",
                "string",
                "What to watch: key, keyprefix, services, nodes, service, checks or event.",
            ),
        ],
        run: Some(watch::watch),
        ..BASE
    },
];
