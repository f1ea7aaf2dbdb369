//! What one shard holds: tables, values, accounts. Single-threaded, no I/O, no wire format;
//! time comes in as an argument.
//!
//! ```text
//! Slot → Keyspace (one per database) → Table: keys, expiries, small values
//!                                    → large collections of `types`, owned by their entries
//! ```
//! Every structure knows its bytes on the heap exactly, as the allocator counts them
//! ([`memory::good_size`]), and can prove it by walking.

#[cfg(test)]
mod cut_tests;
pub mod eviction;
mod garbage;
mod keyspace;
pub mod memory;
pub mod rdb;
mod slot;
pub mod table;
pub mod types;
pub mod work;

/// False in a program that was built to measure what the accounts cost.
pub const ACCOUNTS: bool = !cfg!(feature = "unaccounted");

pub use garbage::{Garbage, UnsavedWalk};
pub use keyspace::{
    AddError, Collection, Create, Key, Keyspace, Kind, Meta, OwnedValue, Removed, STRING_MAX,
    Sampled, Unsaved, Value, WrongType,
};
pub use slot::{DATABASES, Slot};
