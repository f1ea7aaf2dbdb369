//! Reads a snapshot, key by key, and puts keys into their slots.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use ballast_protocol::slot::{SLOTS, key_slot};
use ballast_storage::rdb::file::{Access, FileError, KeyRecord, Reader, Record};
use ballast_storage::{Key, OwnedValue, eviction};

use super::save;
use crate::config::{Config, system_reason};
use crate::engine::Engine;
use crate::engine::events::LOADED;
use crate::engine::write::{Located, Usage};
use crate::log::Level;
use crate::node::{Node, loading};

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

/// A file whose loading takes longer has its progress logged whenever as much time has passed.
const REPORT_EVERY_MS: u64 = 1000;
/// Lines about what is passed over.
const LOST_LINES_MAX: usize = 10;

/// What stands between a snapshot and who reads it.
pub(crate) type Through = Box<dyn FnOnce(File) -> Box<dyn Read + Send> + Send>;

/// A snapshot that is there and has not been read.
pub(crate) struct Snapshot {
    path: PathBuf,
    bytes: u64,
    content: Box<dyn Read + Send>,
}

impl Snapshot {
    /// Opens the one that the configuration names. `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(crate) fn open(
        config: &Config,
        through: Option<Through>,
    ) -> Result<Option<Snapshot>, LoadError> {
        match Snapshot::open_file(save::path(config), through) {
            Err(LoadError { reason: LoadReason::Open(error), .. })
                if error.kind() == io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            opened => opened.map(Some),
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(crate) fn open_file(
        path: PathBuf,
        through: Option<Through>,
    ) -> Result<Snapshot, LoadError> {
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) = match opened {
            Ok(opened) => opened,
            Err(error) => return Err(LoadError { path, reason: LoadReason::Open(error) }),
        };
        let content = match through {
            Some(through) => through(file),
            None => Box::new(file),
        };
        Ok(Snapshot { path, bytes, content })
    }

    /// Its length.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads it and gives each key to `keep`. Answers where it ends in its file.
    ///
    /// # Errors
    /// If it is damaged, holds what cannot be kept here, or `keep` fails.
    pub(crate) fn read(
        self,
        node: &Node,
        mut keep: impl FnMut(KeyRecord) -> Result<(), LoadReason>,
    ) -> Result<u64, LoadError> {
        let config = node.config.load();
        let mut reader = Reader::new(self.content, self.bytes, crate::engine::limits(&config));
        if !config.rdbchecksum {
            reader = reader.without_checksum();
        }
        let path = self.path;
        let failed = |reason| LoadError { path: path.clone(), reason };
        let mut report = Report::new(node, self.bytes);
        loop {
            match reader.next_record().map_err(|error| failed(error.into()))? {
                None => return Ok(reader.offset()),
                Some(Record::Key(key)) => {
                    report.keys += 1;
                    keep(key).map_err(failed)?;
                }
                Some(Record::Lost(lost)) => report.lost(&lost.to_string()),
                Some(Record::Field { name, value }) => report.field(&name, &value),
                Some(Record::Database { .. }) => {}
            }
            report.progress(reader.offset());
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads the snapshot that is there and gives each key to `keep`.
///
/// # Errors
/// As [`Snapshot::read`], or if there is none.
fn read(
    node: &Node,
    keep: impl FnMut(KeyRecord) -> Result<(), LoadReason>,
) -> Result<(), LoadError> {
    let config = node.config.load();
    match Snapshot::open(&config, None)? {
        Some(snapshot) => snapshot.read(node, keep).map(drop),
        None => {
            let reason = LoadReason::Open(io::ErrorKind::NotFound.into());
            Err(LoadError { path: save::path(&config), reason })
        }
    }
}

/// Replaces all keys by those of the snapshot; all slots are here.
///
/// # Errors
/// As [`read`]. It is read twice: nothing has been changed then, unless a
/// key is in the file twice, when no keys are left.
///
/// # Panics
/// If a slot is elsewhere.
pub(crate) fn replace_all(engine: &mut Engine) -> Result<(), LoadError> {
    let node = std::sync::Arc::clone(&engine.node);
    read(&node, |_| Ok(()))?;
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
/// As [`Snapshot::read`], or if it cannot be opened.
///
/// # Panics
/// If a slot is elsewhere.
pub(crate) fn load_base(engine: &mut Engine, path: &Path) -> Result<u64, LoadError> {
    let node = std::sync::Arc::clone(&engine.node);
    Snapshot::open_file(path.to_owned(), None)?.read(&node, |key| {
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
        // It is not over for the commands that follow.
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
    keys: u64,
    /// Of the monotonic clock.
    started_ms: u64,
    /// When its progress was last logged.
    said_ms: u64,
    lost: usize,
}

impl Report<'_> {
    fn new(node: &Node, file_bytes: u64) -> Report<'_> {
        let now_ms = node.clock.mono_ms();
        Report { node, file_bytes, keys: 0, started_ms: now_ms, said_ms: now_ms, lost: 0 }
    }

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
            b"used-mem" => self.written_with(text.parse().unwrap_or(0)),
            _ => {}
        }
    }

    /// Who wrote the file had so much memory in use.
    fn written_with(&self, bytes: u64) {
        self.node.loading.took(bytes);
        #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
        let mib = bytes as f64 / (1 << 20) as f64;
        self.say(Level::Notice, &format!("RDB memory usage when created {mib:.2} Mb"));
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
        self.node.loading.read(offset);
        let now_ms = self.node.clock.mono_ms();
        if now_ms < self.said_ms + REPORT_EVERY_MS {
            return;
        }
        self.said_ms = now_ms;
        let (all, keys) = (self.file_bytes, self.keys);
        let left_ms = loading::left(now_ms - self.started_ms, offset, all);
        let text = format!(
            "Loading RDB: {:.2} % done, {offset} of {all} bytes, {keys} keys, {} seconds left",
            loading::percent(offset, all),
            left_ms.div_ceil(1000),
        );
        self.say(Level::Notice, &text);
    }
}
