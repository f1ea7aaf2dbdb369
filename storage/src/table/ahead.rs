//! Looking ahead: with the keys of a whole batch known, what their look-ups will read is loaded
//! for all of them at once, so that they do not wait for memory one after the other.

use std::marker::PhantomData;

use super::Table;
use super::segment::RawSegment;
use crate::memory::prefetch;

/// Where the look-up of one hash is going to read. A batch takes [`Table::ahead`] of all its
/// keys, then lets each [`Ahead::load_index`], then each [`Ahead::load_entry`]: every step needs
/// what the one before it has asked for.
#[derive(Clone, Copy, Default)]
pub struct Ahead<'a> {
    segment: Option<RawSegment<'a>>,
    hash: u64,
    table: PhantomData<&'a Table>,
}

impl Table {
    /// Asks the processor to load the head of the segment of `hash`.
    #[inline(always)]
    pub fn ahead(&self, hash: u64) -> Ahead<'_> {
        // SAFETY: the table is borrowed for as long as the result.
        let segment = unsafe { self.root.find(hash) };
        if let Some(segment) = segment {
            prefetch(segment.as_ptr());
        }
        Ahead { segment, hash, table: PhantomData }
    }
}

impl Ahead<'_> {
    /// Asks for the place in the index.
    #[inline(always)]
    pub fn load_index(&self) {
        if let Some(segment) = self.segment {
            prefetch(segment.home_address(self.hash));
        }
    }

    /// Asks for the first 128 bytes of the entry that looks like the key's, or of the place that a
    /// new one would get.
    #[inline(always)]
    pub fn load_entry(&self) {
        if let Some(segment) = self.segment {
            let entry = segment.likely_entry(self.hash).unwrap_or_else(|| segment.next_entry());
            prefetch(entry);
            prefetch(entry.wrapping_add(64));
        }
    }
}
