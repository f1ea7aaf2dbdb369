//! The deque of packed chunks behind large lists.

use std::collections::VecDeque;
use std::ops::Range;

use super::element::Element;
use super::limits::{LISTPACK_EMPTY_BYTES, Limits, listpack_entry_bytes};
use super::list::{listpack_size, remove_equal};
use super::packed::{self, Encoded, Items, read, splice};
use crate::memory::good_size;
use crate::work;

/// Bytes of a full chunk; an element that is longer has a chunk of its own.
const CHUNK_BYTES_MAX: usize = 2048;
/// The same in a list of many chunks, so that the deque of chunks stays short: an index costs a
/// step per chunk, and growing the deque copies it.
const LONG_CHUNK_BYTES_MAX: usize = 8192;
/// From this many chunks on a list has long ones.
const LONG_FROM_CHUNKS: usize = 512;
/// Two neighbouring chunks join up to this many bytes.
const CHUNK_BYTES_JOINED: usize = CHUNK_BYTES_MAX / 2;
/// Bytes of the first block of a chunk that grows towards the front.
const FRONT_BYTES_MIN: usize = 64;
/// Offsets remembered at the end of the last chunk.
const TAIL_OFFSETS: usize = 27;

/// A large list. Both ends are O(1); an index costs a step per chunk.
#[derive(Debug)]
pub struct ChunkList {
    chunks: VecDeque<Chunk>,
    len: usize,
    /// Bytes of all elements, packed.
    packed_bytes: usize,
    /// Bytes of the heap blocks behind the chunks.
    block_bytes: usize,
    /// What Redis's listpack of the whole list would take.
    listpack_bytes: usize,
    reports_quicklist: bool,
    tail: Tail,
}

/// A packed run of elements that begins at `start`: what is before is room for more.
#[derive(Clone, Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    start: u32,
    len: u32,
}

/// Offsets of the last elements of the last chunk. Packed strings are read forwards only, so
/// popping from the end walks a chunk once for several elements.
#[derive(Clone, Debug, Default)]
struct Tail {
    offsets: [u16; TAIL_OFFSETS],
    len: u8,
}

impl ChunkList {
    /// The list of these elements.
    pub(super) fn from_items(items: Items<'_>, reports_quicklist: bool) -> ChunkList {
        let mut list = ChunkList {
            chunks: VecDeque::new(),
            len: 0,
            packed_bytes: 0,
            block_bytes: 0,
            listpack_bytes: LISTPACK_EMPTY_BYTES,
            reports_quicklist,
            tail: Tail::default(),
        };
        for element in items {
            list.push_back(&Encoded::element(element));
        }
        list
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn packed_bytes(&self) -> usize {
        self.packed_bytes
    }

    pub(super) fn reports_quicklist(&self) -> bool {
        self.reports_quicklist
    }

    /// Bytes of all heap blocks, with the list's own.
    pub(super) fn heap_bytes(&self) -> usize {
        good_size(size_of::<ChunkList>()) + self.deque_bytes() + self.block_bytes
    }

    pub(super) fn heap_bytes_walked(&self) -> usize {
        let blocks: usize = self.chunks.iter().map(Chunk::heap_bytes).sum();
        good_size(size_of::<ChunkList>()) + self.deque_bytes() + blocks
    }

    /// The elements from position `index` on.
    pub(super) fn iter_from(&self, index: usize) -> ChunkIter<'_> {
        if index >= self.len {
            return ChunkIter { list: self, chunk: self.chunks.len(), items: Items::new(&[], 0) };
        }
        let (chunk, within) = self.locate(index);
        let at = self.chunks[chunk].offset(within);
        ChunkIter { list: self, chunk, items: Items::new(&self.chunks[chunk].bytes, at) }
    }

    /// The packed runs of elements in order.
    pub(super) fn runs(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.chunks.iter().map(|chunk| &chunk.bytes[chunk.start as usize..])
    }

    /// Bytes of the first packed run. A long element has one of its own.
    pub(super) fn first_run_bytes(&self) -> usize {
        self.chunks.front().map_or(0, Chunk::used)
    }

    /// Bytes of the last packed run.
    pub(super) fn last_run_bytes(&self) -> usize {
        self.chunks.back().map_or(0, Chunk::used)
    }

    /// Reports the large encoding if another element of `bytes` is over the limit.
    pub(super) fn before_growth(&mut self, bytes: usize, limits: &Limits) {
        if limits.list_exceeds(self.listpack_bytes + bytes, self.len + 1, 1) {
            self.reports_quicklist = true;
        }
    }

    /// Reports the small encoding again below half the limit.
    pub(super) fn after_removal(&mut self, limits: &Limits) {
        if !limits.list_exceeds(self.listpack_bytes, self.len, 2) {
            self.reports_quicklist = false;
        }
    }

    /// Frees chunks with about `count` elements; how many, 0 at the end.
    pub(super) fn free_some(&mut self, count: usize) -> usize {
        let mut freed = 0;
        while freed < count
            && let Some(chunk) = self.chunks.pop_back()
        {
            freed += chunk.len as usize;
            self.block_bytes -= chunk.heap_bytes();
        }
        self.len -= freed;
        freed
    }

    pub(super) fn push_back(&mut self, new: &Encoded) {
        let width = new.bytes().len();
        let max = self.chunk_bytes_max();
        if self.chunks.back().is_none_or(|chunk| chunk.bytes.len() + width > max) {
            let last = self.chunks.len().wrapping_sub(1);
            let compact = self.chunks.back().is_some_and(|chunk| {
                chunk.start as usize >= max / 2 && chunk.used() + width <= max
            });
            self.tail.len = 0;
            if compact {
                self.edit(last, Chunk::compact);
            } else {
                self.insert_chunk(self.chunks.len(), Chunk::default());
            }
        }
        let last = self.chunks.len() - 1;
        let at = self.chunks[last].bytes.len();
        self.edit(last, |chunk| {
            splice(&mut chunk.bytes, at, 0, &[new.bytes()]);
            chunk.len += 1;
        });
        self.tail.push(at);
        self.count_in(new);
    }

    pub(super) fn push_front(&mut self, new: &Encoded) {
        let width = new.bytes().len();
        let max = self.chunk_bytes_max();
        if self.chunks.front().is_none_or(|chunk| chunk.used() + width > max) {
            self.insert_chunk(0, Chunk::default());
        }
        if self.chunks.len() == 1 && (self.chunks[0].start as usize) < width {
            self.tail.len = 0;
        }
        self.edit(0, |chunk| chunk.push_front(new.bytes(), max));
        self.count_in(new);
    }

    pub(super) fn pop_front(&mut self) -> Option<Vec<u8>> {
        let chunk = self.chunks.front()?;
        let (element, next) = read(&chunk.bytes, chunk.start as usize);
        let value = element.to_vec();
        self.listpack_bytes -= listpack_entry_bytes(element);
        self.len -= 1;
        self.packed_bytes -= next - chunk.start as usize;
        if let Some(chunk) = self.chunks.front_mut() {
            chunk.start = next as u32;
            chunk.len -= 1;
            let left = chunk.len;
            if left == 0 {
                self.remove_chunk(0);
            } else if self.chunks.len() == 1 && left < u32::from(self.tail.len) {
                self.tail.len = 0;
            }
        }
        Some(value)
    }

    pub(super) fn pop_back(&mut self) -> Option<Vec<u8>> {
        let last = self.chunks.len().checked_sub(1)?;
        if self.tail.len == 0 {
            let chunk = &self.chunks[last];
            let mut at = chunk.offset((chunk.len as usize).saturating_sub(TAIL_OFFSETS));
            while at < chunk.bytes.len() {
                self.tail.push(at);
                at = packed::skip(&chunk.bytes, at);
            }
        }
        let at = self.tail.pop()?;
        let element = read(&self.chunks[last].bytes, at).0;
        let value = element.to_vec();
        self.listpack_bytes -= listpack_entry_bytes(element);
        self.len -= 1;
        self.edit(last, |chunk| {
            chunk.bytes.truncate(at);
            chunk.len -= 1;
        });
        if self.chunks[last].len == 0 {
            self.remove_chunk(last);
        }
        Some(value)
    }

    /// Replaces the element at position `index`, which there is.
    pub(super) fn replace(&mut self, index: usize, new: &Encoded) {
        let (chunk, within) = self.locate(index);
        let at = self.chunks[chunk].offset(within);
        let (element, next) = read(&self.chunks[chunk].bytes, at);
        self.listpack_bytes -= listpack_entry_bytes(element);
        self.tail.len = 0;
        if self.chunks[chunk].used() + at + new.bytes().len() - next <= self.chunk_bytes_max() {
            self.edit(chunk, |c| splice(&mut c.bytes, at, next - at, &[new.bytes()]));
            self.listpack_bytes += listpack_entry_bytes(read(new.bytes(), 0).0);
            return;
        }
        self.edit(chunk, |c| {
            splice(&mut c.bytes, at, next - at, &[]);
            c.len -= 1;
        });
        self.len -= 1;
        if self.chunks[chunk].len == 0 {
            self.remove_chunk(chunk);
        }
        self.insert(index, new);
    }

    /// Inserts before the element at position `index`, or at the end.
    pub(super) fn insert(&mut self, index: usize, new: &Encoded) {
        if index >= self.len {
            return self.push_back(new);
        }
        let (chunk, within) = self.locate(index);
        let at = self.chunks[chunk].offset(within);
        self.tail.len = 0;
        if self.has_room(chunk, new) {
            return self.put(chunk, at, new);
        }
        let mut next = chunk;
        if within > 0 {
            self.split(chunk, at, within);
            next += 1;
        }
        if next > 0 && self.has_room(next - 1, new) {
            let end = self.chunks[next - 1].bytes.len();
            self.put(next - 1, end, new);
        } else if self.has_room(next, new) {
            let start = self.chunks[next].start as usize;
            self.put(next, start, new);
        } else {
            self.insert_chunk(next, Chunk::default());
            self.put(next, 0, new);
        }
    }

    /// Removes the first `wanted` elements equal to `value`; how many there were.
    pub(super) fn remove_first(&mut self, value: &Encoded, wanted: usize) -> usize {
        let mut left = wanted;
        for chunk in 0..self.chunks.len() {
            left -= self.remove_in(chunk, value, left, false);
        }
        self.after_removals(wanted - left, value)
    }

    /// Removes the last `wanted` elements equal to `value`; how many there were.
    pub(super) fn remove_last(&mut self, value: &Encoded, wanted: usize) -> usize {
        let mut left = wanted;
        for chunk in (0..self.chunks.len()).rev() {
            left -= self.remove_in(chunk, value, left, true);
        }
        self.after_removals(wanted - left, value)
    }

    /// Keeps the elements at these positions only.
    pub(super) fn trim(&mut self, kept: Range<usize>) {
        self.tail.len = 0;
        let mut behind = self.len - kept.end;
        while let Some(last) = self.chunks.back()
            && behind > 0
        {
            let len = last.len as usize;
            if len <= behind {
                behind -= len;
                self.drop_chunk(self.chunks.len() - 1);
                continue;
            }
            let at = last.offset(len - behind);
            self.count_out(self.chunks.len() - 1, at, usize::MAX);
            self.edit(self.chunks.len() - 1, |chunk| {
                chunk.bytes.truncate(at);
                chunk.len -= behind as u32;
            });
            behind = 0;
        }
        let mut before = kept.start.min(self.len);
        while let Some(first) = self.chunks.front()
            && before > 0
        {
            let len = first.len as usize;
            if len <= before {
                before -= len;
                self.drop_chunk(0);
                continue;
            }
            let at = first.offset(before);
            self.count_out(0, first.start as usize, at);
            self.edit(0, |chunk| {
                chunk.start = at as u32;
                chunk.len -= before as u32;
            });
            before = 0;
        }
    }

    /// The chunk of the element at position `index`, and its position in there.
    fn locate(&self, index: usize) -> (usize, usize) {
        if index < self.len / 2 {
            let mut before = 0;
            for (at, chunk) in self.chunks.iter().enumerate() {
                work::step();
                if index < before + chunk.len as usize {
                    return (at, index - before);
                }
                before += chunk.len as usize;
            }
        }
        let mut end = self.len;
        for (at, chunk) in self.chunks.iter().enumerate().rev() {
            work::step();
            end -= chunk.len as usize;
            if index >= end {
                return (at, index - end);
            }
        }
        (0, 0)
    }

    fn chunk_bytes_max(&self) -> usize {
        if self.chunks.len() < LONG_FROM_CHUNKS { CHUNK_BYTES_MAX } else { LONG_CHUNK_BYTES_MAX }
    }

    /// Whether `new` may go into a chunk.
    fn has_room(&self, chunk: usize, new: &Encoded) -> bool {
        self.chunks[chunk].used() + new.bytes().len() <= self.chunk_bytes_max()
    }

    fn put(&mut self, chunk: usize, at: usize, new: &Encoded) {
        self.edit(chunk, |chunk| {
            splice(&mut chunk.bytes, at, 0, &[new.bytes()]);
            chunk.len += 1;
        });
        self.count_in(new);
    }

    fn count_in(&mut self, new: &Encoded) {
        self.len += 1;
        self.listpack_bytes += listpack_entry_bytes(read(new.bytes(), 0).0);
    }

    /// Counts the elements out that lie between two offsets of a chunk.
    fn count_out(&mut self, chunk: usize, from: usize, to: usize) {
        let bytes = &self.chunks[chunk].bytes;
        let (size, count) = listpack_size(Items::new(&bytes[..to.min(bytes.len())], from));
        self.listpack_bytes -= size - LISTPACK_EMPTY_BYTES;
        self.len -= count;
    }

    fn remove_in(&mut self, chunk: usize, value: &Encoded, wanted: usize, from_end: bool) -> usize {
        if wanted == 0 || !self.chunks[chunk].contains(value) {
            return 0;
        }
        let mut removed = 0;
        self.edit(chunk, |chunk| {
            let start = chunk.start as usize;
            removed = remove_equal(&mut chunk.bytes, start, value, wanted, from_end);
            chunk.len -= removed as u32;
        });
        removed
    }

    /// Counts out what was removed all over the list, and joins what has become small.
    fn after_removals(&mut self, removed: usize, value: &Encoded) -> usize {
        if removed == 0 {
            return 0;
        }
        self.tail.len = 0;
        self.len -= removed;
        self.listpack_bytes -= removed * listpack_entry_bytes(read(value.bytes(), 0).0);
        let old = std::mem::take(&mut self.chunks);
        let mut kept: Vec<Chunk> = Vec::with_capacity(old.len());
        for chunk in old.into_iter().filter(|chunk| chunk.len > 0) {
            match kept.last_mut() {
                Some(last) if last.used() + chunk.used() <= CHUNK_BYTES_JOINED => {
                    let end = last.bytes.len();
                    splice(&mut last.bytes, end, 0, &[&chunk.bytes[chunk.start as usize..]]);
                    last.len += chunk.len;
                }
                _ => kept.push(chunk),
            }
        }
        self.chunks.reserve_exact(kept.len());
        self.chunks.extend(kept);
        self.block_bytes = self.chunks.iter().map(Chunk::heap_bytes).sum();
        removed
    }

    /// Changes a chunk, keeping the account.
    fn edit(&mut self, chunk: usize, edit: impl FnOnce(&mut Chunk)) {
        let chunk = &mut self.chunks[chunk];
        self.packed_bytes -= chunk.used();
        self.block_bytes -= chunk.heap_bytes();
        edit(chunk);
        packed::shrink(&mut chunk.bytes);
        self.packed_bytes += chunk.used();
        self.block_bytes += chunk.heap_bytes();
    }

    /// Splits a chunk before its element number `within` at offset `at`.
    fn split(&mut self, chunk: usize, at: usize, within: usize) {
        let mut right = Chunk::default();
        let from = &self.chunks[chunk];
        splice(&mut right.bytes, 0, 0, &[&from.bytes[at..]]);
        right.len = from.len - within as u32;
        self.edit(chunk, |chunk| {
            chunk.bytes.truncate(at);
            chunk.len = within as u32;
        });
        self.insert_chunk(chunk + 1, right);
    }

    fn insert_chunk(&mut self, at: usize, chunk: Chunk) {
        if at == self.chunks.len() {
            self.tail.len = 0;
        }
        if self.chunks.len() == self.chunks.capacity() {
            self.chunks.reserve_exact((self.chunks.len() / 4).max(2));
        }
        self.packed_bytes += chunk.used();
        self.block_bytes += chunk.heap_bytes();
        self.chunks.insert(at, chunk);
    }

    /// Removes a chunk whose elements are counted out already.
    fn remove_chunk(&mut self, at: usize) {
        if let Some(chunk) = self.chunks.remove(at) {
            self.packed_bytes -= chunk.used();
            self.block_bytes -= chunk.heap_bytes();
        }
        if self.chunks.len() * 4 <= self.chunks.capacity() {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
        if at == self.chunks.len() {
            self.tail.len = 0;
        }
    }

    /// Removes a chunk with its elements.
    fn drop_chunk(&mut self, at: usize) {
        self.count_out(at, self.chunks[at].start as usize, usize::MAX);
        self.remove_chunk(at);
    }

    fn deque_bytes(&self) -> usize {
        good_size(self.chunks.capacity() * size_of::<Chunk>())
    }
}

impl Clone for ChunkList {
    fn clone(&self) -> ChunkList {
        let mut copy = ChunkList::from_items(Items::new(&[], 0), self.reports_quicklist);
        for run in self.runs() {
            for element in Items::new(run, 0) {
                copy.push_back(&Encoded::element(element));
            }
        }
        copy
    }
}

impl Chunk {
    /// Bytes of the elements.
    fn used(&self) -> usize {
        self.bytes.len() - self.start as usize
    }

    fn heap_bytes(&self) -> usize {
        good_size(self.bytes.capacity())
    }

    /// Offset of the element number `within`.
    fn offset(&self, within: usize) -> usize {
        packed::skip_many(&self.bytes, self.start as usize, within)
    }

    fn contains(&self, value: &Encoded) -> bool {
        packed::find(&self.bytes, self.start as usize, 1, value).is_ok()
    }

    fn compact(&mut self) {
        self.bytes.drain(..self.start as usize);
        self.start = 0;
    }

    fn push_front(&mut self, new: &[u8], max: usize) {
        let used = self.used();
        if (self.start as usize) < new.len() {
            let needed = used + new.len();
            let wanted = needed.max((used + used / 2).clamp(FRONT_BYTES_MIN, max));
            // A long element fills its chunk and needs no room in front of it.
            let len = if needed > max { needed } else { good_size(wanted) };
            let mut bytes = Vec::new();
            packed::reserve(&mut bytes, len);
            bytes.resize(len - used, 0);
            bytes.extend_from_slice(&self.bytes[self.start as usize..]);
            self.bytes = bytes;
            self.start = (len - used) as u32;
        }
        self.start -= new.len() as u32;
        let start = self.start as usize;
        self.bytes[start..start + new.len()].copy_from_slice(new);
        self.len += 1;
    }
}

impl Tail {
    fn push(&mut self, at: usize) {
        if self.len as usize == TAIL_OFFSETS {
            self.offsets.copy_within(1.., 0);
            self.len -= 1;
        }
        // More than one element means a chunk of a few KiB; a long one is alone, at offset 0.
        debug_assert!(at <= usize::from(u16::MAX));
        self.offsets[self.len as usize] = at as u16;
        self.len += 1;
    }

    fn pop(&mut self) -> Option<usize> {
        self.len = self.len.checked_sub(1)?;
        Some(usize::from(self.offsets[self.len as usize]))
    }
}

/// Elements of a large list in order.
#[derive(Clone, Debug)]
pub struct ChunkIter<'a> {
    list: &'a ChunkList,
    chunk: usize,
    items: Items<'a>,
}

impl<'a> Iterator for ChunkIter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        loop {
            if let Some(element) = self.items.next() {
                return Some(element);
            }
            self.chunk += 1;
            let chunk = self.list.chunks.get(self.chunk)?;
            self.items = Items::new(&chunk.bytes, chunk.start as usize);
        }
    }
}
