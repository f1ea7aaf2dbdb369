//! A shard's part of a snapshot: the walk through the slots as they were at the cut, and what is
//! saved early because it is about to change.
//!
//! Invariant: while any box or detached database is cut, [`Snapshots::current`] is the snapshot of
//! that cut: whoever meets one takes part, wherever the box has come from.
//!
//! [`Snapshots::current`]: crate::node::snapshot::Snapshots::current

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use ballast_protocol::slot::SLOTS;
use ballast_storage::rdb::file::{Access, Chunk};
use ballast_storage::{DATABASES, Key, Unsaved, UnsavedWalk, eviction};

use super::Engine;
use crate::config::{Config, MaxmemoryPolicy};
use crate::node::snapshot::{Counts, Part, Snapshot};

/// A chunk goes to the queue when it has so many bytes.
const CHUNK_BYTES: usize = 128 << 10;
/// Room that a chunk has for the key with which it becomes full.
const CHUNK_SLACK_BYTES: usize = 4 << 10;
/// Bytes of keys between two looks at the clock.
const STEP_BYTES: usize = 8 << 10;

/// The part of a shard.
#[derive(Debug)]
pub(crate) struct Walker {
    snapshot: Arc<Snapshot>,
    chunk: Chunk,
    /// The slot that the walk looks at next.
    next: u16,
    /// What is done and not closed yet.
    done: usize,
}

/// What came of a slice of the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walked {
    /// There is more to do.
    More,
    /// What has been done waits for the thread that takes it.
    Full,
    /// Nothing is left of what is here.
    Idle,
    /// There is no snapshot under way.
    Over,
}

/// A snapshot that has begun.
pub(crate) struct Begun {
    /// What the shards share.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Takes its parts.
    pub(crate) parts: Receiver<Part>,
    /// By database.
    pub(crate) counts: Vec<Counts>,
}

impl Engine {
    /// Begins a snapshot of all slots, which are here, as they are now: O(1) for each of them. The
    /// walk follows when they are home. `None` if one is under way.
    ///
    /// # Panics
    /// If a slot is elsewhere.
    pub(crate) fn begin_snapshot(&mut self) -> Option<Begun> {
        assert_eq!(self.boxes().count(), usize::from(SLOTS), "a slot is elsewhere");
        if self.node.snapshots.current().is_some() {
            return None;
        }
        let mut counts = vec![Counts::default(); usize::from(DATABASES)];
        let mut cut = 0;
        for boxed in self.slots.iter_mut().flatten() {
            for (db, counts) in (0..DATABASES).zip(&mut counts) {
                let Some(keys) = boxed.data.keyspace(db) else { continue };
                counts.keys += keys.len() as u64;
                counts.expiring += keys.expiring_len() as u64;
            }
            boxed.data.cut();
            cut += usize::from(boxed.data.is_cut());
        }
        let keys = counts.iter().map(|of| of.keys).sum();
        let (snapshot, parts) = Snapshot::new(&self.node.snapshots, keys, cut);
        match cut {
            0 => snapshot.end(),
            _ => self.node.snapshots.begin(&snapshot),
        }
        Some(Begun { snapshot, parts, counts })
    }

    /// Before a key of a slot that is cut changes: has it saved.
    #[cold]
    #[inline(never)]
    pub(super) fn save_early(&mut self, slot: u16, db: u8, key: &Key<'_>) {
        let Some(mut walker) = self.take_walker() else { return };
        let Engine { slots, config, now_ms, .. } = self;
        if let Some(boxed) = slots[usize::from(slot)].as_deref_mut() {
            let save = &mut |unsaved: Unsaved<'_>| walker.emit(config, *now_ms, unsaved);
            boxed.data.save_early(db, key, save);
        }
        self.put_walker(walker);
    }

    /// Takes the walker of the present snapshot out, made if there is none, for as long as
    /// something is saved.
    pub(super) fn take_walker(&mut self) -> Option<Box<Walker>> {
        if let Some(walker) = self.walker.take()
            && !walker.snapshot.is_over()
        {
            return Some(walker);
        }
        let snapshot = self.node.snapshots.current()?;
        Some(Box::new(Walker { snapshot, chunk: Chunk::default(), next: 0, done: 0 }))
    }

    /// Puts the walker back.
    pub(super) fn put_walker(&mut self, walker: Box<Walker>) {
        self.walker = Some(walker);
        self.publish_snapshot_bytes();
    }

    /// Databases have been detached from slots that are cut: the walk reaches them as garbage.
    pub(super) fn open_detached(&mut self, databases: usize) {
        let Some(walker) = self.take_walker() else { return };
        (0..databases).for_each(|_| walker.snapshot.open());
        self.put_walker(walker);
    }

    fn publish_snapshot_bytes(&mut self) {
        let chunk = self.walker.as_ref().map_or(0, |walker| walker.chunk.heap_bytes());
        self.counters.snapshot_bytes.set((chunk + self.garbage.unsaved_bytes()) as u64);
    }

    /// Goes on with the walk for about as long as `slice`.
    pub(crate) fn walk_slice(&mut self, slice: Duration) -> Walked {
        let started = Instant::now();
        let Some(mut walker) = self.take_walker() else {
            self.publish_snapshot_bytes();
            return Walked::Over;
        };
        let walked = loop {
            if walker.snapshot.is_full() {
                break Walked::Full;
            }
            if !self.walk_step(&mut walker) {
                walker.send();
                break Walked::Idle;
            }
            if started.elapsed() >= slice {
                break Walked::More;
            }
        };
        let is_over = walker.snapshot.close(std::mem::take(&mut walker.done));
        self.put_walker(walker);
        if is_over {
            self.node.snapshots.end();
        }
        walked
    }

    /// A step of the walk, of a slot or of what has been flushed. False if nothing is left here.
    fn walk_step(&mut self, walker: &mut Walker) -> bool {
        let Engine { slots, garbage, config, now_ms, .. } = self;
        let emit = &mut |unsaved: Unsaved<'_>| walker.emit(config, *now_ms, unsaved);
        match garbage.walk_unsaved(STEP_BYTES, emit) {
            UnsavedWalk::Nothing => {}
            UnsavedWalk::More => return true,
            UnsavedWalk::Over => {
                walker.done += 1;
                return true;
            }
        }
        for _ in 0..SLOTS {
            let boxed = slots[usize::from(walker.next)].as_deref_mut();
            if let Some(boxed) = boxed.filter(|boxed| boxed.data.is_cut()) {
                let emit = &mut |unsaved: Unsaved<'_>| walker.emit(config, *now_ms, unsaved);
                let is_over = boxed.data.walk_cut(STEP_BYTES, emit);
                walker.done += usize::from(is_over);
                return true;
            }
            walker.next = (walker.next + 1) % SLOTS;
        }
        false
    }
}

impl Walker {
    /// Takes a key into the chunk.
    pub(super) fn emit(&mut self, config: &Config, now_ms: i64, unsaved: Unsaved<'_>) {
        if self.snapshot.is_unwanted() {
            return;
        }
        if self.chunk.is_empty() {
            self.chunk = Chunk::with_capacity(CHUNK_BYTES + CHUNK_SLACK_BYTES);
            self.snapshot.open();
        }
        let Unsaved { db, key, value } = unsaved;
        let access = access(config, key.meta.aux, now_ms);
        self.chunk.key(db, key.key, value, key.meta.expiry, access);
        if self.chunk.len() >= CHUNK_BYTES {
            self.send();
        }
    }

    /// Sends the chunk, if there is something in it.
    fn send(&mut self) {
        if !self.chunk.is_empty() {
            self.snapshot.send(std::mem::take(&mut self.chunk));
            self.done += 1;
        }
    }
}

/// What the eviction policy goes by, as far as a file says it.
pub(crate) fn access(config: &Config, aux: u32, now_ms: i64) -> Access {
    match config.maxmemory_policy {
        MaxmemoryPolicy::AllkeysLru | MaxmemoryPolicy::VolatileLru => {
            Access::Idle(eviction::lru_idle_ms(aux, now_ms) / 1000)
        }
        MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu => {
            Access::Frequency(eviction::lfu_frequency(aux, now_ms, config.lfu_decay_time))
        }
        _ => Access::Unknown,
    }
}
