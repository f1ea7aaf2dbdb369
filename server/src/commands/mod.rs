//! The command table, a module per family, and what handlers see.
//!
//! A handler parses its arguments, calls one storage operation and writes one reply.

pub(crate) mod arguments;
pub(crate) mod balancer;
pub(crate) mod bitmaps;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod connection;
pub(crate) mod context;
pub(crate) mod debug;
pub(crate) mod documentation;
pub(crate) mod dump;
pub(crate) mod execute;
pub(crate) mod expiry;
pub(crate) mod gather;
pub(crate) mod hashes;
pub(crate) mod help;
pub(crate) mod info;
pub(crate) mod introspection;
pub(crate) mod key_spec;
pub(crate) mod keys;
pub(crate) mod keyspace;
pub(crate) mod latency;
pub(crate) mod lists;
mod many_keys;
pub(crate) mod memory;
pub(crate) mod monitor;
pub(crate) mod object;
pub(crate) mod pubsub;
pub(crate) mod redaction;
pub(crate) mod replay;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod sets;
pub(crate) mod slowlog;
pub(crate) mod sort;
pub(crate) mod sorted_sets;
pub(crate) mod strings;
pub(crate) mod syntax;
pub(crate) mod table;
pub(crate) mod transactions;

use std::sync::LazyLock;

use self::table::{Definition, Table};

/// Replies are sent before a batch goes on when there are so many bytes of them.
pub(crate) const REPLY_BYTES: usize = 256 << 10;

/// All families; a new command is an entry in one of them.
pub(crate) static FAMILIES: &[&[Definition]] = &[
    balancer::COMMANDS,
    bitmaps::COMMANDS,
    client::COMMANDS,
    cluster::COMMANDS,
    connection::COMMANDS,
    debug::COMMANDS,
    dump::COMMANDS,
    expiry::COMMANDS,
    hashes::COMMANDS,
    info::COMMANDS,
    introspection::COMMANDS,
    keys::COMMANDS,
    keyspace::COMMANDS,
    latency::COMMANDS,
    lists::COMMANDS,
    memory::COMMANDS,
    monitor::COMMANDS,
    object::COMMANDS,
    pubsub::COMMANDS,
    server::COMMANDS,
    sets::COMMANDS,
    slowlog::COMMANDS,
    sort::COMMANDS,
    sorted_sets::COMMANDS,
    strings::COMMANDS,
    transactions::COMMANDS,
];

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(FAMILIES));

/// The command table of the process.
#[inline]
pub(crate) fn table() -> &'static Table {
    &TABLE
}
