//! Snapshots: all keys of all databases with their expiries, as Redis saves them to `dump.rdb`.
//!
//! - [`Writer`] writes version 10 of the format, that of Redis 7.0.
//! - [`Reader`] reads what Redis up to 8 and Valkey up to 9 write, one [`Record`] after the other.
//!
//! A file is `REDIS` and the version in four digits (Valkey 9: `VALKEY` and three); fields about
//! its origin; for each database its number, how many keys there are, and the keys; an end and a
//! checksum over all before it. In front of a key may stand when it expires, and how long it has
//! not been used or how often it has been.
//!
//! What is read may come from anyone. Nothing here panics on it; what is kept in memory of it is
//! the element that is being read and a buffer, and no length in it reserves more than what has
//! arrived.

mod chunk;
mod reader;
mod writer;

use std::io;

use thiserror::Error;

pub use self::chunk::Chunk;
pub use self::reader::{KeyRecord, Lost, Reader, Record};
pub use self::writer::{Options, Writer};
use super::Malformed;

/// What the eviction policy knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Unknown,
    /// Seconds since its last use.
    Idle(u64),
    /// The logarithmic counter of its uses.
    Frequency(u8),
}

/// Why a file cannot be loaded.
#[derive(Debug, Error)]
pub enum FileError {
    /// The system cannot read it.
    #[error("{error}, at byte {offset}")]
    Io {
        /// Bytes before it.
        offset: u64,
        /// What the system says.
        error: io::Error,
    },
    /// It does not begin like a snapshot.
    #[error("it does not begin with REDIS or VALKEY and a version")]
    Magic,
    /// Its version is newer than all that are known.
    #[error("version {0} of the format is not known")]
    Version(String),
    /// What is there contradicts the format.
    #[error("{reason}, at byte {offset}")]
    Malformed {
        /// Bytes before it.
        offset: u64,
        /// What is wrong.
        reason: Malformed,
    },
    /// Something that cannot be kept here.
    #[error("{what} (type {kind}) is not supported, at byte {offset}")]
    Unsupported {
        /// Bytes before its type.
        offset: u64,
        /// The byte that names its type.
        kind: u8,
        /// In words.
        what: &'static str,
    },
    /// No such database.
    #[error("database {database} does not exist here, at byte {offset}")]
    Database {
        /// Bytes before it.
        offset: u64,
        /// Its number.
        database: u64,
    },
    /// Something has been changed since it was written.
    #[error("the checksum of the {offset} bytes before it is {found:016x}, not {computed:016x}")]
    Checksum {
        /// Bytes before it.
        offset: u64,
        /// As the file says.
        found: u64,
        /// Of what is there.
        computed: u64,
    },
}

/// What stands in front of all that is no key.
mod opcode {
    /// Of a cluster's slot: its number, keys, keys that expire.
    pub(super) const SLOT_INFO: u8 = 244;
    /// A library of functions.
    pub(super) const FUNCTION: u8 = 245;
    /// The same in the release candidates of Redis 7.0.
    pub(super) const FUNCTION_CANDIDATE: u8 = 246;
    /// What a module keeps beside keys.
    pub(super) const MODULE_AUX: u8 = 247;
    /// Seconds that the next key has been idle.
    pub(super) const IDLE: u8 = 248;
    /// How often the next key is used.
    pub(super) const FREQUENCY: u8 = 249;
    /// A name and a value.
    pub(super) const AUX: u8 = 250;
    /// How many keys the database has, and how many that expire.
    pub(super) const RESIZE: u8 = 251;
    /// When the next key expires, in milliseconds.
    pub(super) const EXPIRY_MS: u8 = 252;
    /// In seconds.
    pub(super) const EXPIRY_S: u8 = 253;
    /// The number of a database.
    pub(super) const DATABASE: u8 = 254;
    /// The end.
    pub(super) const END: u8 = 255;
}
