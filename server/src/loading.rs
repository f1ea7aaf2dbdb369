//! Loads the snapshot into the shards at the start. Clients are answered meanwhile, but for all
//! that touches keys.
//!
//! The calling thread reads the file, and each shard's thread puts its keys into their slots. These
//! stay where they are until the end.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use ballast_protocol::slot::key_slot;
use ballast_storage::rdb::file::KeyRecord;

use crate::files::load::{self, Duplicate, Expired, LoadError, LoadReason, Snapshot, Tally};
use crate::ids::{ClientId, ShardId};
use crate::shard::ShardState;
use crate::shard::message::Message;
use crate::shard::shared::Shared;

/// Keys that a shard gets at once.
const KEYS_PER_MESSAGE: usize = 512;
/// Messages that wait for each shard at most.
const MESSAGES_PER_SHARD: usize = 4;

/// How often who waits for a shard looks whether the server is ending.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Loads the snapshot.
///
/// # Errors
/// If not all of it can be loaded: some of its keys may be in their slots then, and the server must
/// end.
pub(crate) fn load(shared: &Shared, snapshot: Snapshot) -> Result<(), LoadError> {
    load_keys(shared, snapshot, Expired::Dropped).map(drop)
}

/// Loads the base of an append-only file. Answers where it ends in the file.
///
/// # Errors
/// As [`load()`], or if it is not there.
pub(crate) fn load_base(shared: &Shared, path: &Path) -> Result<u64, LoadError> {
    load_keys(shared, Snapshot::open_file(path.to_owned(), None)?, Expired::Kept)
}

fn load_keys(shared: &Shared, snapshot: Snapshot, expired: Expired) -> Result<u64, LoadError> {
    let started = Instant::now();
    let path = snapshot.path().to_owned();
    let mut dispatch = Dispatch::new(shared, expired);
    let end = snapshot.read(&shared.node, |key| dispatch.push(key))?;
    let done = dispatch.finish();
    let (tally, changes) = done.map_err(|reason| LoadError { path, reason })?;
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
        if self.shared.stopping.load(Ordering::Acquire) {
            return Err(LoadReason::Ending);
        }
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
        let (expired, tally) = (self.expired, Tally::default());
        let part = Part { keys, expired, tally, result: Ok(()), sender };
        let work = move |state: &mut ShardState| part.keep(state);
        self.shared.mailboxes[shard.index()].push(Message::Call(Box::new(work)));
        self.under_way.push_back(receiver);
    }

    /// Waits for the oldest answer.
    fn receive(&mut self) -> Result<(), LoadReason> {
        let Some(receiver) = self.under_way.pop_front() else { return Ok(()) };
        let done = loop {
            match receiver.recv_timeout(LOOK_EVERY) {
                Ok(done) => break done,
                Err(RecvTimeoutError::Timeout) if !self.shared.stopping.load(Ordering::Acquire) => {
                }
                Err(_) => return Err(LoadReason::Ending),
            }
        };
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

/// Keys that a shard is to put into their slots.
struct Part {
    keys: Vec<KeyRecord>,
    expired: Expired,
    tally: Tally,
    result: Result<(), Duplicate>,
    sender: Sender<Done>,
}

impl Part {
    /// Runs on the shard's thread. Its slots are here, but for those that a client's transaction
    /// has borrowed: their keys are put in when they are back.
    fn keep(mut self, state: &mut ShardState) {
        // The shard takes the configuration, which says what the eviction order goes by.
        state.begin_batch(ClientId(0));
        let mut later = Vec::new();
        for key in std::mem::take(&mut self.keys) {
            if !state.has(key_slot(&key.name)) {
                later.push(key);
                continue;
            }
            match load::keep(state, key, self.expired) {
                Ok(one) => self.tally.add(one),
                Err(duplicate) => self.result = Err(duplicate),
            }
        }
        if later.is_empty() {
            let result = self.result.map(|()| self.tally);
            let done = Done { shard: state.id, result, changes: state.dirty };
            // Whoever loads may have given up.
            let _ = self.sender.send(done);
            return;
        }
        self.keys = later;
        let work = move |state: &mut ShardState| self.keep(state);
        state.send(state.id, Message::Call(Box::new(work)));
    }
}
