//! The look-ups of commands that several connections have received are loaded together, also
//! those of other shards, where these allow it.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::ShardState;
use crate::engine::prefetch::AHEAD_MAX;
use crate::ids::ShardId;

/// How many foreseen look-ups are prepared at a time: more would push each other out of the cache
/// while their connections read and write sockets.
const FORESEEN_MAX: usize = 4 * AHEAD_MAX;
/// The keys of commands that have been received and will be executed when the other connections
/// with something to read have received theirs.
#[derive(Default)]
pub(crate) struct Foreseen {
    /// In the order in which their connections will have their turns.
    keys: VecDeque<ForeseenKey>,
    /// Turns that are prepared.
    prepared: usize,
}

struct ForeseenKey {
    db: u8,
    slot: u16,
    hash: u64,
}

impl ShardState {
    /// Foresees the look-up of a key, whose slot's box has been asked for if it is here.
    #[inline(always)]
    pub(crate) fn foresee(&mut self, db: u8, slot: u16, hash: u64) {
        self.foreseen.keys.push_back(ForeseenKey { db, slot, hash });
    }

    /// Before a foreseen look-up: has loaded what it and the next of them will read.
    #[inline]
    pub(crate) fn load_foreseen(&mut self) {
        if self.foreseen.prepared == 0 {
            let mut next = std::mem::take(&mut self.foreseen.keys);
            let count = next.len().min(FORESEEN_MAX);
            let (front, _) = next.as_slices();
            let front = &front[..count.min(front.len())];
            self.load_all(front.iter());
            self.load_elsewhere(front);
            next.drain(..count);
            self.foreseen = Foreseen { keys: next, prepared: count };
        }
        self.foreseen.prepared = self.foreseen.prepared.saturating_sub(1);
    }

    /// Has loaded what the look-ups of those keys will read whose slots are here.
    #[inline]
    fn load_all<'a>(&self, keys: impl Iterator<Item = &'a ForeseenKey>) {
        let mut keys = keys.peekable();
        while let Some(db) = keys.peek().map(|first| first.db) {
            // They nearly always are of one database; others go without.
            let few = keys.by_ref().take(AHEAD_MAX).filter(|key| key.db == db);
            self.load_keys(db, few.map(|key| (key.slot, key.hash)));
        }
    }

    /// The same for the keys of other shards, where their threads allow it.
    #[inline]
    fn load_elsewhere(&self, keys: &[ForeseenKey]) {
        if self.shared.shards() == 1 {
            return;
        }
        let owner = |key: &ForeseenKey| self.shared.router.owner(key.slot);
        let elsewhere = keys.iter().map(|key| (!self.has(key.slot)).then(|| owner(key)));
        let owners: SmallVec<[Option<ShardId>; FORESEEN_MAX]> = elsewhere.collect();
        for (at, owner) in owners.iter().enumerate() {
            let Some(of) = owner else { continue };
            if owners[..at].contains(owner) {
                continue;
            }
            let theirs = || {
                let with_owners = keys[at..].iter().zip(&owners[at..]);
                with_owners.filter(|(_, other)| *other == owner).map(|(key, _)| key)
            };
            self.shared.homes[of.index()].visit(|other| {
                theirs().for_each(|key| other.load_box(key.slot));
                other.load_all(theirs());
            });
        }
    }
}
