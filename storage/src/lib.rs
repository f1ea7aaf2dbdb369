//! What one shard holds: tables, values, accounts. Single-threaded, no I/O, no wire format;
//! time comes in as an argument.

pub mod memory;
pub mod table;
pub mod types;
