//! Lazy free: what has been detached from a slot and is freed in slices of bounded work.
//!
//! Detaching is O(1) and takes the bytes out of the slot's account at once; the memory itself
//! comes back as [`Garbage::free_some`] is called between batches. Until then its bytes are counted
//! here.

use std::collections::VecDeque;

use crate::keyspace::{Collection, Keyspace, Removed, Unsaved};
use crate::memory::good_size;
use crate::table::Table;
use crate::types::{Hash, List, Set, ZSet};

/// Collections of so many elements at most are freed at once, …
const AT_ONCE_MAX: usize = 256;
/// … if they have no more bytes: that is a few microseconds.
const AT_ONCE_BYTES_MAX: usize = 256 << 10;

/// A queue of detached things.
///
/// Invariant: `bytes` is the heap of all items, without the queue's own; `unsaved_bytes` that of
/// all `unsaved`.
#[derive(Debug, Default)]
pub struct Garbage {
    queue: VecDeque<Item>,
    bytes: usize,
    /// What a walk has to reach before it can be freed.
    unsaved: VecDeque<Keyspace>,
    unsaved_bytes: usize,
    /// Where the walk of the first of them stands.
    cursor: u64,
}

/// What a slice of the walk through detached keys came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsavedWalk {
    /// There were none.
    Nothing,
    /// A database has more.
    More,
    /// A database is done, and its keys are freed from now on.
    Over,
}

#[derive(Debug)]
enum Item {
    Collection(Collection),
    /// The inside of a large hash or set.
    Table(Table),
    Keyspace(Keyspace),
}

impl Item {
    fn heap_bytes(&self) -> usize {
        match self {
            Item::Collection(collection) => collection.heap_bytes(),
            Item::Table(table) => table.heap_bytes(),
            Item::Keyspace(keyspace) => keyspace.heap_bytes(),
        }
    }
}

impl Garbage {
    /// Takes what a removed key left.
    pub fn push(&mut self, removed: Removed) {
        if let Some(collection) = removed.0
            && (collection.len() > AT_ONCE_MAX || collection.heap_bytes() > AT_ONCE_BYTES_MAX)
        {
            self.put_last(Item::Collection(collection));
        }
    }

    fn put_last(&mut self, item: Item) {
        self.bytes += item.heap_bytes();
        self.queue.push_back(item);
    }

    /// Takes all keys of a database.
    pub(crate) fn push_keyspace(&mut self, keyspace: Keyspace) {
        if keyspace.is_cut() && !keyspace.is_empty() {
            self.unsaved_bytes += keyspace.heap_bytes();
            self.unsaved.push_back(keyspace);
        } else if !keyspace.is_empty() {
            self.put_last(Item::Keyspace(keyspace));
        }
    }

    /// Databases that a walk has to reach before they can be freed.
    pub fn unsaved_len(&self) -> usize {
        self.unsaved.len()
    }

    /// What they take on the heap; O(1).
    #[inline]
    pub fn unsaved_bytes(&self) -> usize {
        self.unsaved_bytes + good_size(self.unsaved.capacity() * size_of::<Keyspace>())
    }

    /// Goes on with the walk of the first of them, for keys of about `budget` bytes.
    pub fn walk_unsaved(&mut self, budget: usize, f: &mut dyn FnMut(Unsaved<'_>)) -> UnsavedWalk {
        let Some(keyspace) = self.unsaved.front_mut() else { return UnsavedWalk::Nothing };
        self.cursor = keyspace.walk_cut(self.cursor, budget, f);
        if self.cursor != 0 {
            return UnsavedWalk::More;
        }
        if let Some(saved) = self.unsaved.pop_front() {
            self.unsaved_bytes -= saved.heap_bytes();
            self.push_keyspace(saved);
        }
        if self.unsaved.is_empty() {
            self.unsaved = VecDeque::new();
        }
        UnsavedWalk::Over
    }

    /// Takes everything from another queue.
    pub fn append(&mut self, mut other: Garbage) {
        self.queue.append(&mut other.queue);
        self.bytes += std::mem::take(&mut other.bytes);
        self.unsaved.append(&mut other.unsaved);
        self.unsaved_bytes += std::mem::take(&mut other.unsaved_bytes);
    }

    /// Bytes on the heap that come back as it is freed, without what is unsaved; O(1).
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.bytes + good_size(self.queue.capacity() * size_of::<Item>())
    }

    /// Number of detached things that are not freed yet.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is nothing to free.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Frees until about `budget` elements are gone; returns how many.
    pub fn free_some(&mut self, budget: usize) -> usize {
        let mut freed = 0;
        while freed < budget
            && let Some(item) = self.queue.pop_front()
        {
            self.bytes -= item.heap_bytes();
            let (count, rest) = self.free_part(item, budget - freed);
            // Also something empty costs a step.
            freed += count.max(1);
            if let Some(rest) = rest {
                self.bytes += rest.heap_bytes();
                self.queue.push_front(rest);
            }
        }
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        freed
    }

    /// Frees some elements; what is left of the item.
    fn free_part(&mut self, item: Item, budget: usize) -> (usize, Option<Item>) {
        match item {
            Item::Collection(Collection::Hash(Hash::Table(hash))) => {
                (0, Some(Item::Table(hash.into_table())))
            }
            Item::Collection(Collection::Set(Set::Table(set))) => {
                (0, Some(Item::Table(set.into_table())))
            }
            Item::Collection(Collection::List(list)) => free_list(list, budget),
            Item::Collection(Collection::ZSet(zset)) => free_zset(zset, budget),
            Item::Collection(packed) => (packed.len(), None),
            Item::Table(mut table) => {
                let segment = table.take_segment();
                (
                    segment.map_or(0, |segment| segment.len()),
                    (!table.is_empty()).then_some(Item::Table(table)),
                )
            }
            Item::Keyspace(mut keyspace) => {
                let count = keyspace.take_some(self).unwrap_or(0);
                (count, (!keyspace.is_empty()).then_some(Item::Keyspace(keyspace)))
            }
        }
    }
}

fn free_list(mut list: List, budget: usize) -> (usize, Option<Item>) {
    let freed = list.free_some(budget.max(AT_ONCE_MAX));
    (freed, (freed > 0).then_some(Item::Collection(Collection::List(list))))
}

fn free_zset(mut zset: ZSet, budget: usize) -> (usize, Option<Item>) {
    let freed = zset.free_some(budget.max(AT_ONCE_MAX));
    (freed, (freed > 0).then_some(Item::Collection(Collection::ZSet(zset))))
}
