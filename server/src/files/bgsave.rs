//! Writes a snapshot in the background: the shards walk their slots, a thread of its own writes.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use ballast_storage::rdb::file::Writer;

use super::save::{self, Purpose, Unfinished};
use crate::config::{Config, SavePoint, system_reason};
use crate::engine::Engine;
use crate::log::Level;
use crate::node::Node;
use crate::node::disk::DiskFile;
use crate::node::saves::{Ended, Running};
use crate::node::snapshot::{Counts, Part, Snapshot};

/// A long save says in the log this often how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// The writing thread gets a third of a processor that others want all of.
const NICENESS: u8 = 5;

/// Why no snapshot has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// One is under way.
    UnderWay,
    /// The system refuses a thread.
    NoThread,
}

/// What the writing thread has.
struct Job {
    node: Arc<Node>,
    config: Arc<Config>,
    snapshot: Arc<Snapshot>,
    parts: Receiver<Part>,
    counts: Vec<Counts>,
    /// The walk is over.
    has_all: Cell<bool>,
}

/// Why there is no new file.
enum Failure {
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

/// Begins to write the data set as it is now; all slots are here. What it comes to is in the log
/// and in the node's record of saves.
///
/// # Errors
/// See [`Refused`].
///
/// # Panics
/// If a slot is elsewhere.
pub(crate) fn start(engine: &mut Engine) -> Result<(), Refused> {
    let node = Arc::clone(&engine.node);
    if node.saves.running().is_some() {
        return Err(Refused::UnderWay);
    }
    let changes = save::changes(engine);
    let begun = engine.begin_snapshot().ok_or(Refused::UnderWay)?;
    let config = node.config.load();
    let running = Running {
        snapshot: Arc::clone(&begun.snapshot),
        temporary: save::temporary(&config.dir),
        since_ms: node.clock.wall_ms(),
        changes,
        peak_bytes: 0,
    };
    node.saves.begin(running);
    let job = Job {
        node: Arc::clone(&node),
        config,
        snapshot: begun.snapshot,
        parts: begun.parts,
        counts: begun.counts,
        has_all: Cell::new(false),
    };
    let thread = std::thread::Builder::new().name("ballast-bgsave".into());
    let pid = std::process::id();
    say(&node, Level::Notice, &format!("Background saving started by pid {pid}"));
    if let Err(error) = thread.spawn(move || job.run()) {
        let text = format!("Can't save in background: {}", system_reason(&error));
        say(&node, Level::Warning, &text);
        end(&node, Ended::Failed);
        return Err(Refused::NoThread);
    }
    Ok(())
}

/// Whether a snapshot is to begin that no command asks for now: it is scheduled, or a save point is
/// reached, which is said in the log.
pub(crate) fn is_due(node: &Node) -> bool {
    let (saves, now_ms) = (&node.saves, node.clock.wall_ms());
    let busy = saves.running().is_some() || node.snapshots.current().is_some() || node.is_loading();
    if busy || !saves.may_try(now_ms) {
        return false;
    }
    let unsaved = saves.unsaved(node.sum(|counters| counters.changes.value()));
    let since_s = now_ms / 1000 - saves.last_s();
    let config = node.config.load();
    let is_reached = |point: &&SavePoint| {
        unsaved >= u64::from(point.changes) && since_s > i64::from(point.seconds)
    };
    if let Some(point) = config.save_points.iter().find(is_reached) {
        let SavePoint { changes, seconds } = point;
        let text = format!("{changes} changes in {seconds} seconds. Saving...");
        say(node, Level::Notice, &text);
        return true;
    }
    saves.is_scheduled()
}

/// Gives up the snapshot under way, if there is one, for one that replaces it: its file will not
/// get its name.
pub(crate) fn stop(node: &Node) {
    let _naming = node.saves.lock_naming();
    if let Some(running) = node.saves.take_running() {
        say(node, Level::Warning, "There is a background save in progress. Stopping it!");
        running.snapshot.stop();
        node.saves.ended(&running, node.clock.wall_ms(), Ended::Stopped);
        // The process may end before the thread that writes it.
        let _ = node.disk.remove(&running.temporary);
    }
}

/// Records how it has ended, unless somebody has stopped it.
fn end(node: &Node, ended: Ended) {
    let Some(running) = node.saves.take_running() else { return };
    if ended != Ended::Saved {
        running.snapshot.abandon();
    }
    if node.saves.ended(&running, node.clock.wall_ms(), ended) {
        node.look_at_saves();
    }
}

fn say(node: &Node, level: Level, text: &str) {
    node.log.line(node.clock.wall_ms(), level, text);
}

impl Job {
    fn run(self) {
        ballast_storage::memory::give_way(NICENESS);
        let node = Arc::clone(&self.node);
        match self.write() {
            Ok(()) => {
                say(&node, Level::Notice, "DB saved on disk");
                end(&node, Ended::Saved);
                say(&node, Level::Notice, "Background saving terminated with success");
            }
            Err(Failure::Stopped) => say(&node, Level::Warning, "Background saving stopped"),
            Err(Failure::Io(error)) => {
                let path = save::path(&self.config);
                let reason = system_reason(&error);
                let text = format!("Failed writing the snapshot '{}': {reason}", path.display());
                say(&node, Level::Warning, &text);
                self.drain();
                end(&node, Ended::Failed);
                say(&node, Level::Warning, "Background saving error");
            }
        }
    }

    /// Lets the walk come to its end: the next snapshot can begin then.
    fn drain(&self) {
        self.snapshot.abandon();
        while !self.has_all.get() && matches!(self.parts.recv(), Ok(Part::Chunk(_))) {}
    }

    fn write(&self) -> Result<(), Failure> {
        let node = &*self.node;
        let (unfinished, file) = {
            // Who stops it removes the file, or finds none yet and then there will be none.
            let _naming = node.saves.lock_naming();
            let path = node.saves.running().ok_or(Failure::Stopped)?.temporary;
            let unfinished = Unfinished { disk: &*node.disk, path, is_kept: false };
            let file = node.disk.create(&unfinished.path)?;
            (unfinished, file)
        };
        let mut writer = save::begin_file(node, &self.config, file, Purpose::Snapshot)?;
        for (db, counts) in (0..).zip(&self.counts) {
            if counts.keys > 0 {
                writer.database(db, counts.keys, counts.expiring)?;
            }
        }
        self.take_parts(&mut writer)?;
        let (mut file, _) = writer.finish()?;
        file.sync()?;
        drop(file);
        self.name(&unfinished.path)
    }

    /// Gives the complete file its name.
    fn name(&self, from: &Path) -> Result<(), Failure> {
        {
            let _naming = self.node.saves.lock_naming();
            self.node.saves.running().ok_or(Failure::Stopped)?;
            self.node.disk.rename(from, &save::path(&self.config))?;
        }
        // The name is on disk when the directory is.
        Ok(self.node.disk.sync_directory(&self.config.dir)?)
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
                say(node, Level::Notice, &text);
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
