//! The answers to `… HELP`.

use ballast_protocol::Reply;

/// Subcommands with their arguments, and what they do, as lines.
pub(crate) type Help = &'static [(&'static str, &'static [&'static str])];

/// Writes a help in the shape of Redis's.
pub(crate) fn write(command: &str, lines: Help, reply: &mut Reply) {
    let count = lines.iter().map(|(_, text)| 1 + text.len()).sum::<usize>();
    reply.array(count + 3);
    reply.simple(&format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for (usage, text) in lines {
        reply.simple(usage);
        for line in *text {
            reply.simple(&format!("    {line}"));
        }
    }
    reply.simple("HELP");
    reply.simple("    Print this help.");
}

/// `CLIENT`
pub(crate) const CLIENT: Help = &[
    (
        "CACHING (YES|NO)",
        &["Enable/disable tracking of the keys for the next command in OPTIN/OPTOUT modes."],
    ),
    ("GETREDIR", &["Return the client ID we are redirecting to when tracking is enabled."]),
    ("GETNAME", &["Return the name of the current connection."]),
    ("ID", &["Return the ID of the current connection."]),
    ("INFO", &["Return information about the current client connection."]),
    ("KILL <ip:port>", &["Kill connection made from <ip:port>."]),
    (
        "KILL <option> <value> [<option> <value> [...]]",
        &[
            "Kill connections. Options are:",
            "* ADDR (<ip:port>|<unixsocket>:0), LADDR (<ip:port>|<unixsocket>:0)",
            "* ID <client-id>, USER <username>, TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
            "* MAXAGE <seconds>, SKIPME (YES|NO)",
        ],
    ),
    (
        "LIST [options ...]",
        &[
            "Return information about client connections. Options:",
            "* TYPE (NORMAL|MASTER|REPLICA|PUBSUB), ID <client-id> [<client-id> ...]",
        ],
    ),
    ("UNPAUSE", &["Stop the current client pause, resuming traffic."]),
    (
        "PAUSE <timeout> [WRITE|ALL]",
        &["Suspend all, or just write, clients for <timeout> milliseconds."],
    ),
    ("REPLY (ON|OFF|SKIP)", &["Control the replies sent to the current connection."]),
    ("SETNAME <name>", &["Assign the name <name> to the current connection."]),
    ("SETINFO <option> <value>", &["Set client meta attr. Options are LIB-NAME and LIB-VER."]),
    ("UNBLOCK <clientid> [TIMEOUT|ERROR]", &["Unblock the specified blocked client."]),
    ("TRACKINGINFO", &["Report tracking status for the current connection."]),
    ("NO-EVICT (ON|OFF)", &["Protect current client connection from eviction."]),
    ("NO-TOUCH (ON|OFF)", &["Will not touch LRU/LFU stats when this mode is on."]),
];

/// `CONFIG`
pub(crate) const CONFIG: Help = &[
    ("GET <pattern>", &["Return parameters matching the glob-like <pattern> and their values."]),
    ("SET <directive> <value>", &["Set the configuration <directive> to <value>."]),
    ("RESETSTAT", &["Reset statistics reported by the INFO command."]),
    ("REWRITE", &["Rewrite the configuration file."]),
];

/// `SLOWLOG`
pub(crate) const SLOWLOG: Help = &[
    (
        "GET [<count>]",
        &[
            "Return top <count> entries from the slowlog (default: 10, -1 mean all).",
            "Entries are made of:",
            "id, timestamp, time in microseconds, arguments array, client IP and port,",
            "client name",
        ],
    ),
    ("LEN", &["Return the length of the slowlog."]),
    ("RESET", &["Reset the slowlog."]),
];

/// `CLUSTER`
pub(crate) const CLUSTER: Help = &[
    ("COUNTKEYSINSLOT <slot>", &["Return the number of keys in <slot>."]),
    ("GETKEYSINSLOT <slot> <count>", &["Return key names stored by current node in a slot."]),
    ("KEYSLOT <key>", &["Return the hash slot for <key>."]),
    ("SLOT-STATS SLOTSRANGE <start> <end>", &["Return statistics of the slots in a range."]),
    (
        "SLOT-STATS ORDERBY <metric> [LIMIT <n>] [ASC|DESC]",
        &[
            "Return the slots with the most (or least) of key-count, memory-bytes, cpu-usec,",
            "network-bytes-in or network-bytes-out.",
        ],
    ),
];

/// `COMMAND`
pub(crate) const COMMAND: Help = &[
    ("(no subcommand)", &["Return details about all commands."]),
    ("COUNT", &["Return the total number of commands in this server."]),
    ("LIST", &["Return a list of all commands in this server."]),
    (
        "INFO [<command-name> ...]",
        &[
            "Return details about multiple commands.",
            "If no command names are given, documentation details for all",
            "commands are returned.",
        ],
    ),
    (
        "DOCS [<command-name> ...]",
        &[
            "Return documentation details about multiple commands.",
            "If no command names are given, documentation details for all",
            "commands are returned.",
        ],
    ),
    ("GETKEYS <full-command>", &["Return the keys from a full command."]),
    (
        "GETKEYSANDFLAGS <full-command>",
        &["Return the keys and the access flags from a full command."],
    ),
];

/// `BALANCER`
pub(crate) const BALANCER: Help = &[
    ("APPLY <plan-id> [NOW]", &["Carry out a reviewed plan, at the next window or now."]),
    ("CANCEL <plan-id>|ALL", &["Stop what is running."]),
    ("EXPLAIN [SHARD <shard>|SLOT <slot>]", &["Tell why nothing moves, or what weighs in a slot."]),
    ("HISTORY [<count>] [FAILED]", &["List what has been done, newest first."]),
    ("PAUSE [<seconds>] [REASON <text>]", &["Start nothing until resumed, or for some seconds."]),
    ("PIN <slot>[-<slot>] ...", &["Keep slots where they are."]),
    ("PLAN [ADD <bytes>] [REMOVE <shard>] [MAXBYTES <bytes>]", &["Compute what would be done."]),
    ("RESUME", &["End a pause."]),
    ("RUN [NOW]", &["Evaluate at once; NOW ignores the windows."]),
    ("STATUS", &["Show state, reason, windows, spread, shards and what is queued."]),
    ("UNPIN <slot>[-<slot>] ...", &["Let pinned slots move again."]),
];
