//! Writes a snapshot of all slots, which are here: nothing changes meanwhile.
//!
//! The file gets its name when it is complete and on disk: whoever looks finds the old one or the
//! new one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use ballast_protocol::slot::SLOTS;
use ballast_storage::rdb::file::{Options, Writer};
use ballast_storage::{DATABASES, Keyspace};

use super::bgsave;
use crate::config::{Config, system_reason};
use crate::engine::Engine;
use crate::engine::snapshot::access;
use crate::files::append::text::write_commands;
use crate::log::Level;
use crate::node::Node;
use crate::node::disk::{Disk, DiskFile};

/// Why there is no new snapshot. What there was before is as it was.
#[derive(Debug, thiserror::Error)]
#[error("Failed writing the snapshot '{}': {}", path.display(), system_reason(error))]
pub(crate) struct SaveError {
    path: PathBuf,
    error: io::Error,
}

/// Where the configuration wants the snapshot.
pub(crate) fn path(config: &Config) -> PathBuf {
    config.dir.join(&config.dbfilename)
}

/// Writes the snapshot, and says in the log how that went. One that is written in the background
/// is given up: it is older.
///
/// # Errors
/// If it cannot be written.
///
/// # Panics
/// If a slot is elsewhere.
pub(crate) fn save(engine: &Engine) -> Result<(), SaveError> {
    let node = &engine.node;
    let say = |level, text: &str| node.log.line(node.clock.wall_ms(), level, text);
    let config = node.config.load();
    let path = path(&config);
    bgsave::stop(node);
    match write(engine, &config, &path) {
        Ok(()) => {
            if node.saves.saved(node.clock.wall_ms(), changes(engine)) {
                node.look_at_files();
            }
            say(Level::Notice, "DB saved on disk");
            Ok(())
        }
        Err(error) => {
            let error = SaveError { path, error };
            say(Level::Warning, &error.to_string());
            Err(error)
        }
    }
}

/// Writes the snapshot and asks the server to end, as a shutdown does. False if no snapshot can be
/// written and that is not forced: the server goes on.
///
/// # Panics
/// If a slot is elsewhere.
pub(crate) fn save_and_stop(engine: &Engine, is_forced: bool) -> bool {
    let node = &engine.node;
    let say = |level, text: &str| node.log.line(node.clock.wall_ms(), level, text);
    say(Level::Notice, "Saving the final RDB snapshot before exiting.");
    if save(engine).is_err() {
        if !is_forced {
            say(Level::Warning, "Error trying to save the DB, can't exit.");
            return false;
        }
        say(Level::Warning, "Error trying to save the DB. Exit anyway.");
    }
    node.request_stop();
    true
}

/// Whether a shutdown that names neither writes a snapshot.
pub(crate) fn saves_at_end(node: &Node, asked: Option<bool>) -> bool {
    asked.unwrap_or_else(|| !node.config.load().save_points.is_empty())
}

/// Changes of the data set since the start, by all shards: the others have let go of their slots.
pub(crate) fn changes(engine: &Engine) -> u64 {
    let counters = &engine.node.counters;
    let others = counters.iter().enumerate().filter(|(id, _)| *id != engine.id.index());
    engine.dirty + others.map(|(_, of)| of.changes.value()).sum::<u64>()
}

/// Writes the base of an append-only file, all of whose slots are here.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_base(engine: &Engine, config: &Config, path: &Path) -> io::Result<()> {
    let disk = &*engine.node.disk;
    let unfinished = Unfinished { disk, path: path.to_owned(), is_kept: false };
    let file = disk.create(path)?;
    let mut file = match config.aof_use_rdb_preamble {
        true => write_all(engine, config, file, Purpose::Base)?.0,
        false => write_commands(engine, file)?,
    };
    file.sync()?;
    unfinished.keep();
    Ok(())
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is the data set.
    Snapshot,
    /// Commands follow it in another file.
    Base,
}

fn write(engine: &Engine, config: &Config, path: &Path) -> io::Result<()> {
    let disk = &*engine.node.disk;
    let unfinished = Unfinished { disk, path: temporary(&config.dir), is_kept: false };
    let file = disk.create(&unfinished.path)?;
    let (mut file, _) = write_all(engine, config, file, Purpose::Snapshot)?;
    file.sync()?;
    drop(file);
    disk.rename(&unfinished.path, path)?;
    // The name is on disk when the directory is.
    disk.sync_directory(&config.dir)
}

/// A name that nobody else uses at the same time.
pub(super) fn temporary(directory: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    directory.join(format!("temp-{}-{number}.rdb", std::process::id()))
}

/// A file that goes when it is done with, unless it has got another name.
pub(super) struct Unfinished<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) path: PathBuf,
    pub(super) is_kept: bool,
}

impl Unfinished<'_> {
    /// It is complete under this name.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            // It is not there any more if it has got another name.
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// Begins a file, with what it says of its origin.
pub(super) fn begin_file<W: Write>(
    node: &Node,
    config: &Config,
    file: W,
    purpose: Purpose,
) -> io::Result<Writer<W>> {
    let options = Options { compresses: config.rdbcompression, has_checksum: config.rdbchecksum };
    let mut writer = Writer::new(file, options);
    for (name, value) in [
        ("redis-ver", crate::REDIS_VERSION.to_owned()),
        ("redis-bits", usize::BITS.to_string()),
        ("ctime", (node.clock.wall_ms() / 1000).to_string()),
        ("used-mem", ballast_storage::memory::used_bytes().to_string()),
        ("aof-base", u8::from(purpose == Purpose::Base).to_string()),
    ] {
        writer.field(name, &value)?;
    }
    Ok(writer)
}

fn write_all(
    engine: &Engine,
    config: &Config,
    file: Box<dyn DiskFile>,
    purpose: Purpose,
) -> io::Result<(Box<dyn DiskFile>, u64)> {
    assert_eq!(engine.boxes().count(), usize::from(SLOTS), "a slot is elsewhere");
    let mut writer = begin_file(&engine.node, config, file, purpose)?;
    for database in 0..DATABASES {
        let slots = engine.boxes().map(|(_, boxed)| boxed.data());
        let keyspaces: Vec<&Keyspace> =
            slots.filter_map(|slot| slot.keyspace(database)).filter(|of| !of.is_empty()).collect();
        if keyspaces.is_empty() {
            continue;
        }
        let keys = keyspaces.iter().map(|of| of.len() as u64).sum();
        let expiring = keyspaces.iter().map(|of| of.expiring_len() as u64).sum();
        writer.database(database, keys, expiring)?;
        for (key, value) in keyspaces.into_iter().flat_map(Keyspace::iter_values) {
            let access = access(config, key.meta.aux, engine.now_ms);
            writer.key(key.key, value, key.meta.expiry, access)?;
        }
    }
    writer.finish()
}
