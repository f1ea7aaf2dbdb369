//! Lazy free: what has been detached from a slot and is freed in slices of bounded work.
//!
//! Detaching is O(1) and takes the bytes out of the slot's account at once; the memory itself
//! comes back as [`Garbage::free_some`] is called between batches.

use std::collections::VecDeque;

use crate::keyspace::{Collection, Keyspace, Removed};
use crate::table::Table;
use crate::types::{Hash, List, Set, ZSet};

/// Collections of fewer elements are freed at once: that is a few microseconds.
const AT_ONCE_MAX: usize = 256;

/// A queue of detached things.
#[derive(Debug, Default)]
pub struct Garbage {
    queue: VecDeque<Item>,
}

#[derive(Debug)]
enum Item {
    Collection(Collection),
    /// The inside of a large hash or set.
    Table(Table),
    Keyspace(Keyspace),
}

impl Garbage {
    /// Takes what a removed key left.
    pub fn push(&mut self, removed: Removed) {
        if let Some(collection) = removed.0
            && collection.len() > AT_ONCE_MAX
        {
            self.queue.push_back(Item::Collection(collection));
        }
    }

    /// Takes all keys of a database.
    pub(crate) fn push_keyspace(&mut self, keyspace: Keyspace) {
        if !keyspace.is_empty() {
            self.queue.push_back(Item::Keyspace(keyspace));
        }
    }

    /// Takes everything from another queue.
    pub fn append(&mut self, mut other: Garbage) {
        self.queue.append(&mut other.queue);
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
            let (count, rest) = self.free_part(item, budget - freed);
            // Also something empty costs a step.
            freed += count.max(1);
            if let Some(rest) = rest {
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
