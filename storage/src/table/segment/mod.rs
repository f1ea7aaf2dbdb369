//! A segment: one heap block with the entries of one range of hashes.
//!
//! ```text
//! head 24 | index cells 4 each, in the order of the hash | entries, packed, appended
//! ```
//! A cell is `tag << 16 | offset`: 16 bits of the hash (those after the `depth` bits that lead
//! to the segment) and the entry's place in the block. Cells are sorted by tag, each at or after
//! its home `tag * homes / 65536` with no empty cell in between, without wrapping around; so a
//! search ends at the first larger tag, a rebuild needs no key, and a scan is a sweep.
//!
//! Index and entries share the block, and [`Plan`] divides it so that both fill up together: the
//! allocator's rounding is paid once, and all of it is used.

mod reshape;

use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use self::reshape::Plan;

use super::entry::RawEntry;
use super::view::EntryRef;
use crate::memory::{allocate_segment, good_size, release_segment};

/// Bytes of an index cell.
pub(super) const CELL_LEN: usize = size_of::<u32>();

const HEAD_LEN: usize = size_of::<Head>();
const EMPTY: u32 = u32::MAX;
/// The largest tag; an empty cell reads as a larger one, so it ends every search.
const TAG_TOP: u32 = 0xfffe;

#[repr(C)]
struct Head {
    /// Lower bound of the entries' expiries.
    expiry_min: i64,
    size: u16,
    /// Cells, the last of which always stays empty.
    cells: u16,
    homes: u16,
    len: u16,
    /// Entries with an expiry.
    expiring: u16,
    /// Where the next entry goes.
    end: u16,
    /// Bytes before `end` that belong to no entry any more.
    dead: u16,
    depth: u8,
}

/// The 16 bits of the hash after the first `depth`, the two largest values being one.
#[inline]
pub(super) fn tag_of(hash: u64, depth: u32) -> u32 {
    ((hash << depth >> 48) as u32).min(TAG_TOP)
}

/// A segment's block, which lives for `'t`.
///
/// Invariant: made only for live blocks, so its safe functions, which read, are sound. There may be
/// several for one segment: whoever changes it through one says that it has the only access, and
/// whoever frees it that all the others have gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct RawSegment<'t>(NonNull<Head>, PhantomData<&'t Head>);

/// Why an entry could not be inserted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    Entries,
    Index,
}

/// Counts that a table keeps over all its segments.
#[derive(Clone, Copy, Default)]
pub(super) struct SegmentCounts {
    pub(super) entries: usize,
    pub(super) expiring: usize,
    pub(super) heap_bytes: usize,
}

impl<'t> RawSegment<'t> {
    fn allocate(plan: Plan, depth: u32) -> RawSegment<'t> {
        debug_assert!(plan.size == good_size(plan.size) && plan.size <= u16::MAX as usize);
        debug_assert!(plan.homes >= 1 && plan.cells > plan.homes);
        let block: NonNull<Head> = allocate_segment(plan.size).cast();
        let arena = HEAD_LEN + plan.cells * CELL_LEN;
        debug_assert!(arena <= plan.size);
        // SAFETY: the block is ours, aligned to 16, and holds the head and the cells.
        unsafe {
            block.write(Head {
                expiry_min: i64::MAX,
                size: plan.size as u16,
                cells: plan.cells as u16,
                homes: plan.homes as u16,
                len: 0,
                expiring: 0,
                end: arena as u16,
                dead: 0,
                depth: depth as u8,
            });
            let cells: *mut u32 = block.as_ptr().add(1).cast();
            cells.cast::<u8>().write_bytes(0xff, plan.cells * CELL_LEN);
        }
        RawSegment(block, PhantomData)
    }

    /// # Safety
    /// `at` is the address of a segment that lives for `'t`.
    #[inline]
    pub(super) unsafe fn from_ptr(at: *mut u8) -> RawSegment<'t> {
        // SAFETY: by the caller's promise not null.
        RawSegment(unsafe { NonNull::new_unchecked(at.cast()) }, PhantomData)
    }

    #[inline]
    pub(super) fn as_ptr(self) -> *mut u8 {
        self.0.as_ptr().cast()
    }

    #[inline]
    fn head(self) -> &'t Head {
        // SAFETY: the block is live, and no reference leaves this module; its functions do not keep
        // one while they write the head.
        unsafe { self.0.as_ref() }
    }

    /// # Safety
    /// The caller has the only access to the segment, and no other reference to its head.
    #[inline]
    unsafe fn head_mut(self) -> &'t mut Head {
        // SAFETY: by the caller's promise.
        unsafe { &mut *self.0.as_ptr() }
    }

    #[inline]
    fn cell(self, at: usize) -> u32 {
        debug_assert!(at < self.head().cells as usize);
        // SAFETY: inside the index.
        unsafe { *self.0.as_ptr().add(1).cast::<u32>().add(at) }
    }

    #[inline]
    fn cell_ptr(self, at: usize) -> *mut u32 {
        debug_assert!(at < self.head().cells as usize);
        // SAFETY: inside the index.
        unsafe { self.0.as_ptr().add(1).cast::<u32>().add(at) }
    }

    /// # Safety
    /// The caller has the only access to the segment.
    #[inline]
    unsafe fn set_cell(self, at: usize, cell: u32) {
        // SAFETY: inside the index, and by the caller's promise.
        unsafe { *self.cell_ptr(at) = cell }
    }

    #[inline]
    fn home(self, tag: u32) -> usize {
        ((tag * u32::from(self.head().homes)) >> 16) as usize
    }

    /// The place `offset` of a cell, as an entry.
    #[inline]
    fn entry_of(self, cell: u32, header: u8) -> RawEntry<'t> {
        // SAFETY: a cell that is not empty holds the offset of a live entry.
        unsafe { RawEntry::new(self.as_ptr().add((cell & 0xffff) as usize), header) }
    }

    /// The entry at an occupied cell.
    #[inline]
    pub(super) fn entry(self, at: usize, header: u8) -> RawEntry<'t> {
        debug_assert!(self.cell(at) != EMPTY);
        self.entry_of(self.cell(at), header)
    }

    #[inline]
    pub(super) fn depth(self) -> u32 {
        u32::from(self.head().depth)
    }

    #[inline]
    pub(super) fn len(self) -> usize {
        self.head().len as usize
    }

    #[inline]
    pub(super) fn size(self) -> usize {
        self.head().size as usize
    }

    pub(super) fn expiring(self) -> usize {
        self.head().expiring as usize
    }

    pub(super) fn expiry_min(self) -> i64 {
        self.head().expiry_min
    }

    /// Cells to go through in a sweep.
    #[inline]
    pub(super) fn cells(self) -> usize {
        self.head().cells as usize - 1
    }

    #[inline]
    pub(super) fn is_occupied(self, at: usize) -> bool {
        self.cell(at) != EMPTY
    }

    /// The tag of an occupied cell.
    #[inline]
    pub(super) fn tag_at(self, at: usize) -> u32 {
        self.cell(at) >> 16
    }

    /// The first cell that a tag can be in.
    #[inline]
    pub(super) fn first_cell(self, tag: u32) -> usize {
        self.home(tag)
    }

    /// The cell of a key, or the one where it would be inserted.
    #[inline(always)]
    pub(super) fn locate(self, hash: u64, key: &[u8], header: u8) -> Result<usize, usize> {
        let tag = tag_of(hash, self.depth());
        let mut at = self.home(tag);
        loop {
            let cell = self.cell(at);
            let found = cell >> 16;
            if found > tag {
                return Err(at);
            }
            if found == tag && self.entry_of(cell, header).has_key(key) {
                return Ok(at);
            }
            at += 1;
        }
    }

    /// The address of the first cell that a hash can be in.
    #[inline(always)]
    pub(super) fn home_address(self, hash: u64) -> *const u8 {
        self.cell_ptr(self.home(tag_of(hash, self.depth()))).cast()
    }

    /// Where the next entry goes.
    #[inline]
    pub(super) fn next_entry(self) -> *const u8 {
        self.as_ptr().wrapping_add(self.head().end as usize)
    }

    /// The address of the first entry with the tag of a hash.
    #[inline(always)]
    pub(super) fn likely_entry(self, hash: u64) -> Option<*const u8> {
        let tag = tag_of(hash, self.depth());
        let mut at = self.home(tag);
        while self.cell(at) >> 16 < tag {
            at += 1;
        }
        let cell = self.cell(at);
        let address = self.as_ptr().wrapping_add((cell & 0xffff) as usize);
        (cell >> 16 == tag).then_some(address.cast_const())
    }

    /// Makes room for an entry of `size` bytes whose cell goes to `at`, as [`Self::locate`] said.
    ///
    /// # Safety
    /// The caller has the only access to the segment, and writes the entry before it is read.
    #[inline]
    pub(super) unsafe fn insert(
        self,
        at: usize,
        hash: u64,
        size: usize,
        header: u8,
    ) -> Result<RawEntry<'t>, Full> {
        let head = self.head();
        let end = head.end as usize;
        if end + size > head.size as usize {
            return Err(Full::Entries);
        }
        if self.is_loaded() {
            return Err(Full::Index);
        }
        let cell = tag_of(hash, self.depth()) << 16 | end as u32;
        // SAFETY: by the caller's promise.
        let head = unsafe {
            self.push_in(at, cell)?;
            self.head_mut()
        };
        head.len += 1;
        head.end += size as u16;
        Ok(self.entry_of(cell, header))
    }

    /// Puts a cell at `at` and moves the following ones on, up to the next empty one.
    ///
    /// # Safety
    /// The caller has the only access to the segment.
    #[inline]
    unsafe fn push_in(self, at: usize, cell: u32) -> Result<(), Full> {
        let (mut place, mut moved) = (at, cell);
        loop {
            let next = self.cell(place);
            // SAFETY: by the caller's promise.
            unsafe { self.set_cell(place, moved) };
            if next == EMPTY {
                break;
            }
            moved = next;
            place += 1;
        }
        if place + 1 < self.head().cells as usize {
            return Ok(());
        }
        // The last cell has to stay empty: everything back.
        for place in at..place {
            // SAFETY: by the caller's promise.
            unsafe { self.set_cell(place, self.cell(place + 1)) };
        }
        // SAFETY: by the caller's promise.
        unsafe { self.set_cell(place, EMPTY) };
        Err(Full::Index)
    }

    /// Takes a cell out of the index; its entry's `size` bytes are dead from now on.
    ///
    /// # Safety
    /// The caller has the only access to the segment, and no handle of the entry is used later.
    pub(super) unsafe fn erase(self, at: usize, size: usize) {
        // SAFETY: by the caller's promise.
        unsafe { self.discard(self.cell(at), size) };
        let mut next = at + 1;
        while self.cell(next) != EMPTY && self.home(self.tag_at(next)) < next {
            next += 1;
        }
        // SAFETY: `at + 1..next` are cells, and by the caller's promise.
        unsafe {
            let to = self.cell_ptr(at);
            ptr::copy(to.add(1), to, next - at - 1);
            self.set_cell(next - 1, EMPTY);
            self.head_mut().len -= 1;
        }
    }

    /// Gives an entry's bytes up: the last ones can be used again at once.
    ///
    /// # Safety
    /// The caller has the only access to the segment.
    unsafe fn discard(self, cell: u32, size: usize) {
        // SAFETY: by the caller's promise.
        let head = unsafe { self.head_mut() };
        if (cell & 0xffff) as usize + size == head.end as usize {
            head.end -= size as u16;
        } else {
            head.dead += size as u16;
        }
    }

    /// Gives the entry of a cell another length: in place if it shrinks or is the last one, else
    /// at the end. The bytes up to the shorter length are kept only in place.
    ///
    /// # Safety
    /// The caller has the only access to the segment, and writes the entry before it is read.
    pub(super) unsafe fn resize(
        self,
        at: usize,
        old: usize,
        new: usize,
        header: u8,
    ) -> Result<RawEntry<'t>, Full> {
        let cell = self.cell(at);
        let start = (cell & 0xffff) as usize;
        // SAFETY: by the caller's promise.
        let head = unsafe { self.head_mut() };
        if start + old == head.end as usize {
            if start + new > head.size as usize {
                return Err(Full::Entries);
            }
            head.end = (start + new) as u16;
        } else if new <= old {
            head.dead += (old - new) as u16;
        } else {
            if head.end as usize + new > head.size as usize {
                return Err(Full::Entries);
            }
            let moved = cell & !0xffff | u32::from(head.end);
            head.end += new as u16;
            head.dead += old as u16;
            // SAFETY: by the caller's promise.
            unsafe { self.set_cell(at, moved) };
        }
        Ok(self.entry(at, header))
    }

    /// Notes that an entry's expiry changes.
    ///
    /// # Safety
    /// The caller has the only access to the segment.
    pub(super) unsafe fn note_expiry(self, old: Option<i64>, new: Option<i64>) {
        // SAFETY: by the caller's promise.
        let head = unsafe { self.head_mut() };
        head.expiring -= u16::from(old.is_some());
        head.expiring += u16::from(new.is_some());
        if let Some(expiry) = new {
            head.expiry_min = head.expiry_min.min(expiry);
        }
        if head.expiring == 0 {
            head.expiry_min = i64::MAX;
        }
    }

    /// Makes the bound exact.
    ///
    /// # Safety
    /// The caller has the only access to the segment.
    pub(super) unsafe fn tighten_expiry(self, header: u8) {
        let min = self.entries(header).filter_map(RawEntry::expiry).min();
        // SAFETY: by the caller's promise.
        unsafe { self.head_mut() }.expiry_min = min.unwrap_or(i64::MAX);
    }

    /// All entries in the order of their hash.
    pub(super) fn entries(self, header: u8) -> impl Iterator<Item = RawEntry<'t>> + Clone {
        (0..self.cells())
            .map(move |at| self.cell(at))
            .filter(|cell| *cell != EMPTY)
            .map(move |cell| self.entry_of(cell, header))
    }

    /// All entries in the order of their hash, with their tags.
    fn tagged_entries(self, header: u8) -> impl Iterator<Item = (u32, RawEntry<'t>)> {
        (0..self.cells())
            .map(move |at| self.cell(at))
            .filter(|cell| *cell != EMPTY)
            .map(move |cell| (cell >> 16, self.entry_of(cell, header)))
    }

    fn arena(self) -> usize {
        HEAD_LEN + self.head().cells as usize * CELL_LEN
    }

    /// Bytes of entries.
    pub(super) fn live(self) -> usize {
        let head = self.head();
        head.end as usize - self.arena() - head.dead as usize
    }

    /// Whether an eighth of what has been appended is dead.
    #[inline]
    pub(super) fn is_sparse(self) -> bool {
        let head = self.head();
        let appended = head.end as usize - self.arena() + 64;
        // What was popped off the end is not counted as dead: look at the block's use as well.
        head.dead as usize * 8 >= appended || appended * 4 < head.size as usize
    }

    /// Whether one more cell would make the searches long.
    #[inline]
    fn is_loaded(self) -> bool {
        let head = self.head();
        (head.len as usize + 1) * 16 > head.homes as usize * 15 + 16
    }

    /// Frees the block, not the blobs.
    ///
    /// # Safety
    /// Nothing uses this segment afterwards.
    pub(super) unsafe fn release_block(self) {
        // SAFETY: allocated with this size.
        unsafe { release_segment(self.0.cast(), self.size()) }
    }

    /// Frees the block and the blobs of its entries.
    ///
    /// # Safety
    /// Nothing uses this segment afterwards.
    pub(super) unsafe fn free(self, header: u8) {
        for entry in self.entries(header) {
            if entry.has_blob() {
                // SAFETY: the entry is forgotten with its segment.
                unsafe { entry.blob().free() };
            }
        }
        // SAFETY: passed on from the caller.
        unsafe { self.release_block() }
    }

    /// Recounts everything, and checks the order of the index and the bounds of the entries.
    pub(super) fn counts(self, header: u8) -> SegmentCounts {
        let head = self.head();
        assert!(good_size(self.size()) == self.size(), "the whole block is used");
        assert!(!self.is_oversized(), "what grows too large is split");
        let mut counts = SegmentCounts { heap_bytes: self.size(), ..SegmentCounts::default() };
        let (mut last, mut previous, mut live) = (0, None, 0);
        for at in (0..self.cells()).filter(|at| self.is_occupied(*at)) {
            let (tag, entry) = (self.tag_at(at), self.entry(at, header));
            assert!(tag >= last && self.home(tag) <= at, "cells follow the hash");
            assert!(previous.is_none_or(|p| p + 1 == at) || self.home(tag) == at, "no gap");
            let offset = (self.cell(at) & 0xffff) as usize;
            assert!(offset >= self.arena() && offset + entry.size() <= head.end as usize);
            counts.entries += 1;
            counts.heap_bytes += entry.blob_bytes();
            live += entry.size();
            if let Some(expiry) = entry.expiry() {
                counts.expiring += 1;
                assert!(expiry >= head.expiry_min, "a lower bound");
            }
            (last, previous) = (tag, Some(at));
        }
        assert!(!self.is_occupied(self.cells()), "the last cell is empty");
        assert_eq!(live, self.live());
        assert_eq!((counts.entries, counts.expiring), (self.len(), self.expiring()));
        assert!(head.end <= head.size);
        counts
    }
}

/// A segment that has left its table: everything in it is freed when it is dropped.
pub struct Segment {
    /// Lives as long as this; what is handed out is bound to a borrow of it.
    raw: RawSegment<'static>,
    header: u8,
}

impl Segment {
    /// # Safety
    /// Nothing else uses the segment any more.
    pub(super) unsafe fn new(raw: RawSegment<'static>, header: u8) -> Segment {
        Segment { raw, header }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries, in the order of their hash.
    pub fn iter(&self) -> impl Iterator<Item = EntryRef<'_>> {
        // SAFETY: live and unchanged while `self` is borrowed.
        self.raw.entries(self.header).map(|entry| unsafe { EntryRef::new(entry) })
    }

    /// The bytes that dropping it gives back; walks the entries.
    pub fn heap_bytes(&self) -> usize {
        let blobs: usize = self.raw.entries(self.header).map(RawEntry::blob_bytes).sum();
        self.raw.size() + blobs
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: owned, by construction.
        unsafe { self.raw.free(self.header) }
    }
}

// SAFETY: a segment owns its block and blobs; nothing of them is shared or bound to a thread.
unsafe impl Send for Segment {}
