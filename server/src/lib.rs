//! Ballast, a Redis-compatible in-memory server that keeps itself level.
//!
//! A request reads top-down through the modules: `server` starts the threads, a
//! `connection` reads and parses, `connection::batch` routes each command to the shard that owns
//! its slot, `commands::execute` runs its handler there, which changes keys through
//! `engine::write`, and the storage crate does the rest. What needs several slots takes a hold
//! (`shard::places`).
//!
//! ```no_run
//! # async fn start() -> Result<(), ballast_server::StartError> {
//! let server = ballast_server::Server::builder().any_port().start().await?;
//! println!("listening on {}", server.address());
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! `maxmemory` limits what each server accounts for: several in a process have each their own.
//! `used_memory` is the count of an allocator, over all of the process: a program that embeds a
//! server makes [`CountingAllocator`] its `#[global_allocator]`. Without it only the tables'
//! segments are in that figure.

#![forbid(unsafe_code)]

mod appending;
pub mod cli;
mod clock;
mod commands;
pub mod config;
mod connection;
mod control;
mod engine;
mod files;
mod ids;
mod loading;
mod log;
mod node;
mod rebalance;
mod server;
mod shard;

/// The version of Redis that `HELLO` and `INFO` report: recent enough for tools to use the newer
/// commands that we have.
pub(crate) const REDIS_VERSION: &str = "7.2.5";

pub use ballast_storage::memory::CountingAllocator;

/// As a program has it, so that tests count what is allocated.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

pub use clock::{Clock, ManualClock};
pub use files::append::{AppendError, AppendReason, ManifestError, ReadError};
pub use files::load::{Duplicate, LoadError, LoadReason};
pub use ids::{ClientId, ShardId};
pub use log::{Level, Log};
pub use node::disk::{Disk, DiskFile, SystemDisk};
pub use server::{Builder, Failed, Opened, Server, StartError};
