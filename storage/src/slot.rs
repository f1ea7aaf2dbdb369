//! The stored data of one hash slot: its databases with their exact account.

use crate::garbage::Garbage;
use crate::keyspace::Keyspace;
use crate::memory::good_size;

/// Databases of a slot.
pub const DATABASES: u8 = 16;

/// Up to 16 keyspaces. Database 0 is at hand; the others, rarely used, come when written to.
///
/// Invariant: `others` is in the order of its numbers, without 0.
#[derive(Debug, Default)]
pub struct Slot {
    first: Keyspace,
    others: Option<Box<Others>>,
}

type Others = [Keyspace; DATABASES as usize - 1];

impl Slot {
    /// A slot without keys and without heap.
    pub const fn new() -> Slot {
        Slot { first: Keyspace::new(), others: None }
    }

    /// The databases that may hold keys.
    pub fn databases(&self) -> impl Iterator<Item = u8> + use<> {
        0..if self.others.is_some() { DATABASES } else { 1 }
    }

    /// A database, unless it has certainly no keys.
    #[inline]
    pub fn keyspace(&self, db: u8) -> Option<&Keyspace> {
        match db {
            0 => Some(&self.first),
            db => self.others.as_ref()?.get(usize::from(db) - 1),
        }
    }

    /// A database, for changes.
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
        &mut self.others.get_or_insert_default()[usize::from(db) - 1]
    }

    /// Bytes on the heap, exactly; O(1). The `Slot` itself is its owner's.
    #[inline]
    pub fn bytes(&self) -> u64 {
        let others = self.others.as_ref().map_or(0, |others| {
            let sum: usize = others.iter().map(Keyspace::heap_bytes).sum();
            good_size(size_of::<Others>()) + sum
        });
        (self.first.heap_bytes() + others) as u64
    }

    /// [`Slot::bytes`] counted anew by walking everything, for the audit.
    pub fn bytes_walked(&self) -> u64 {
        let others = self.others.as_ref().map_or(0, |others| {
            let sum: usize = others.iter().map(Keyspace::heap_bytes_walked).sum();
            good_size(size_of::<Others>()) + sum
        });
        (self.first.heap_bytes_walked() + others) as u64
    }

    /// Keys in all databases.
    pub fn key_count(&self) -> usize {
        self.databases().filter_map(|db| self.keyspace(db)).map(Keyspace::len).sum()
    }

    /// Exchanges two databases (SWAPDB).
    ///
    /// # Panics
    /// If a number is not below [`DATABASES`].
    pub fn swap(&mut self, a: u8, b: u8) {
        let has_keys = |db| self.keyspace(db).is_some_and(|keys| !keys.is_empty());
        if a == b || !(has_keys(a) || has_keys(b)) {
            return;
        }
        let taken = std::mem::take(self.keyspace_mut(a));
        let other = std::mem::replace(self.keyspace_mut(b), taken);
        *self.keyspace_mut(a) = other;
        self.release_others();
    }

    /// Detaches all keys of one database, or of all.
    pub fn flush(&mut self, db: Option<u8>) -> Garbage {
        let mut garbage = Garbage::default();
        for at in self.databases() {
            if db.is_none_or(|db| db == at) {
                garbage.push_keyspace(std::mem::take(self.keyspace_mut(at)));
            }
        }
        self.release_others();
        garbage
    }

    /// Gives the block of the other databases back when they are empty. Commands that remove keys
    /// leave that to the owner's cron.
    pub fn release_others(&mut self) {
        if self.others.as_ref().is_some_and(|others| others.iter().all(Keyspace::is_empty)) {
            self.others = None;
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
        assert_eq!(slot.databases().count(), 1);
        slot.keyspace_mut(15).set_string(&key, b"fifteen", None, 0);
        assert_eq!((slot.key_count(), slot.bytes()), (2, slot.bytes_walked()));
        slot.swap(0, 15);
        let value = slot.keyspace(0).and_then(|keys| keys.clone_value(&key));
        assert!(format!("{value:?}").contains(&format!("{:?}", b"fifteen")), "{value:?}");
        let mut garbage = slot.flush(Some(0));
        assert_eq!((garbage.len(), slot.key_count()), (1, 1));
        garbage.append(slot.flush(None));
        assert_eq!((slot.bytes(), slot.key_count()), (0, 0));
        while !garbage.is_empty() {
            garbage.free_some(1);
        }
    }
}
