//! How many keys each slot of a shard has, counted now and then: a sample that is to be any key
//! with the same probability takes a slot by the number of its keys, however differently the slots
//! are filled.

use ballast_storage::Keyspace;

use crate::engine::slot::Slot;

/// Keys that come or go, as a part of all, after which the numbers are counted again.
const STALE_PART: u64 = 8;
/// … and so many more.
const STALE_MIN: u64 = 64;

/// Which keys count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Counted {
    /// All.
    #[default]
    All,
    /// Those that expire.
    Expiring,
}

impl Counted {
    /// How many there are.
    pub(super) fn of(self, keys: &Keyspace) -> usize {
        match self {
            Counted::All => keys.len(),
            Counted::Expiring => keys.expiring_len(),
        }
    }

    /// How many a slot has, in all databases.
    pub(super) fn of_slot(self, slot: &Slot) -> usize {
        match self {
            Counted::All => slot.data.key_count(),
            Counted::Expiring => {
                let keyspaces = slot.data.databases().filter_map(|db| slot.data.keyspace(db));
                keyspaces.map(Keyspace::expiring_len).sum()
            }
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// Slots that had keys, ascending.
    slots: Vec<u16>,
    /// How many keys those slots up to each, itself included, had.
    ends: Vec<u64>,
    /// Keys that may come or go before it is taken again.
    good_for: u64,
}

impl Census {
    /// Counts anew.
    pub(super) fn take<'a>(
        &mut self,
        boxes: impl Iterator<Item = (u16, &'a Slot)>,
        counted: Counted,
    ) {
        self.slots.clear();
        self.ends.clear();
        let mut total = 0;
        for (slot, boxed) in boxes {
            let keys = counted.of_slot(boxed) as u64;
            if keys > 0 {
                total += keys;
                self.slots.push(slot);
                self.ends.push(total);
            }
        }
        self.good_for = total / STALE_PART + STALE_MIN;
    }

    /// Whether it has to be taken again.
    pub(super) fn is_stale(&self) -> bool {
        self.good_for == 0
    }

    /// Keys have come or gone.
    pub(super) fn note_changed(&mut self, keys: u64) {
        self.good_for = self.good_for.saturating_sub(keys);
    }

    /// How many keys there were.
    pub(super) fn keys(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The slot of any key, each with the same probability.
    pub(super) fn pick(&self, random: u64) -> Option<u16> {
        let keys = self.keys();
        if keys == 0 {
            return None;
        }
        // The high bits of the product: uniform without a division.
        let key = ((u128::from(random) * u128::from(keys)) >> 64) as u64;
        let at = self.ends.partition_point(|end| *end <= key);
        self.slots.get(at).copied()
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u16>() + self.ends.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use ballast_storage::Key;

    use super::*;

    fn slot(keys: usize, expiring: usize) -> Slot {
        let mut slot = Slot::default();
        for n in 0..keys {
            let expiry = (n < expiring).then_some(1);
            let name = n.to_string();
            let db = if n % 3 == 0 { 2 } else { 0 };
            let keyspace = slot.data.keyspace_mut(db);
            keyspace.set_string(&Key::new(name.as_bytes()), b"v", expiry, 0);
        }
        slot
    }

    #[test]
    fn slots_are_picked_by_their_keys() {
        let boxes = [(3, slot(900, 0)), (5, slot(0, 0)), (7, slot(100, 30))];
        let boxes = || boxes.iter().map(|(slot, boxed)| (*slot, boxed));
        let mut census = Census::default();
        assert!(census.is_stale() && census.pick(0).is_none());
        census.take(boxes(), Counted::All);
        assert_eq!(census.keys(), 1000);
        let picks: Vec<u16> =
            (0..1000).filter_map(|n| census.pick(n * (u64::MAX / 1000))).collect();
        let of_first = picks.iter().filter(|slot| **slot == 3).count();
        assert!((899..=901).contains(&of_first), "{of_first}");
        assert!(picks.iter().all(|slot| [3, 7].contains(slot)));
        assert_eq!(census.pick(u64::MAX), Some(7));
        census.take(boxes(), Counted::Expiring);
        assert_eq!((census.keys(), census.pick(0), census.pick(u64::MAX)), (30, Some(7), Some(7)));
    }
}
