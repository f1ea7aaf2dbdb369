//! The directives, by family. A new directive is one entry in one of these tables and, if the
//! server reads it, one field of [`super::settings::Settings`].

pub(super) mod balancer;
mod cluster;
mod encodings;
mod memory;
mod network;
mod observing;
mod persistence;
mod process;
mod replication;
mod tls;

use std::sync::LazyLock;

use super::directive::{Directive, Effect, Refusal};

/// Directives that belong together.
#[derive(Debug)]
pub struct Family {
    /// The heading in `--help` and the reference.
    pub title: &'static str,
    /// Its directives.
    pub directives: &'static [Directive],
}

/// All families, in the order of the reference.
pub fn families() -> &'static [Family] {
    &*FAMILIES
}

static FAMILIES: LazyLock<[Family; 12]> = LazyLock::new(|| {
    [
        Family { title: "Network", directives: network::NETWORK },
        Family { title: "Clients and limits", directives: network::LIMITS },
        Family { title: "Shards and databases", directives: process::SHARDS },
        Family { title: "Memory", directives: memory::MEMORY },
        Family { title: "Encodings", directives: encodings::ENCODINGS },
        Family { title: "Balancer", directives: balancer::balancer() },
        Family { title: "Logging and observing", directives: observing::OBSERVING },
        Family { title: "Cluster", directives: cluster::CLUSTER },
        Family { title: "Persistence", directives: persistence::PERSISTENCE },
        Family { title: "Replication", directives: replication::REPLICATION },
        Family { title: "Process", directives: process::PROCESS },
        Family { title: "TLS", directives: tls::TLS },
    ]
});

/// Lines that only a file (or a flag) may hold.
pub(super) const FILE_ONLY: &[FileOnly] = &[
    FileOnly { name: "include", words_min: 1, effect: Effect::InForce },
    FileOnly { name: "user", words_min: 1, effect: Effect::Refused(NO_USERS) },
    FileOnly {
        name: "loadmodule",
        words_min: 1,
        effect: Effect::Refused(Refusal::new("modules cannot be loaded", "remove the line")),
    },
    FileOnly {
        name: "rename-command",
        words_min: 2,
        effect: Effect::Refused(Refusal::new(
            "commands keep their names",
            "keep clients that must not use the command away with `requirepass`, `bind` and \
             `enable-debug-command`, and remove the line",
        )),
    },
    FileOnly { name: "list-max-ziplist-entries", words_min: 1, effect: RETIRED },
    FileOnly { name: "list-max-ziplist-value", words_min: 1, effect: RETIRED },
    FileOnly { name: "lua-replicate-commands", words_min: 1, effect: RETIRED },
];

/// What the line `user default …` may say, because it is what the server does anyway: CONFIG
/// REWRITE of Redis leaves such a line in each file.
pub(super) const DEFAULT_USER_RULES: &[&str] = &[
    "on",
    "nopass",
    "sanitize-payload",
    "skip-sanitize-payload",
    "~*",
    "allkeys",
    "&*",
    "allchannels",
    "resetchannels",
    "+@all",
    "allcommands",
];

/// There is one user, and its password is a directive.
pub(super) const NO_USERS: Refusal = Refusal::new(
    "there are no users beside `default` and no ACL rules yet",
    "set `requirepass`, and remove the line",
);

/// A line that is no directive: it has no value that CONFIG GET could show.
#[derive(Debug)]
pub(super) struct FileOnly {
    /// Its first word.
    pub(super) name: &'static str,
    /// How many words must follow.
    pub(super) words_min: usize,
    /// What follows from it.
    pub(super) effect: Effect,
}

const RETIRED: Effect = Effect::Nothing("Redis has retired it too");

const INT_MAX: i64 = i32::MAX as i64;
const LONG_MAX: u64 = i64::MAX as u64;
