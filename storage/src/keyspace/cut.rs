//! The keys as they were at an instant, emitted while they change: see [`Table::cut`].
//!
//! [`Table::cut`]: crate::table::Table::cut

use super::{Key, Keyspace, Sampled, Value, sampled, value_of};
use crate::table::EntryRef;

/// What it costs to emit a key besides its bytes, in bytes.
const KEY_COST: usize = 32;

/// A key as it was at the cut.
#[derive(Clone, Copy, Debug)]
pub struct Unsaved<'a> {
    /// The number that its database had at the cut.
    pub db: u8,
    /// The key.
    pub key: Sampled<'a>,
    /// Its value.
    pub value: Value<'a>,
}

impl Unsaved<'_> {
    pub(super) fn of(db: u8, entry: EntryRef<'_>) -> Unsaved<'_> {
        Unsaved { db, key: sampled(entry), value: value_of(entry) }
    }
}

impl Keyspace {
    /// Begins a walk of the keys as they are now, in database `db`. O(1).
    ///
    /// # Panics
    /// If the last walk is not over.
    pub fn cut(&mut self, db: u8) {
        self.table.cut(db);
    }

    /// Whether a walk is not over.
    #[inline]
    pub fn is_cut(&self) -> bool {
        self.table.pending_cut().is_some()
    }

    /// Before a key is changed or removed: shows it to `f`, unless it has been shown since the cut.
    pub fn save_early(&mut self, key: &Key<'_>, f: &mut dyn FnMut(Unsaved<'_>)) {
        let Some(cut) = self.table.pending_cut() else { return };
        self.table.save_early(key.hash, key.bytes, |entry| f(Unsaved::of(cut.name(), entry)));
    }

    /// Goes on with the walk from `cursor`, 0 at first, for keys of about `budget` bytes, and
    /// returns the cursor to go on with; 0: the walk is over. A walk that begins again shows no key
    /// twice.
    pub fn walk_cut(&mut self, cursor: u64, budget: usize, f: &mut dyn FnMut(Unsaved<'_>)) -> u64 {
        let Some(cut) = self.table.pending_cut() else { return 0 };
        self.table.walk_cut(cursor, budget, &mut |entry| {
            f(Unsaved::of(cut.name(), entry));
            entry.key().len() + entry.payload().len() + super::owned_bytes_of(entry) + KEY_COST
        })
    }
}
