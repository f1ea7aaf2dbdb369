//! The stored data of one hash slot: its databases with their exact account.

use crate::garbage::Garbage;
use crate::keyspace::{Key, Keyspace, Unsaved};
use crate::memory::good_size;

/// Databases of a slot.
pub const DATABASES: u8 = 16;

/// Up to 16 keyspaces. Database 0 is at hand; the others, rarely used, come with their first key
/// and go with their last.
///
/// Invariant: `others` is in the order of its numbers, without 0 and without doubles.
#[derive(Debug, Default)]
pub struct Slot {
    first: Keyspace,
    /// A slot has few of them, so they are in one block that is just as long as they are many.
    others: Box<[Other]>,
    walk: Walk,
}

/// Where the walk of the keys as they were at a cut stands.
#[derive(Debug, Default)]
struct Walk {
    cursor: u64,
    db: u8,
    is_pending: bool,
}

#[derive(Debug)]
struct Other {
    keyspace: Keyspace,
    db: u8,
}

impl Slot {
    /// A slot without keys and without heap.
    pub fn new() -> Slot {
        Slot::default()
    }

    /// The databases that may hold keys: those there are now.
    pub fn databases(&self) -> impl Iterator<Item = u8> + use<> {
        let present = self.others.iter().fold(1_u16, |set, other| set | 1 << other.db);
        (0..DATABASES).filter(move |db| present >> db & 1 != 0)
    }

    /// A database, unless it has certainly no keys.
    #[inline]
    pub fn keyspace(&self, db: u8) -> Option<&Keyspace> {
        match db {
            0 => Some(&self.first),
            db => self.others.iter().find(|other| other.db == db).map(|other| &other.keyspace),
        }
    }

    /// As [`Slot::keyspace`], for what changes keys and makes none.
    #[inline(always)]
    pub fn existing_mut(&mut self, db: u8) -> Option<&mut Keyspace> {
        match db {
            0 => Some(&mut self.first),
            db => self.existing_other(db),
        }
    }

    #[inline(never)]
    fn existing_other(&mut self, db: u8) -> Option<&mut Keyspace> {
        let other = self.others.iter_mut().find(|other| other.db == db)?;
        Some(&mut other.keyspace)
    }

    /// A database, to put keys into: one that is not there is made. [`Slot::settle`] follows.
    ///
    /// # Panics
    /// If `db` is not below [`DATABASES`].
    #[inline(always)]
    pub fn keyspace_mut(&mut self, db: u8) -> &mut Keyspace {
        match db {
            0 => &mut self.first,
            db => self.other_mut(db),
        }
    }

    #[inline(never)]
    fn other_mut(&mut self, db: u8) -> &mut Keyspace {
        assert!(db < DATABASES, "database {db}");
        let at = match self.others.binary_search_by_key(&db, |other| other.db) {
            Ok(at) => at,
            Err(at) => {
                let mut others = std::mem::take(&mut self.others).into_vec();
                others.reserve_exact(1);
                others.insert(at, Other { keyspace: Keyspace::new(), db });
                self.others = others.into_boxed_slice();
                at
            }
        };
        &mut self.others[at].keyspace
    }

    /// Bytes on the heap, exactly; O(1). The `Slot` itself is its owner's.
    #[inline]
    pub fn bytes(&self) -> u64 {
        let first = self.first.heap_bytes() as u64;
        if self.others.is_empty() { first } else { first + self.bytes_of_others() }
    }

    #[cold]
    fn bytes_of_others(&self) -> u64 {
        let sum: usize = self.others.iter().map(|other| other.keyspace.heap_bytes()).sum();
        (self.block_bytes() + sum) as u64
    }

    fn block_bytes(&self) -> usize {
        good_size(size_of_val::<[Other]>(&self.others))
    }

    /// [`Slot::bytes`] counted anew by walking everything, for the audit.
    pub fn bytes_walked(&self) -> u64 {
        let others = self.others.iter().map(|other| other.keyspace.heap_bytes_walked());
        let sum = self.first.heap_bytes_walked() + others.sum::<usize>();
        (self.block_bytes() + sum) as u64
    }

    /// Keys in all databases.
    pub fn key_count(&self) -> usize {
        let others = self.others.iter().map(|other| other.keyspace.len());
        self.first.len() + others.sum::<usize>()
    }

    /// Exchanges two databases (SWAPDB).
    ///
    /// # Panics
    /// If a number is not below [`DATABASES`].
    pub fn swap(&mut self, a: u8, b: u8) {
        assert!(a < DATABASES && b < DATABASES, "databases {a} and {b}");
        self.walk = Walk { is_pending: self.walk.is_pending, ..Walk::default() };
        let (from_a, from_b) = (self.take(a), self.take(b));
        self.put(a, from_b);
        self.put(b, from_a);
        self.release_others();
    }

    fn take(&mut self, db: u8) -> Keyspace {
        self.existing_mut(db).map(std::mem::take).unwrap_or_default()
    }

    /// Puts a keyspace where an empty one is.
    fn put(&mut self, db: u8, keyspace: Keyspace) {
        if !keyspace.is_empty() {
            *self.keyspace_mut(db) = keyspace;
        }
    }

    /// Begins a walk of the keys as they are now. O(1): it costs the same for any number of keys.
    ///
    /// # Panics
    /// If the last walk is not over.
    pub fn cut(&mut self) {
        assert!(!self.walk.is_pending, "a walk is under way");
        for db in self.databases() {
            if let Some(keyspace) = self.existing_mut(db) {
                keyspace.cut(db);
                self.walk.is_pending |= !self.keyspace(db).is_none_or(Keyspace::is_empty);
            }
        }
        self.walk = Walk { is_pending: self.walk.is_pending, ..Walk::default() };
    }

    /// Whether a walk is not over. Then [`Slot::save_early`] comes before any change of a key.
    #[inline(always)]
    pub fn is_cut(&self) -> bool {
        self.walk.is_pending
    }

    /// Before a key is changed or removed: shows it to `f`, unless it has been shown since the cut.
    pub fn save_early(&mut self, db: u8, key: &Key<'_>, f: &mut dyn FnMut(Unsaved<'_>)) {
        if let Some(keyspace) = self.existing_mut(db) {
            keyspace.save_early(key, f);
        }
    }

    /// Goes on with the walk, for keys of about `budget` bytes; whether it is over. What has been
    /// flushed since the cut is the garbage's to walk.
    pub fn walk_cut(&mut self, budget: usize, f: &mut dyn FnMut(Unsaved<'_>)) -> bool {
        while self.walk.is_pending {
            let Walk { cursor, db, .. } = self.walk;
            let next = self.existing_mut(db).map_or(0, |keys| keys.walk_cut(cursor, budget, f));
            self.walk.cursor = next;
            if next != 0 {
                return false;
            }
            let next_db = self.others.iter().map(|other| other.db).find(|other| *other > db);
            match next_db {
                Some(next) => self.walk.db = next,
                None => self.walk = Walk::default(),
            }
        }
        true
    }

    /// Detaches all keys of one database, or of all; those that a walk has not reached, to be
    /// walked and then freed.
    pub fn flush(&mut self, db: Option<u8>) -> Garbage {
        let mut garbage = Garbage::default();
        self.walk = Walk { is_pending: self.walk.is_pending, ..Walk::default() };
        for at in self.databases() {
            if db.is_none_or(|db| db == at) {
                garbage.push_keyspace(self.take(at));
            }
        }
        self.release_others();
        garbage
    }

    /// Ends a change: takes the databases away that have no keys now, and returns the bytes on the
    /// heap from then on.
    #[inline]
    pub fn settle(&mut self) -> u64 {
        if self.others.is_empty() { self.first.heap_bytes() as u64 } else { self.settle_others() }
    }

    #[cold]
    fn settle_others(&mut self) -> u64 {
        self.release_others();
        self.bytes()
    }

    fn release_others(&mut self) {
        if self.others.iter().any(|other| other.keyspace.is_empty()) {
            let mut others = std::mem::take(&mut self.others).into_vec();
            others.retain(|other| !other.keyspace.is_empty());
            self.others = others.into_boxed_slice();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Key;

    #[test]
    fn databases_are_apart_and_counted() {
        let mut slot = Slot::new();
        assert_eq!((slot.bytes(), slot.key_count()), (0, 0));
        let key = Key::new(b"a");
        slot.keyspace_mut(0).set_string(&key, b"zero", None, 0);
        assert_eq!(slot.databases().collect::<Vec<_>>(), [0]);
        slot.keyspace_mut(15).set_string(&key, b"fifteen", None, 0);
        slot.keyspace_mut(7).set_string(&key, b"seven", None, 0);
        assert_eq!(slot.databases().collect::<Vec<_>>(), [0, 7, 15]);
        assert_eq!((slot.key_count(), slot.bytes()), (3, slot.bytes_walked()));
        slot.swap(0, 15);
        slot.swap(7, 9);
        assert_eq!(slot.databases().collect::<Vec<_>>(), [0, 9, 15]);
        let value = slot.keyspace(0).and_then(|keys| keys.clone_value(&key));
        assert!(format!("{value:?}").contains(&format!("{:?}", b"fifteen")), "{value:?}");
        let mut garbage = slot.flush(Some(0));
        assert_eq!((garbage.len(), slot.key_count()), (1, 2));
        garbage.append(slot.flush(None));
        assert_eq!((slot.bytes(), slot.key_count()), (0, 0));
        while !garbage.is_empty() {
            garbage.free_some(1);
        }
    }

    #[test]
    fn a_database_costs_what_its_keys_cost() {
        let key = Key::new(b"a");
        let cost = |dbs: &[u8]| {
            let mut slot = Slot::new();
            for db in dbs {
                slot.keyspace_mut(*db).set_string(&key, b"value", None, 0);
            }
            slot.settle()
        };
        let one = cost(&[0]);
        assert_eq!(cost(&[9]), one + good_size(size_of::<Other>()) as u64);
        assert!(cost(&[9]) <= one + 80, "{}", cost(&[9]));
        assert!(cost(&[1, 2, 3, 4]) <= 4 * (one + 80));
    }

    #[test]
    fn looking_makes_no_database_and_none_stays_without_keys() {
        let mut slot = Slot::new();
        let key = Key::new(b"a");
        assert!(slot.keyspace(4).is_none() && slot.existing_mut(4).is_none());
        assert_eq!(slot.bytes(), 0);
        slot.keyspace_mut(4);
        assert!(slot.bytes() > 0 && slot.bytes() == slot.bytes_walked());
        assert_eq!(slot.settle(), 0);
        slot.keyspace_mut(4).set_string(&key, b"four", None, 0);
        slot.keyspace_mut(5).set_string(&key, b"five", None, 0);
        slot.existing_mut(4).expect("it has a key").remove(&key);
        assert_eq!((slot.settle(), slot.databases().last()), (slot.bytes_walked(), Some(5)));
        assert!(slot.existing_mut(4).is_none());
    }
}
