//! Sees to the append-only file: loads it at the start, begins it, has it rewritten and ends it, as
//! the configuration and commands want it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::commands::gather::{After, Local};
use crate::commands::replay::Replay;
use crate::config::Config;
use crate::engine::Engine;
use crate::files::append::{self, AppendError, AppendReason, Set, rewrite, starts_as_snapshot};
use crate::files::save;
use crate::ids::ShardId;
use crate::loading;
use crate::node::append_only::Told;
use crate::node::effects::FILE;
use crate::shard::shared::Shared;

/// The shard on which all slots meet.
const MEETING: ShardId = ShardId(0);
/// Seconds between a rewrite that has failed and the next try, at first and at most.
const RETRY_S: i64 = 5;
const RETRY_S_MAX: i64 = 3600;
/// How often it is looked whether the file has grown enough to be rewritten.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Loads the files of the append-only file.
///
/// # Errors
/// If not all of them can be loaded: some keys may be in their slots then.
pub(crate) fn load(shared: &Arc<Shared>, set: &Set) -> Result<(), AppendError> {
    let mut before_bytes = 0;
    if let Some(base) = set.base() {
        load_base(shared, &base)?;
        before_bytes += bytes(&base);
    }
    let files = set.incremental();
    for (at, path) in files.iter().enumerate() {
        let is_last = at + 1 == files.len();
        replay(shared, path, 0, before_bytes, is_last)?;
        before_bytes += bytes(path);
    }
    Ok(())
}

/// The length of a file, for the progress.
fn bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}

/// Loads a base: a snapshot, or commands, or a snapshot with commands behind it.
fn load_base(shared: &Arc<Shared>, path: &Path) -> Result<(), AppendError> {
    let failed = |reason| AppendError { path: path.to_owned(), reason };
    let mut offset = 0;
    if starts_as_snapshot(path).map_err(|error| failed(AppendReason::System(error)))? {
        let loaded = loading::load_base(shared, path);
        offset = loaded.map_err(|error| failed(AppendReason::Base(Box::new(error))))?;
    }
    replay(shared, path, offset, 0, false)
}

/// Repeats the commands of a file from `offset` on, on the shard where all slots meet. Its clients
/// are answered meanwhile.
fn replay(
    shared: &Arc<Shared>,
    path: &Path,
    offset: u64,
    before_bytes: u64,
    is_last: bool,
) -> Result<(), AppendError> {
    let failed = |reason| AppendError { path: path.to_owned(), reason };
    let mut replay = Replay::open(path, offset, is_last).map_err(failed)?;
    let (sender, receiver) = std::sync::mpsc::channel();
    let work = move |local: &mut dyn Local| {
        let engine = local.engine_mut();
        let result = match engine.node.stopping.load(Relaxed) {
            true => Err(AppendReason::Ending),
            false => replay.go_on(engine),
        };
        engine.node.loading.read(before_bytes + replay.offset());
        let has_more = matches!(result, Ok(true));
        if !has_more {
            // Whoever loads may have given up.
            let _ = sender.send((result, save::changes(engine)));
        }
        has_more
    };
    shared.with_all_slots_in_slices(MEETING, "loading", Box::new(work));
    let (result, changes) = receiver.recv().unwrap_or((Err(AppendReason::Ending), 0));
    let (keys, expired) = shared.saves.loaded_and_expired();
    shared.saves.loaded(keys, expired, changes);
    result.map(drop).map_err(failed)
}

/// Begins to append to the files of `set`, or to a new one.
///
/// # Errors
/// If its thread cannot be started, or the file cannot be opened.
pub(crate) fn start(
    shared: &Arc<Shared>,
    set: Option<Set>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let goes_on = set.is_some();
    let thread = append::spawn(&shared.node, set)?;
    if shared.config.load().appendonly {
        let (sender, receiver) = std::sync::mpsc::channel();
        let work = move |local: &mut dyn Local| {
            match goes_on {
                true => drop(local.engine_mut().follow_all(FILE)),
                false => rewrite::write_now(local.engine_mut()),
            }
            // Nobody is served before the file is there to keep what they write.
            local.node.append_only.send(Told::Written(sender));
            After::GiveBack
        };
        shared.with_all_slots(MEETING, "append-only file", Box::new(work));
        // Without an answer the server ends.
        let _ = receiver.recv();
        if !shared.append_only.figures.is_on.load(Relaxed) {
            return Err(std::io::Error::other("the server's log says why"));
        }
    }
    Ok(thread)
}

/// Follows the configuration and the file's growth, and carries out rewrites that are asked for.
pub(crate) async fn supervise(shared: Arc<Shared>) {
    loop {
        let figures = &shared.append_only.figures;
        // What is loaded at the start is in the file, or goes there, before this has work to do.
        if rewrite::may_begin(&shared.node) && !shared.is_loading() {
            let config = shared.config.load();
            let is_on = figures.is_on.load(Relaxed);
            let wants = config.appendonly && !is_on || is_on && has_grown(&shared, &config);
            if shared.append_only.wants_rewrite() || wants && may_try(&shared) {
                carry_out(&shared, rewrite::begin).await;
            } else if is_on && !config.appendonly {
                carry_out(&shared, |engine| {
                    engine.follow_all(0);
                    engine.send_effects();
                    engine.node.append_only.figures.is_on.store(false, Relaxed);
                    engine.node.append_only.send(Told::Off);
                })
                .await;
            }
        }
        tokio::select! {
            () = shared.append_only.wanted.notified() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

/// Has `work` done when all slots are at one place.
async fn carry_out(shared: &Shared, work: fn(&mut Engine)) {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let work = move |local: &mut dyn Local| {
        work(local.engine_mut());
        let _ = sender.send(());
        After::GiveBack
    };
    shared.with_all_slots(MEETING, "append-only file", Box::new(work));
    // Without an answer the server ends.
    let _ = receiver.await;
}

/// Whether a rewrite that no command asks for may begin: not soon after one that has failed, and
/// ever later the more have.
fn may_try(shared: &Shared) -> bool {
    let figures = &shared.append_only.figures;
    let failed = figures.failed_rewrites.load(Relaxed);
    let rest_s = RETRY_S.saturating_mul(1 << failed.saturating_sub(1).min(16)).min(RETRY_S_MAX);
    let since_ms = shared.clock.wall_ms() - figures.rewrite_began_ms.load(Relaxed);
    failed == 0 || since_ms >= rest_s * 1000
}

/// Whether the file has grown by so much that the configuration wants it rewritten.
fn has_grown(shared: &Shared, config: &Config) -> bool {
    let figures = &shared.append_only.figures;
    let (size, base) = (figures.size_bytes.load(Relaxed), figures.base_bytes.load(Relaxed).max(1));
    let percent = u128::from(config.auto_aof_rewrite_percentage);
    let growth = u128::from(size.saturating_sub(base)) * 100 / u128::from(base);
    percent > 0 && size >= config.auto_aof_rewrite_min_size && growth >= percent
}
