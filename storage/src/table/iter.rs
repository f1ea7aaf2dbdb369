//! Going through a table: in one pass, in steps with a cursor, at random, and by expiry.

use super::Table;
use super::entry::RawEntry;
use super::segment::{RawSegment, tag_of};
use super::view::EntryRef;
use crate::work;

/// Bits of a scan's cursor: a position in the order of the hash.
const CURSOR_BITS: u32 = 48;
/// Random cells tried before the next occupied one is taken.
const SAMPLE_TRIES: u32 = 16;

/// Empty segments that a scan passes for each entry it is asked for.
const STEPS_PER_ENTRY: usize = 8;
/// Segments searched for an entry with an expiry.
const SAMPLE_SEGMENTS: u32 = 256;

/// The range of hashes that a segment covers.
struct Range {
    depth: u32,
}

impl Range {
    /// The first hash of the next range; none after the last.
    fn after(&self, hash: u64) -> Option<u64> {
        if self.depth == 0 {
            return None;
        }
        let step = 1_u64 << (64 - self.depth);
        (hash & !(step - 1)).checked_add(step)
    }

    /// The hash that follows all those with this tag in the range of `hash`.
    fn after_tag(&self, hash: u64, tag: u32) -> Option<u64> {
        let low = 64 - self.depth;
        let first = if self.depth == 0 { 0 } else { hash & !((1_u64 << low) - 1) };
        first.checked_add((u64::from(tag) + 1) << (low - 16))
    }
}

impl Table {
    /// The segment that covers a hash, and its range; a hole has the depth of its cell.
    fn range<'t>(&self, hash: u64) -> (Option<RawSegment<'t>>, Range) {
        // SAFETY: the callers use it while they hold the table and have not removed it.
        match unsafe { self.root.find(hash) } {
            Some(segment) => (Some(segment), Range { depth: segment.depth() }),
            None => (None, Range { depth: self.root.depth_at(hash) }),
        }
    }

    /// Calls `f` with at least `count` entries from `cursor` on (fewer at the end) and returns
    /// the cursor to go on with; 0 is the start, and the end.
    ///
    /// An entry that is there from the first call to the last is returned at least once, whatever
    /// grows, shrinks or splits between the calls: a cursor is a position in the order of the
    /// hash, of 48 bits.
    pub fn scan(&self, cursor: u64, count: usize, f: &mut dyn FnMut(EntryRef<'_>)) -> u64 {
        let mut each = |entry: RawEntry<'_>| {
            // SAFETY: live and unchanged while `self` is borrowed.
            f(unsafe { EntryRef::new(entry) });
            1
        };
        self.sweep(cursor, count, count.max(1).saturating_mul(STEPS_PER_ENTRY), &mut each)
    }

    /// As [`Table::scan`], of entries that cost what `f` says, until they have cost `budget`. Empty
    /// segments cost a step, so that a call stays short.
    pub(super) fn sweep(
        &self,
        cursor: u64,
        budget: usize,
        mut steps: usize,
        f: &mut dyn FnMut(RawEntry<'_>) -> usize,
    ) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let mut next = Some(cursor << (64 - CURSOR_BITS));
        let mut left = budget.max(1);
        while let Some(hash) = next
            && left > 0
            && steps > 0
        {
            steps -= 1;
            let (segment, range) = self.range(hash);
            next = range.after(hash);
            let Some(segment) = segment else { continue };
            let (cost, stopped) = self.sweep_segment(segment, hash, left, f);
            left = left.saturating_sub(cost);
            if let Some(tag) = stopped {
                next = range.after_tag(hash, tag);
            }
        }
        next.map_or(0, |hash| hash >> (64 - CURSOR_BITS))
    }

    /// Goes through whole groups of equal tags until they have cost `left`; the tag where it
    /// stopped.
    fn sweep_segment(
        &self,
        segment: RawSegment<'_>,
        hash: u64,
        left: usize,
        f: &mut dyn FnMut(RawEntry<'_>) -> usize,
    ) -> (usize, Option<u32>) {
        let start = tag_of(hash, segment.depth());
        let (mut cost, mut last) = (0_usize, None);
        for at in segment.first_cell(start)..segment.cells() {
            if !segment.is_occupied(at) || segment.tag_at(at) < start {
                continue;
            }
            let tag = segment.tag_at(at);
            if cost >= left && last != Some(tag) {
                return (cost, last);
            }
            cost = cost.saturating_add(f(segment.entry(at, self.layout.header)));
            last = Some(tag);
        }
        (cost, None)
    }

    /// An entry chosen by `random`, nearly uniformly.
    pub fn sample(&self, random: u64) -> Option<EntryRef<'_>> {
        if self.is_empty() {
            return None;
        }
        let mut hash = random;
        loop {
            let (segment, range) = self.range(hash);
            if let Some(segment) = segment.filter(|segment| segment.len() > 0) {
                let at = sample_cell(segment, mixed(random));
                // SAFETY: live and unchanged while `self` is borrowed.
                return Some(unsafe { EntryRef::new(segment.entry(at, self.layout.header)) });
            }
            hash = range.after(hash).unwrap_or(0);
        }
    }

    /// An entry with an expiry, chosen by `random`; the rarer they are in the table, the less
    /// uniformly. Gives up after many segments without one.
    pub fn sample_expiring(&self, random: u64) -> Option<EntryRef<'_>> {
        if self.expiring == 0 {
            return None;
        }
        let mut hash = random;
        for _ in 0..SAMPLE_SEGMENTS {
            let (segment, range) = self.range(hash);
            if let Some(segment) = segment.filter(|segment| segment.expiring() > 0) {
                let cells = segment.cells();
                let start = ((mixed(random) >> 32) * cells as u64) >> 32;
                let expires = |at: &usize| {
                    segment.is_occupied(*at) && segment.entry(*at, self.layout.header).expires()
                };
                let at = (0..cells).map(|n| (start as usize + n) % cells).find(expires)?;
                // SAFETY: live and unchanged while `self` is borrowed.
                return Some(unsafe { EntryRef::new(segment.entry(at, self.layout.header)) });
            }
            hash = range.after(hash).unwrap_or(0);
        }
        None
    }

    /// All entries, in the order of their hash.
    pub fn iter(&self) -> Iter<'_> {
        Iter { table: self, segment: None, at: 0, next: Some(0) }
    }

    /// Removes entries that expire at or before `now_ms`, looking at about `budget` entries at
    /// most and going on where the last call stopped; `f` sees each entry before it goes.
    ///
    /// Returns whether a walk has come to its end, where [`Table::expiry_min`] becomes tight
    /// again; nothing is left to do while that is later than `now_ms`.
    pub fn expire(&mut self, now_ms: i64, budget: usize, f: &mut dyn FnMut(EntryRef<'_>)) -> bool {
        let mut left = budget.max(1);
        while left > 0 {
            if self.expiry_min > now_ms {
                return true;
            }
            left -= 1;
            if self.expire_cursor == 0 {
                self.walked_min = i64::MAX;
            }
            let hash = self.expire_cursor;
            let (segment, range) = self.range(hash);
            self.expire_cursor = range.after(hash).unwrap_or(0);
            if let Some(segment) = segment {
                if segment.expiry_min() <= now_ms {
                    left = left.saturating_sub(segment.len());
                    self.expire_segment(segment, now_ms, f);
                }
                self.walked_min = self.walked_min.min(segment.expiry_min());
                self.shrink(segment, hash);
            }
            if self.expire_cursor == 0 {
                self.expiry_min = if self.expiring == 0 { i64::MAX } else { self.walked_min };
                return true;
            }
        }
        false
    }

    fn expire_segment(
        &mut self,
        segment: RawSegment<'_>,
        now_ms: i64,
        f: &mut dyn FnMut(EntryRef<'_>),
    ) {
        let header = self.layout.header;
        let mut at = 0;
        while at < segment.cells() {
            let due = |at| segment.entry(at, header).expiry().is_some_and(|e| e <= now_ms);
            if segment.is_occupied(at) && due(at) {
                // SAFETY: unchanged until `f` has returned.
                f(unsafe { EntryRef::new(segment.entry(at, header)) });
                // Another entry may move into this cell, so it is looked at again.
                self.erase(segment, at);
            } else {
                at += 1;
            }
        }
        // SAFETY: the table is held mutably.
        unsafe { segment.tighten_expiry(header) };
    }
}

/// Spreads the low bits, because the high ones have chosen the segment.
fn mixed(random: u64) -> u64 {
    (random ^ random >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A random occupied cell of a segment that has one.
fn sample_cell(segment: RawSegment<'_>, random: u64) -> usize {
    let cells = segment.cells();
    let mut bits = random;
    for _ in 0..SAMPLE_TRIES {
        let at = (((bits >> 32) * cells as u64) >> 32) as usize;
        if segment.is_occupied(at) {
            return at;
        }
        bits = mixed(bits.wrapping_add(1));
    }
    let start = (((bits >> 32) * cells as u64) >> 32) as usize;
    let from = |at: &usize| segment.is_occupied(*at);
    (start..cells).find(from).or_else(|| (0..start).find(from)).expect("the segment has entries")
}

/// See [`Table::iter`].
pub struct Iter<'a> {
    table: &'a Table,
    segment: Option<RawSegment<'a>>,
    at: usize,
    /// First hash of the next segment.
    next: Option<u64>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = EntryRef<'a>;

    fn next(&mut self) -> Option<EntryRef<'a>> {
        loop {
            if let Some(segment) = self.segment {
                while self.at < segment.cells() {
                    work::step();
                    self.at += 1;
                    if segment.is_occupied(self.at - 1) {
                        let entry = segment.entry(self.at - 1, self.table.layout.header);
                        // SAFETY: live and unchanged while the table is borrowed.
                        return Some(unsafe { EntryRef::new(entry) });
                    }
                }
            }
            let hash = self.next?;
            let (segment, range) = self.table.range(hash);
            (self.segment, self.at, self.next) = (segment, 0, range.after(hash));
        }
    }
}

impl<'a> IntoIterator for &'a Table {
    type Item = EntryRef<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}
