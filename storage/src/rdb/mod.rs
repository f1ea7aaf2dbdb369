//! Values as bytes, in the format of Redis's snapshots (RDB): what `DUMP` answers, and what
//! snapshots and migrations carry. Opens no files: what writes and reads whole snapshots is given
//! something to write to or to read from.
//!
//! - [`write_value`] and [`read_value`] are the codec: one value, its type first.
//! - [`dump`] and [`restore`] are the payload of `DUMP`: a value and a footer with the format's
//!   version and a checksum.
//! - [`mod@file`] is a snapshot: a header, databases of keys, an end with a checksum.
//!
//! Written are the plain types only (strings, lists, sets and hashes element by element, sorted
//! sets with binary scores): every Redis since 4.0 reads them, and picks its own encoding by its
//! own directives. Read is what any Redis up to 7.2 has ever written but streams and modules.
//!
//! What is read may come from anyone. Nothing here panics on it, a length or a count in it
//! reserves nothing, and compressed strings stay within [`STRING_MAX`](crate::STRING_MAX) each
//! and [`INFLATED_BYTES_MAX`] together. Blobs of packed elements are checked in full, as Redis
//! does with `sanitize-dump-payload yes`.
//!
//! Sources: the published format of RDB files (<https://rdb.fnordig.de/file_format.html>) and the
//! listpack specification (<https://github.com/antirez/listpack>), each compared with what
//! redis-server 7.0 emits and takes.

mod compressed;
pub mod file;
mod footer;
mod input;
mod int_set;
mod listpack;
mod read;
#[cfg(test)]
mod tests;
mod write;
mod zip_list;
mod zip_map;

pub use footer::{RestoreError, VERSION_MAX, VERSION_WRITTEN, dump, restore};
pub use input::{INFLATED_BYTES_MAX, Input, Malformed};
pub use read::read_value;
pub use write::write_value;

/// The byte in front of a value that says what follows.
mod kind {
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    /// Scores as text.
    pub(super) const ZSET: u8 = 3;
    pub(super) const HASH: u8 = 4;
    /// Scores in binary.
    pub(super) const ZSET_2: u8 = 5;
    pub(super) const MODULE: u8 = 6;
    pub(super) const MODULE_2: u8 = 7;
    pub(super) const HASH_ZIPMAP: u8 = 9;
    pub(super) const LIST_ZIPLIST: u8 = 10;
    pub(super) const SET_INTSET: u8 = 11;
    pub(super) const ZSET_ZIPLIST: u8 = 12;
    pub(super) const HASH_ZIPLIST: u8 = 13;
    /// Nodes of ziplists.
    pub(super) const LIST_QUICKLIST: u8 = 14;
    pub(super) const STREAM_LISTPACKS: u8 = 15;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const ZSET_LISTPACK: u8 = 17;
    /// Nodes of listpacks, and plain ones of a single element.
    pub(super) const LIST_QUICKLIST_2: u8 = 18;
    pub(super) const STREAM_LISTPACKS_2: u8 = 19;
    /// Since 7.2, as the next one.
    pub(super) const SET_LISTPACK: u8 = 20;
    pub(super) const STREAM_LISTPACKS_3: u8 = 21;
}
