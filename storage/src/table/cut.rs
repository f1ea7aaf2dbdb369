//! The state of a table at an instant, the cut, emitted entry by entry while the table changes.
//!
//! Each entry has a bit, its parity. The cut reverses what the table calls the parity of what is
//! saved, so that all entries are unsaved at once. A walk emits those it meets and gives them the
//! parity of what is saved; who is about to change or remove an entry has it emitted first; what is
//! written anew is born saved. So nothing is kept besides the entries to know who was emitted.
//!
//! Invariant: without a cut all entries have the table's parity.

use super::Table;
use super::entry::{PARITY, RawEntry};
use super::view::EntryRef;

/// Stands for no cut.
pub(super) const NONE: u8 = u8::MAX;

/// What it costs to pass an entry, in bytes that could be emitted in the time.
const PASSED_COST: usize = 16;

/// A cut whose walk is not over.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    name: u8,
    parity: u8,
}

impl Cut {
    /// As the owner of the table calls it.
    pub fn name(self) -> u8 {
        self.name
    }

    /// Whether an entry of the table has not been emitted yet.
    #[inline]
    pub fn misses(self, entry: EntryRef<'_>) -> bool {
        entry.raw.parity() != self.parity
    }
}

impl Table {
    /// Makes all entries unsaved; the owner calls the cut by `name`.
    ///
    /// # Panics
    /// If the walk of the last cut is not over, or `name` is 255.
    pub fn cut(&mut self, name: u8) {
        assert!(self.cut == NONE && name != NONE, "a walk is under way");
        if !self.is_empty() {
            self.parity ^= PARITY;
            self.cut = name;
        }
    }

    /// The cut whose walk is not over.
    #[inline]
    pub fn pending_cut(&self) -> Option<Cut> {
        (self.cut != NONE).then_some(Cut { name: self.cut, parity: self.parity })
    }

    /// Before a key is changed or removed: shows `f` its entry if that is unsaved, once.
    pub fn save_early(&mut self, hash: u64, key: &[u8], f: impl FnOnce(EntryRef<'_>)) {
        let Some((segment, at)) = self.locate(hash, key) else { return };
        self.save(segment.entry(at, self.layout.header), f);
    }

    fn save<R>(&self, entry: RawEntry<'_>, f: impl FnOnce(EntryRef<'_>) -> R) -> Option<R> {
        if entry.parity() == self.parity {
            return None;
        }
        // SAFETY: unchanged until `f` has returned; its callers hold the table mutably.
        let result = f(unsafe { EntryRef::new(entry) });
        // SAFETY: as above, and nothing else looks at the entry now.
        unsafe { entry.write_parity(self.parity) };
        Some(result)
    }

    /// Goes on with the walk from `cursor`, 0 at first, until what it passed has cost about
    /// `budget`, and returns the cursor to go on with; 0: the walk is over. `f` is shown what is
    /// unsaved and says what it costs, in bytes.
    ///
    /// The cursor is a hint: a walk that begins again emits nothing twice.
    pub fn walk_cut(
        &mut self,
        cursor: u64,
        budget: usize,
        f: &mut dyn FnMut(EntryRef<'_>) -> usize,
    ) -> u64 {
        let steps = (budget / PASSED_COST).max(1);
        let mut each =
            |entry: RawEntry<'_>| self.save(entry, &mut *f).unwrap_or(0).max(PASSED_COST);
        let next = self.sweep(cursor, budget, steps, &mut each);
        if next == 0 {
            self.cut = NONE;
        }
        next
    }
}
