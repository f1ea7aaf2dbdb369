//! The Redis protocol as bytes in, bytes out.
//!
//! A request is parsed in place ([`request`], [`args`]), a reply is appended to a buffer
//! ([`mod@reply`]), and what a client reads when something is refused is in [`error`]. The other
//! modules are the small functions that a Redis-compatible server must answer exactly as Redis
//! does: a key's hash slot ([`slot`]), patterns ([`glob`]) and numbers as text ([`number`]).
//!
//! This crate does no I/O, reads no clock and knows no data type: everything is a function of
//! its arguments, so it can be tested, fuzzed and reused on its own.

#![forbid(unsafe_code)]

pub mod args;
pub mod error;
pub mod glob;
pub mod number;
pub mod reply;
pub mod request;
pub mod slot;

pub use args::{ArgRange, Args, ArgsBuf};
pub use error::CommandError;
pub use reply::{BLOCK_BYTES, Mark, Protocol, Reply};
pub use request::{
    Limits, Parsed, ProtocolError, RequestParser, parse_usual, parse_usual_arguments,
};
