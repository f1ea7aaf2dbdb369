//! Makes a new base of the append-only file: the data set as it is now, while commands go on.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::temporary_base;
use crate::config::{Config, system_reason};
use crate::engine::Engine;
use crate::files::save::{self, Purpose, Unfinished};
use crate::files::take::{Failure, Taking};
use crate::log::Level;
use crate::node::Node;
use crate::node::append_only::Told;
use crate::node::effects::FILE;

/// Whether a rewrite can begin now: snapshots are made one after the other.
pub(crate) fn may_begin(node: &Node) -> bool {
    let figures = &node.append_only.figures;
    !figures.is_rewriting.load(std::sync::atomic::Ordering::SeqCst)
        && node.snapshots.current().is_none()
        && node.saves.running().is_none()
}

/// Begins a rewrite; all slots are here. What comes afterwards goes to a new file, and the base is
/// written when the slots are home.
///
/// # Panics
/// If a slot is elsewhere.
pub(crate) fn begin(engine: &mut Engine) {
    let node = Arc::clone(&engine.node);
    if !may_begin(&node) {
        return;
    }
    let config = node.config.load();
    if !config.aof_use_rdb_preamble {
        return write_now(engine);
    }
    cut(engine);
    let spawned = match engine.begin_snapshot() {
        None => Err(io::Error::other("another snapshot is being made")),
        Some(begun) => {
            let taking = Taking::new(&node, &config, begun);
            let thread = std::thread::Builder::new().name("ballast-rewrite".into());
            thread.spawn(move || run(&taking)).map(drop)
        }
    };
    if let Err(error) = spawned {
        fail(&node, &error);
    }
}

/// Makes a base at once, while the slots stay here: at the start, when nobody waits for it, and
/// where it is to be commands.
///
/// # Panics
/// If a slot is elsewhere.
pub(crate) fn write_now(engine: &mut Engine) {
    let node = Arc::clone(&engine.node);
    cut(engine);
    let config = node.config.load();
    let base = temporary_base(&config).and_then(|path| {
        save::write_base(engine, &config, &path)?;
        Ok(path)
    });
    match base {
        Ok(base) => node.append_only.send(Told::Base(Some(base))),
        Err(error) => fail(&node, &error),
    }
}

/// What comes now goes to a new file.
fn cut(engine: &mut Engine) {
    let node = Arc::clone(&engine.node);
    let say = |text: &str| node.log.line(node.clock.wall_ms(), Level::Notice, text);
    say("Background append only file rewriting started");
    node.append_only.begin_rewrite(node.clock.wall_ms());
    engine.send_effects();
    engine.follow_all(FILE);
    node.append_only.send(Told::NextFile);
}

fn fail(node: &Node, error: &io::Error) {
    let reason = system_reason(error);
    let text = format!("Failed writing the base of the append-only file: {reason}");
    node.log.line(node.clock.wall_ms(), Level::Warning, &text);
    node.append_only.send(Told::Base(None));
}

fn run(taking: &Taking) {
    let node = &*taking.node;
    match write(node, &taking.config, taking) {
        Ok(base) => node.append_only.send(Told::Base(Some(base))),
        Err(Failure::Stopped) => node.append_only.send(Told::Base(None)),
        Err(Failure::Io(error)) => {
            taking.drain();
            fail(node, &error);
        }
    }
}

fn write(node: &Node, config: &Config, taking: &Taking) -> Result<PathBuf, Failure> {
    let path = temporary_base(config)?;
    let unfinished = Unfinished { disk: &*node.disk, path: path.clone(), is_kept: false };
    let file = node.disk.create(&path)?;
    taking.write(file, Purpose::Base)?;
    unfinished.keep();
    Ok(path)
}
