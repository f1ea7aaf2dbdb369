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

use super::directive::Directive;

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

/// Lines that only a file (or a flag) may hold, with the reason where they have no effect.
pub(super) const FILE_ONLY: &[FileOnly] = &[
    FileOnly { name: "include", words_min: 1, no_effect: "" },
    FileOnly { name: "user", words_min: 1, no_effect: "" },
    FileOnly { name: "loadmodule", words_min: 1, no_effect: "modules cannot be loaded" },
    FileOnly {
        name: "rename-command",
        words_min: 2,
        no_effect: "commands keep their names; take commands away with ACL rules instead",
    },
    FileOnly { name: "list-max-ziplist-entries", words_min: 1, no_effect: RETIRED },
    FileOnly { name: "list-max-ziplist-value", words_min: 1, no_effect: RETIRED },
    FileOnly { name: "lua-replicate-commands", words_min: 1, no_effect: RETIRED },
];

/// A line that is no directive: it has no value that CONFIG GET could show.
#[derive(Debug)]
pub(super) struct FileOnly {
    /// Its first word.
    pub(super) name: &'static str,
    /// How many words must follow.
    pub(super) words_min: usize,
    /// Why it has no effect; empty when it has.
    pub(super) no_effect: &'static str,
}

const RETIRED: &str = "Redis has retired it too";

const INT_MAX: i64 = i32::MAX as i64;
const LONG_MAX: u64 = i64::MAX as u64;
