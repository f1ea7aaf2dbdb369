//! Takes the parts of a snapshot, as the shards' walks send them, into a file.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use ballast_storage::rdb::file::Writer;

use super::save::{self, Purpose};
use crate::config::Config;
use crate::engine::snapshot::Begun;
use crate::log::Level;
use crate::node::Node;
use crate::node::disk::DiskFile;
use crate::node::snapshot::{Counts, Part, Snapshot};

/// A long save says in the log this often how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// The writing thread gets a third of a processor that others want all of.
const NICENESS: u8 = 5;

/// Why there is no new file.
pub(super) enum Failure {
    /// Somebody has stopped it.
    Stopped,
    /// The system says so.
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

/// What the writing thread has.
pub(super) struct Taking {
    pub(super) node: Arc<Node>,
    pub(super) config: Arc<Config>,
    snapshot: Arc<Snapshot>,
    parts: Receiver<Part>,
    counts: Vec<Counts>,
    /// The walk is over.
    has_all: Cell<bool>,
}

impl Taking {
    /// Of a snapshot that has begun.
    pub(super) fn new(node: &Arc<Node>, config: &Arc<Config>, begun: Begun) -> Taking {
        let Begun { snapshot, parts, counts } = begun;
        let (node, config) = (Arc::clone(node), Arc::clone(config));
        Taking { node, config, snapshot, parts, counts, has_all: Cell::new(false) }
    }

    /// Writes all of it to a file, which is on disk then. Runs on a thread of its own, which makes
    /// way for others.
    pub(super) fn write(&self, file: Box<dyn DiskFile>, purpose: Purpose) -> Result<(), Failure> {
        ballast_storage::memory::give_way(NICENESS);
        let mut writer = save::begin_file(&self.node, &self.config, file, purpose)?;
        for (db, counts) in (0..).zip(&self.counts) {
            if counts.keys > 0 {
                writer.database(db, counts.keys, counts.expiring)?;
            }
        }
        self.take_parts(&mut writer)?;
        let (mut file, _) = writer.finish()?;
        Ok(file.sync()?)
    }

    /// Lets the walk come to its end: the next snapshot can begin then.
    pub(super) fn drain(&self) {
        self.snapshot.abandon();
        while !self.has_all.get() && matches!(self.parts.recv(), Ok(Part::Chunk(_))) {}
    }

    fn take_parts(&self, writer: &mut Writer<Box<dyn DiskFile>>) -> Result<(), Failure> {
        let node = &*self.node;
        let started = Instant::now();
        let (mut said, mut keys) = (started, 0);
        loop {
            match self.parts.recv() {
                Ok(Part::Chunk(queued)) => {
                    node.saves.note_memory(node.snapshot_bytes());
                    writer.chunk(&queued.chunk)?;
                    keys += queued.chunk.keys();
                    node.snapshots.took(queued);
                }
                Ok(Part::End) => {
                    self.has_all.set(true);
                    return Ok(());
                }
                Ok(Part::Stopped) | Err(_) => return Err(Failure::Stopped),
            }
            if said.elapsed() >= PROGRESS_EVERY {
                said = Instant::now();
                let text = progress(writer.len(), keys, self.snapshot.keys, started.elapsed());
                node.log.line(node.clock.wall_ms(), Level::Notice, &text);
            }
        }
    }
}

/// How far a save is.
fn progress(bytes: u64, keys: u64, all: u64, since: Duration) -> String {
    #[allow(clippy::cast_precision_loss, reason = "shown without decimals")]
    let part = keys as f64 / all.max(1) as f64;
    let left_s = if part > 0.0 { since.as_secs_f64() * (1.0 - part) / part } else { 0.0 };
    format!(
        "Background saving: {:.0} % done, {keys} of {all} keys, {} MiB written, {left_s:.0} s left",
        part * 100.0,
        bytes >> 20,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_progress_says_how_much_is_left() {
        assert_eq!(
            progress(300 << 20, 250, 1000, Duration::from_secs(10)),
            "Background saving: 25 % done, 250 of 1000 keys, 300 MiB written, 30 s left"
        );
        assert!(progress(0, 0, 0, Duration::ZERO).ends_with(", 0 s left"));
    }
}
