//! Writes a snapshot in the background: the shards walk their slots, a thread of its own writes.

use std::path::Path;
use std::sync::Arc;

use super::save::{self, Purpose, Unfinished};
use super::take::{Failure, Taking};
use crate::config::{SavePoint, system_reason};
use crate::engine::Engine;
use crate::log::Level;
use crate::node::Node;
use crate::node::saves::{Ended, Running};

/// Why no snapshot has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// One is under way.
    UnderWay,
    /// The system refuses a thread.
    NoThread,
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
    let taking = Taking::new(&node, &config, begun);
    let thread = std::thread::Builder::new().name("ballast-bgsave".into());
    let pid = std::process::id();
    say(&node, Level::Notice, &format!("Background saving started by pid {pid}"));
    if let Err(error) = thread.spawn(move || run(&taking)) {
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
        node.look_at_files();
    }
}

fn say(node: &Node, level: Level, text: &str) {
    node.log.line(node.clock.wall_ms(), level, text);
}

fn run(taking: &Taking) {
    let node = Arc::clone(&taking.node);
    match write(taking) {
        Ok(()) => {
            say(&node, Level::Notice, "DB saved on disk");
            end(&node, Ended::Saved);
            say(&node, Level::Notice, "Background saving terminated with success");
        }
        Err(Failure::Stopped) => say(&node, Level::Warning, "Background saving stopped"),
        Err(Failure::Io(error)) => {
            let path = save::path(&taking.config);
            let reason = system_reason(&error);
            let text = format!("Failed writing the snapshot '{}': {reason}", path.display());
            say(&node, Level::Warning, &text);
            taking.drain();
            end(&node, Ended::Failed);
            say(&node, Level::Warning, "Background saving error");
        }
    }
}

fn write(taking: &Taking) -> Result<(), Failure> {
    let node = &*taking.node;
    let (unfinished, file) = {
        // Who stops it removes the file, or finds none yet and then there will be none.
        let _naming = node.saves.lock_naming();
        let path = node.saves.running().ok_or(Failure::Stopped)?.temporary;
        let unfinished = Unfinished { disk: &*node.disk, path, is_kept: false };
        let file = node.disk.create(&unfinished.path)?;
        (unfinished, file)
    };
    taking.write(file, Purpose::Snapshot)?;
    name(taking, &unfinished.path)
}

/// Gives the complete file its name.
fn name(taking: &Taking, from: &Path) -> Result<(), Failure> {
    let node = &*taking.node;
    {
        let _naming = node.saves.lock_naming();
        node.saves.running().ok_or(Failure::Stopped)?;
        node.disk.rename(from, &save::path(&taking.config))?;
    }
    // The name is on disk when the directory is.
    Ok(node.disk.sync_directory(&taking.config.dir)?)
}
