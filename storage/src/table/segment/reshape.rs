//! Segments in new blocks: grown, compacted, split, merged; and how a block is divided.

use std::ptr;

use super::{CELL_LEN, EMPTY, Full, HEAD_LEN, RawSegment, TAG_TOP, tag_of};
use crate::memory::good_size;
use crate::table::entry::RawEntry;

/// A segment that would outgrow this is split.
const BLOCK_MAX: usize = 32 << 10;
/// A segment with more entries is split as well, so that small ones do not make it slow.
const ENTRIES_MAX: usize = 1024;
/// What a half may take right after a split, however unevenly the keys fell: all entries of a
/// block of [`BLOCK_MAX`], with two cells behind the last home for each. The table splits it again
/// before anything is added to it.
const BLOCK_LIMIT: usize = 56 << 10;
/// Two neighbours are merged when the result is at most this.
const MERGED_MAX: usize = BLOCK_MAX / 2;
/// A segment's range is at least 2^32 hashes: the cursor of a scan has 48 bits, 16 are the tag's.
const DEPTH_MAX: u32 = 32;

/// How a block is divided.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) size: usize,
    pub(super) cells: usize,
    pub(super) homes: usize,
}

impl Plan {
    /// The smallest block for `len` entries of `bytes` together, with some room to grow;
    /// `tail` cells follow the last home for entries that were pushed on.
    fn new(len: usize, bytes: usize, tail: usize, limit: usize) -> Option<Plan> {
        let len = len.max(1);
        let fixed = HEAD_LEN + CELL_LEN * (tail + 1);
        // Five cells for four entries.
        let needed = fixed + bytes + CELL_LEN * (len * 5).div_ceil(4);
        let mut size = good_size(needed);
        // Less room than this and the next rebuild would come too soon to be paid for.
        while needed > 256 && size - needed < size / 12 {
            size = good_size(size + 1);
        }
        if size > limit {
            return None;
        }
        let more = (size - needed) * len / (bytes + 5 * len);
        let homes = ((len + more) * 5 / 4).max(1);
        Some(Plan { size, cells: homes + tail + 1, homes })
    }

    fn default_tail(len: usize) -> usize {
        (1 + len / 24).min(24)
    }
}

impl<'t> RawSegment<'t> {
    /// A segment without entries, with room for one of `bytes`.
    pub(in crate::table) fn empty(depth: u32, bytes: usize) -> RawSegment<'t> {
        let plan = Plan::new(1, bytes, 1, BLOCK_LIMIT).expect("an entry is small");
        RawSegment::allocate(plan, depth)
    }

    /// The same entries in a new block with room for one more of `extra` bytes; none if that
    /// would be too large. The old block is freed.
    ///
    /// # Safety
    /// The caller has the only access, and uses no handle of what was freed afterwards.
    pub(in crate::table) unsafe fn rebuilt(
        self,
        extra: usize,
        full: Full,
        header: u8,
    ) -> Option<RawSegment<'t>> {
        let len = self.len() + 1;
        if len > ENTRIES_MAX {
            return None;
        }
        let mut tail = Plan::default_tail(len);
        if full == Full::Index && !self.is_loaded() {
            let head = self.head();
            tail = tail.max((head.cells - head.homes) as usize * 3 / 2 + 2);
        }
        // SAFETY: passed on.
        unsafe { self.rebuilt_as(tail, len, self.live() + extra, header) }
    }

    /// The same entries in a smaller block, if enough of this one is dead.
    ///
    /// # Safety
    /// The caller has the only access, and uses no handle of what was freed afterwards.
    pub(in crate::table) unsafe fn shrunk(self, header: u8) -> Option<RawSegment<'t>> {
        if !self.is_sparse() {
            return None;
        }
        let tail = Plan::default_tail(self.len());
        let plan = Plan::new(self.len(), self.live(), tail, BLOCK_MAX)?;
        if plan.size >= self.size() {
            return None;
        }
        // SAFETY: passed on.
        unsafe { self.rebuilt_as(tail, self.len(), self.live(), header) }
    }

    /// Moves everything to a new block for `len` entries of `bytes`; none if that would be too
    /// large.
    ///
    /// # Safety
    /// As [`Self::rebuilt`].
    unsafe fn rebuilt_as(
        self,
        tail: usize,
        len: usize,
        bytes: usize,
        header: u8,
    ) -> Option<RawSegment<'t>> {
        let mut plan = Plan::new(len, bytes, tail, BLOCK_MAX)?;
        let new = loop {
            let new = if self.head().dead == 0 {
                self.moved_to(plan)
            } else {
                let items = self.tagged_entries(header);
                RawSegment::build(self.depth(), plan, items)
            };
            if let Some(new) = new {
                break new;
            }
            // The cells do not fit behind the last home: rare, and gone with a longer tail.
            let tail = (plan.cells - plan.homes) * 2;
            plan = Plan::new(len, bytes, tail, BLOCK_MAX)?;
        };
        // SAFETY: the new block is ours alone.
        let (from, to) = (self.head(), unsafe { new.head_mut() });
        (to.expiring, to.expiry_min) = (from.expiring, from.expiry_min);
        // SAFETY: all entries have been moved; the owner takes the new block instead.
        unsafe { self.release_block() };
        Some(new)
    }

    /// All bytes appended so far, moved as they are, with the cells spread anew.
    fn moved_to(self, plan: Plan) -> Option<RawSegment<'t>> {
        let new = RawSegment::allocate(plan, self.depth());
        let (old_arena, new_arena) = (self.arena(), new.arena());
        let bytes = self.head().end as usize - old_arena;
        debug_assert!(new_arena + bytes <= plan.size);
        // Only the offsets change, and all by the same amount.
        let shift = (new_arena as u32).wrapping_sub(old_arena as u32);
        let (homes, last) = (plan.homes as u32, plan.cells - 1);
        let from = self.cell_ptr(0);
        let to = new.cell_ptr(0);
        let mut next = 0;
        for at in 0..self.cells() {
            // SAFETY: inside the old index.
            let cell = unsafe { *from.add(at) };
            if cell == EMPTY {
                continue;
            }
            let place = (((cell >> 16) * homes) as usize >> 16).max(next);
            if place >= last {
                // SAFETY: the new block is not used any more.
                unsafe { new.release_block() };
                return None;
            }
            // SAFETY: inside the new index.
            unsafe { *to.add(place) = cell.wrapping_add(shift) };
            next = place + 1;
        }
        // SAFETY: both blocks hold these bytes, and they are different blocks.
        unsafe {
            let from = self.as_ptr().add(old_arena);
            ptr::copy_nonoverlapping(from, new.as_ptr().add(new_arena), bytes);
        }
        // SAFETY: the new block is ours alone.
        let head = unsafe { new.head_mut() };
        head.len = self.head().len;
        head.end += bytes as u16;
        Some(new)
    }

    /// A block with copies of these entries, given in the order of their tags. Blobs are not
    /// copied: one of the two copies has to be forgotten.
    fn build(
        depth: u32,
        plan: Plan,
        items: impl Iterator<Item = (u32, RawEntry<'t>)>,
    ) -> Option<RawSegment<'t>> {
        let new = RawSegment::allocate(plan, depth);
        let (mut next, mut end, mut len) = (0, new.arena(), 0);
        for (tag, entry) in items {
            let place = new.home(tag).max(next);
            let size = entry.size();
            if place + 1 >= plan.cells || end + size > plan.size {
                // SAFETY: the new block is not used any more.
                unsafe { new.release_block() };
                return None;
            }
            // SAFETY: checked to be inside the new block, which does not overlap the old one.
            unsafe { ptr::copy_nonoverlapping(entry.as_ptr(), new.as_ptr().add(end), size) };
            // SAFETY: the new block is ours alone.
            unsafe { new.set_cell(place, tag << 16 | end as u32) };
            (next, end, len) = (place + 1, end + size, len + 1);
        }
        // SAFETY: the new block is ours alone.
        let head = unsafe { new.head_mut() };
        (head.len, head.end) = (len, end as u16);
        Some(new)
    }

    /// As [`Self::build`], with the tail made as long as these tags need.
    fn build_any(depth: u32, items: &[(u32, RawEntry<'t>)]) -> RawSegment<'t> {
        let bytes = items.iter().map(|(_, entry)| entry.size()).sum();
        let mut tail = Plan::default_tail(items.len());
        let new = loop {
            let plan = Plan::new(items.len(), bytes, tail, BLOCK_LIMIT).expect("less than before");
            match RawSegment::build(depth, plan, items.iter().copied()) {
                Some(new) => break new,
                None => tail = tail * 2 + 2,
            }
        };
        for (_, entry) in items {
            // SAFETY: the new block is ours alone.
            unsafe { new.note_expiry(None, entry.expiry()) };
        }
        new
    }

    /// Whether it is larger than a segment may stay, as a half that took nearly everything.
    pub(in crate::table) fn is_oversized(self) -> bool {
        self.size() > BLOCK_MAX
    }

    /// The two halves of this segment; `hash_of` gives the hash of an entry. The old block is
    /// freed.
    ///
    /// # Safety
    /// The caller has the only access, and uses no handle of what was freed afterwards.
    pub(in crate::table) unsafe fn split(
        self,
        header: u8,
        hash_of: impl Fn(RawEntry<'t>) -> u64,
    ) -> (RawSegment<'t>, RawSegment<'t>) {
        let depth = self.depth() + 1;
        assert!(depth <= DEPTH_MAX, "too many keys have the same hash");
        let mut items: Vec<(u32, RawEntry<'_>)> = Vec::with_capacity(self.len());
        let middle = {
            let low = |at: &usize| self.is_occupied(*at) && self.tag_at(*at) < 0x8000;
            (0..self.cells()).filter(low).count()
        };
        items.extend(self.entries(header).map(|entry| (tag_of(hash_of(entry), depth), entry)));
        let (low, high) = items.split_at_mut(middle);
        sort_nearly_sorted(low);
        sort_nearly_sorted(high);
        let halves = (RawSegment::build_any(depth, low), RawSegment::build_any(depth, high));
        // SAFETY: all entries have been moved; the owner takes the new blocks instead.
        unsafe { self.release_block() };
        halves
    }

    /// Both segments in one block, if that is small; `self` is the one of the lower hashes. The
    /// old blocks are freed.
    ///
    /// # Safety
    /// The caller has the only access, and uses no handle of what was freed afterwards.
    pub(in crate::table) unsafe fn merged(
        self,
        other: RawSegment<'t>,
        header: u8,
    ) -> Option<RawSegment<'t>> {
        debug_assert!(self.depth() == other.depth());
        let len = self.len() + other.len();
        if len > ENTRIES_MAX / 2 {
            return None;
        }
        let bytes = self.live() + other.live();
        let plan = Plan::new(len, bytes, Plan::default_tail(len), MERGED_MAX)?;
        let half = |segment: RawSegment<'t>, top: u32| {
            let tagged = segment.tagged_entries(header);
            tagged.map(move |(tag, entry)| ((top | tag >> 1).min(TAG_TOP), entry))
        };
        let items = half(self, 0).chain(half(other, 0x8000));
        let new = RawSegment::build(self.depth() - 1, plan, items)?;
        // SAFETY: the new block is ours alone.
        let (low, high, head) = (self.head(), other.head(), unsafe { new.head_mut() });
        head.expiring = low.expiring + high.expiring;
        head.expiry_min = low.expiry_min.min(high.expiry_min);
        // SAFETY: all entries have been moved; the owner takes the new block instead.
        unsafe {
            self.release_block();
            other.release_block();
        }
        Some(new)
    }
}

/// Insertion sort: of the new tags only the last bit is not yet in order, so what has to move
/// moves within the few entries that had the same tag.
fn sort_nearly_sorted(items: &mut [(u32, RawEntry<'_>)]) {
    for at in 1..items.len() {
        let mut place = at;
        while place > 0 && items[place - 1].0 > items[place].0 {
            items.swap(place - 1, place);
            place -= 1;
        }
    }
}
