//! A blocking client, and servers (child processes or in-process) that it can talk to.

mod client;
mod directory;
mod in_process;
mod process;
mod reply;
mod seed;
mod wait;

use std::io;

pub use client::{Client, encode_command};
pub use directory::Directory;
pub use in_process::InProcess;
pub use process::{Kind, Process, ballast_binary, redis_version};
pub use reply::{Decoded, Reply, decode};
pub use seed::{seed, seed_or, steps};
pub use wait::wait_until;

/// Something that accepts connections: a child process, or a server in this process.
pub trait Target {
    /// Opens one more connection.
    ///
    /// # Errors
    /// What the operating system says when the connection cannot be made.
    fn connect(&self) -> io::Result<Client>;
}
