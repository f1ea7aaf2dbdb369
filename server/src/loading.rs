//! Loads the snapshot into the shards, before anybody can reach them.
//!
//! The calling thread reads the file, and each shard's thread puts its keys into their slots.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use ballast_protocol::slot::key_slot;
use ballast_storage::rdb::file::KeyRecord;

use crate::files::load::{self, Duplicate, Expired, LoadError, LoadReason, Tally};
use crate::files::save;
use crate::ids::{ClientId, ShardId};
use crate::shard::ShardState;
use crate::shard::message::Message;
use crate::shard::shared::Shared;

/// Keys that a shard gets at once.
const KEYS_PER_MESSAGE: usize = 512;
/// Messages that wait for each shard at most.
const MESSAGES_PER_SHARD: usize = 4;

/// Loads the snapshot, if there is one.
///
/// # Errors
/// If not all of it can be loaded: some of its keys may be in their slots then.
pub(crate) fn load(shared: &Shared) -> Result<(), LoadError> {
    let started = Instant::now();
    let mut dispatch = Dispatch::new(shared, Expired::Dropped);
    if !load::read(&shared.node, |key| dispatch.push(key))? {
        return Ok(());
    }
    let failed = |reason| LoadError { path: save::path(&shared.config.load()), reason };
    let (tally, changes) = dispatch.finish().map_err(failed)?;
    load::done(&shared.node, tally, started, changes);
    Ok(())
}

/// Loads the base of an append-only file. Answers where it ends in the file.
///
/// # Errors
/// As [`load`], or if it is not there.
pub(crate) fn load_base(shared: &Shared, path: &Path) -> Result<u64, LoadError> {
    let started = Instant::now();
    let mut dispatch = Dispatch::new(shared, Expired::Kept);
    let end = load::read_file(&shared.node, path, |key| dispatch.push(key))?;
    let failed = |reason| LoadError { path: path.to_owned(), reason };
    let (tally, changes) = dispatch.finish().map_err(failed)?;
    load::done(&shared.node, tally, started, changes);
    Ok(end)
}

/// Keys on their way to their shards.
struct Dispatch<'a> {
    shared: &'a Shared,
    expired: Expired,
    /// By shard.
    waiting: Vec<Vec<KeyRecord>>,
    under_way: VecDeque<Receiver<Done>>,
    tally: Tally,
    /// By shard: changes of the data set that it has counted.
    changes: Vec<u64>,
}

/// What a shard answers.
struct Done {
    shard: ShardId,
    result: Result<Tally, Duplicate>,
    changes: u64,
}

impl Dispatch<'_> {
    fn new(shared: &Shared, expired: Expired) -> Dispatch<'_> {
        let shards = usize::from(shared.shards());
        Dispatch {
            shared,
            expired,
            waiting: (0..shards).map(|_| Vec::new()).collect(),
            under_way: VecDeque::new(),
            tally: Tally::default(),
            changes: vec![0; shards],
        }
    }

    fn push(&mut self, key: KeyRecord) -> Result<(), LoadReason> {
        let shard = self.shared.router.owner(key_slot(&key.name));
        let waiting = &mut self.waiting[shard.index()];
        waiting.push(key);
        if waiting.len() < KEYS_PER_MESSAGE {
            return Ok(());
        }
        self.send(shard);
        let most = MESSAGES_PER_SHARD * self.changes.len();
        while self.under_way.len() > most {
            self.receive()?;
        }
        Ok(())
    }

    fn send(&mut self, shard: ShardId) {
        let keys = std::mem::take(&mut self.waiting[shard.index()]);
        let (sender, receiver) = channel();
        let expired = self.expired;
        let work = move |state: &mut ShardState| {
            // Whoever loads may have given up.
            let _ = sender.send(keep_all(state, shard, keys, expired));
        };
        self.shared.mailboxes[shard.index()].push(Message::Call(Box::new(work)));
        self.under_way.push_back(receiver);
    }

    /// Waits for the oldest answer.
    fn receive(&mut self) -> Result<(), LoadReason> {
        let Some(receiver) = self.under_way.pop_front() else { return Ok(()) };
        let done = receiver.recv().map_err(|_| LoadReason::Ending)?;
        self.changes[done.shard.index()] = done.changes;
        self.tally.add(done.result.map_err(LoadReason::Duplicate)?);
        Ok(())
    }

    /// Waits until all keys are in their slots. Answers what came of them, and the changes of the
    /// data set that all shards have counted.
    fn finish(mut self) -> Result<(Tally, u64), LoadReason> {
        for shard in 0..self.shared.shards() {
            self.send(ShardId(shard));
        }
        while !self.under_way.is_empty() {
            self.receive()?;
        }
        Ok((self.tally, self.changes.iter().sum()))
    }
}

/// Runs on the shard's thread. Slots do not move yet.
fn keep_all(
    state: &mut ShardState,
    shard: ShardId,
    keys: Vec<KeyRecord>,
    expired: Expired,
) -> Done {
    // The shard takes the configuration, which says what the eviction order goes by.
    state.begin_batch(ClientId(0));
    let mut tally = Tally::default();
    let mut result = Ok(());
    for key in keys {
        match load::keep(state, key, expired) {
            Ok(one) => tally.add(one),
            Err(duplicate) => result = Err(duplicate),
        }
    }
    Done { shard, result: result.map(|()| tally), changes: state.dirty }
}
