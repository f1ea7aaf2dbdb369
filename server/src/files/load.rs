//! Reads a snapshot, key by key, and puts keys into their slots.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ballast_protocol::slot::{SLOTS, key_slot};
use ballast_storage::rdb::file::{Access, FileError, KeyRecord, Reader, Record};
use ballast_storage::{Key, OwnedValue, eviction};

use super::save;
use crate::config::system_reason;
use crate::engine::Engine;
use crate::engine::events::LOADED;
use crate::engine::write::{Located, Usage};
use crate::log::Level;
use crate::node::Node;

/// Why a snapshot is not loaded. The file is as it was.
#[derive(Debug, thiserror::Error)]
#[error("Can't load the snapshot '{}': {reason}", path.display())]
pub struct LoadError {
    /// Its path.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: LoadReason,
}

/// What is wrong with a file that is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadReason {
    /// It cannot be opened.
    #[error("{}", system_reason(.0))]
    Open(io::Error),
    /// Its content.
    #[error("{0}")]
    File(#[from] FileError),
    /// A key is there twice.
    #[error("{0}")]
    Duplicate(Duplicate),
    /// The server is ending.
    #[error("the server is ending")]
    Ending,
}

/// A key that is in a file twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key '{}' of database {database} is there twice, at byte {offset}", name.escape_ascii())]
pub struct Duplicate {
    /// Its name.
    pub name: Vec<u8>,
    /// Its database.
    pub database: u8,
    /// Where it is for the second time.
    pub offset: u64,
}

/// What came of the keys that were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// They are in their slots.
    pub(crate) kept: u64,
    /// Their time was over.
    pub(crate) expired: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Tally) {
        self.kept += other.kept;
        self.expired += other.expired;
    }
}

/// What becomes of keys whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    /// They are left out.
    Dropped,
    /// They are kept: commands that follow were made when they were there.
    Kept,
}

/// Files longer than this have their progress logged, in tenths.
const LONG_BYTES: u64 = 64 << 20;
/// Lines about what is passed over.
const LOST_LINES_MAX: usize = 10;

/// Reads the snapshot and gives each key to `keep`. False if there is none.
///
/// # Errors
/// If it is damaged, holds what cannot be kept here, or `keep` fails.
pub(crate) fn read(
    node: &Node,
    keep: impl FnMut(KeyRecord) -> Result<(), LoadReason>,
) -> Result<bool, LoadError> {
    let config = node.config.load();
    let path = save::path(&config);
    match read_file(node, &path, keep) {
        Ok(_) => Ok(true),
        Err(LoadError { reason: LoadReason::Open(error), .. })
            if error.kind() == io::ErrorKind::NotFound =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Reads a snapshot and gives each key to `keep`. Answers where it ends in its file.
///
/// # Errors
/// If it is not there or damaged, holds what cannot be kept here, or `keep` fails.
pub(crate) fn read_file(
    node: &Node,
    path: &Path,
    mut keep: impl FnMut(KeyRecord) -> Result<(), LoadReason>,
) -> Result<u64, LoadError> {
    let config = node.config.load();
    let failed = |reason| LoadError { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|error| failed(LoadReason::Open(error)))?;
    let opened = file.metadata().map_err(|error| failed(LoadReason::Open(error)))?;
    let mut reader = Reader::new(file, opened.len(), crate::engine::limits(&config));
    if !config.rdbchecksum {
        reader = reader.without_checksum();
    }
    let mut report = Report { node, file_bytes: opened.len(), tenths: 0, lost: 0 };
    loop {
        match reader.next_record().map_err(|error| failed(error.into()))? {
            None => return Ok(reader.offset()),
            Some(Record::Key(key)) => keep(key).map_err(failed)?,
            Some(Record::Lost(lost)) => report.lost(&lost.to_string()),
            Some(Record::Field { name, value }) => report.field(&name, &value),
            Some(Record::Database { .. }) => {}
        }
        report.progress(reader.offset());
    }
}

/// Replaces all keys by those of the snapshot; all slots are here.
///
/// # Errors
/// As [`read`], or if there is no file. It is read twice: nothing has been changed then, unless a
/// key is in the file twice, when no keys are left.
///
/// # Panics
/// If a slot is elsewhere.
pub(crate) fn replace_all(engine: &mut Engine) -> Result<(), LoadError> {
    let node = std::sync::Arc::clone(&engine.node);
    if !read(&node, |_| Ok(()))? {
        let path = save::path(&node.config.load());
        let reason = LoadReason::Open(io::ErrorKind::NotFound.into());
        return Err(LoadError { path, reason });
    }
    let flush = |engine: &mut Engine| (0..SLOTS).for_each(|slot| engine.flush_slot(slot, None));
    flush(engine);
    let started = Instant::now();
    let mut tally = Tally::default();
    // Who follows is told when they go.
    let expired = if engine.has_followers() { Expired::Kept } else { Expired::Dropped };
    let loaded = read(&node, |key| {
        tally.add(keep(engine, key, expired).map_err(LoadReason::Duplicate)?);
        Ok(())
    });
    if let Err(error) = loaded {
        flush(engine);
        return Err(error);
    }
    done(&node, tally, started, save::changes(engine));
    Ok(())
}

/// Adds the keys of an append-only file's base; all slots are here. Answers where it ends in its
/// file.
///
/// # Errors
/// As [`read_file`].
///
/// # Panics
/// If a slot is elsewhere.
pub(crate) fn load_base(engine: &mut Engine, path: &Path) -> Result<u64, LoadError> {
    let node = std::sync::Arc::clone(&engine.node);
    read_file(&node, path, |key| {
        keep(engine, key, Expired::Kept).map(drop).map_err(LoadReason::Duplicate)
    })
}

/// A file has been loaded, after so many changes of the data set: says it in the log, and to whom
/// it counts.
pub(crate) fn done(node: &Node, tally: Tally, started: Instant, changes: u64) {
    let Tally { kept, expired } = tally;
    node.saves.loaded(kept, expired, changes);
    let say = |text: &str| node.log.line(node.clock.wall_ms(), Level::Notice, text);
    say(&format!("Done loading RDB, keys loaded: {kept}, keys expired: {expired}."));
    say(&format!("DB loaded from disk: {:.3} seconds", started.elapsed().as_secs_f64()));
}

/// Puts a key into its slot, which is here, unless its time is over.
///
/// # Errors
/// If it is there already.
///
/// # Panics
/// If its slot is elsewhere.
pub(crate) fn keep(
    engine: &mut Engine,
    record: KeyRecord,
    expired: Expired,
) -> Result<Tally, Duplicate> {
    let KeyRecord { offset, database, name, value, expiry, access } = record;
    let is_over = expiry.is_some_and(|at_ms| at_ms < engine.now_ms);
    if is_over && expired == Expired::Dropped {
        return Ok(Tally { kept: 0, expired: 1 });
    }
    let at = Located { slot: key_slot(&name), key: Key::new(&name) };
    let aux = aux(engine, access);
    let now_ms = engine.now_ms;
    if is_over {
        // It is not there for anybody yet.
        engine.now_ms = 0;
    }
    let kept = insert(engine, (database, at), (value, expiry, aux));
    engine.now_ms = now_ms;
    if kept { Ok(Tally { kept: 1, expired: 0 }) } else { Err(Duplicate { name, database, offset }) }
}

/// False if the key is there already.
fn insert(
    engine: &mut Engine,
    (database, at): (u8, Located<'_>),
    (value, expiry, aux): (OwnedValue, Option<i64>, u32),
) -> bool {
    let mut write = engine.write(database, at, Usage::Ignored);
    if write.meta().is_some() {
        return false;
    }
    write.insert(value, expiry, aux);
    write.changed(LOADED);
    true
}

/// The place in the eviction order; what the policy does not use is ignored.
fn aux(engine: &Engine, access: Access) -> u32 {
    let counts_uses = engine.config.maxmemory_policy.is_lfu();
    match access {
        Access::Frequency(counter) if counts_uses => {
            eviction::lfu_of_frequency(counter, engine.now_ms)
        }
        Access::Idle(seconds) if !counts_uses => {
            eviction::lru_of_idle(seconds.saturating_mul(1000), engine.now_ms)
        }
        _ => engine.new_aux(),
    }
}

/// What the log says while a file is read.
struct Report<'a> {
    node: &'a Node,
    file_bytes: u64,
    tenths: u64,
    lost: usize,
}

impl Report<'_> {
    fn say(&self, level: Level, text: &str) {
        self.node.log.line(self.node.clock.wall_ms(), level, text);
    }

    fn field(&self, name: &[u8], value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        match name {
            b"redis-ver" | b"valkey-ver" => {
                self.say(Level::Notice, &format!("Loading RDB produced by version {text}"));
            }
            b"ctime" => {
                let written_s = text.parse().unwrap_or(0);
                let age_s = (self.node.clock.wall_ms() / 1000).saturating_sub(written_s).max(0);
                self.say(Level::Notice, &format!("RDB age {age_s} seconds"));
            }
            _ => {}
        }
    }

    fn lost(&mut self, what: &str) {
        self.lost += 1;
        if self.lost <= LOST_LINES_MAX {
            let text = format!(
                "The snapshot holds {what}, which is not loaded: it is lost with the next \
                 snapshot that is written in its place."
            );
            self.say(Level::Warning, &text);
        }
    }

    fn progress(&mut self, offset: u64) {
        let tenths = offset.saturating_mul(10).checked_div(self.file_bytes).unwrap_or(0);
        if self.file_bytes > LONG_BYTES && tenths > self.tenths {
            self.tenths = tenths;
            self.say(Level::Notice, &format!("Loading RDB: {} % done", tenths * 10));
        }
    }
}
