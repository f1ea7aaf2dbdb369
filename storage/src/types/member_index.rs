//! From the hash of a member to the leaf that holds it.
//!
//! The members themselves are only in the leaves: a cell is 32 bits of the hash and the leaf's
//! number, 8 bytes. Cells lie in hash order in segments of at most 8 KiB, which split in two when
//! full and join when nearly empty, so no operation is long.

use smallvec::SmallVec;

use super::arena::{Arena, heap_bytes_of};
use crate::memory::good_size;

/// Cells of the largest segment.
const SEGMENT_CELLS_MAX: usize = 1024;
/// Cells of the smallest segment.
const SEGMENT_CELLS_MIN: usize = 16;
/// Two segments join when both together fill at most this many cells.
const JOINED_MAX: usize = SEGMENT_CELLS_MAX / 4;
/// A directory longer than this many times the segments does not double: then the hashes are not
/// spread evenly, and splitting would not part them.
const DIRECTORY_SHARE_MAX: usize = 32;

/// The index. Finding, adding and removing are O(1).
#[derive(Debug)]
pub(crate) struct MemberIndex {
    /// Segment of each prefix of `depth` bits; empty while there is at most one segment.
    directory: Vec<u32>,
    segments: Arena<Segment>,
    depth: u32,
    /// Bytes of all segments' cells.
    cell_bytes: usize,
}

/// The cells of the hashes with one prefix, sorted by hash. A cell is never before its home, and
/// no empty cell is between them.
#[derive(Debug)]
struct Segment {
    /// `hash << 32 | leaf + 1`; 0 is empty.
    cells: Vec<u64>,
    len: u32,
    /// The prefix, in the high bits.
    prefix: u32,
    depth: u32,
}

impl MemberIndex {
    pub(crate) const fn new() -> MemberIndex {
        MemberIndex { directory: Vec::new(), segments: Arena::new(), depth: 0, cell_bytes: 0 }
    }

    /// Notes that the member of `hash` is in `leaf`.
    pub(crate) fn insert(&mut self, hash: u32, leaf: u32) {
        if self.segments.len() == 0 {
            self.segments.push(Segment::new(0, 0, SEGMENT_CELLS_MIN));
            self.cell_bytes += heap_bytes_of(&self.segments[0].cells);
        }
        loop {
            let id = self.segment_of(hash);
            let segment = &mut self.segments[id];
            if segment.has_room() && segment.insert(cell(hash, leaf)) {
                return;
            }
            let cells = segment.cells.len();
            let depth = segment.depth;
            if cells < SEGMENT_CELLS_MAX {
                self.resize(id, (cells + cells / 4).min(SEGMENT_CELLS_MAX));
            } else if self.may_split(depth) {
                self.split(id);
            } else {
                self.resize(id, cells + cells / 4);
            }
        }
    }

    /// Forgets that a member of `hash` is in `leaf`.
    pub(crate) fn remove(&mut self, hash: u32, leaf: u32) {
        if self.segments.len() == 0 {
            return;
        }
        let id = self.segment_of(hash);
        let segment = &mut self.segments[id];
        let Some(at) = segment.find(cell(hash, leaf)) else {
            debug_assert!(false, "a member is missing in the index");
            return;
        };
        segment.remove_at(at);
        let (len, cells) = (segment.len as usize, segment.cells.len());
        if cells > SEGMENT_CELLS_MIN && len * 5 < cells * 2 {
            self.resize(id, len + len / 3 + SEGMENT_CELLS_MIN / 2);
        }
        if len < JOINED_MAX / 2 {
            self.join(id);
        }
    }

    /// Notes that a member of `hash` went from one leaf to another.
    pub(crate) fn relocate(&mut self, hash: u32, from: u32, to: u32) {
        if self.segments.len() == 0 {
            return;
        }
        let id = self.segment_of(hash);
        let segment = &mut self.segments[id];
        match segment.find(cell(hash, from)) {
            Some(at) => segment.cells[at] = cell(hash, to),
            None => debug_assert!(false, "a member is missing in the index"),
        }
    }

    /// The leaves that may hold the member of `hash`.
    pub(crate) fn candidates(&self, hash: u32) -> impl Iterator<Item = u32> + '_ {
        let cells: &[u64] = if self.segments.len() == 0 {
            &[]
        } else {
            let segment = &self.segments[self.segment_of(hash)];
            &segment.cells[segment.first_not_below(hash)..]
        };
        cells.iter().take_while(move |&&c| c != 0 && hash_of(c) == hash).map(|&c| leaf_of(c))
    }

    /// Calls `f` with each hash from `cursor` on and the different leaves that it occurs in,
    /// until about `count` of them; returns the next cursor, 0 at the end.
    pub(crate) fn scan(&self, cursor: u32, count: usize, f: &mut dyn FnMut(u32, &[u32])) -> u32 {
        let mut cursor = cursor;
        let mut seen = 0;
        while self.segments.len() > 0 {
            let segment = &self.segments[self.segment_of(cursor)];
            let mut at = segment.first_not_below(cursor);
            while at < segment.cells.len() {
                let found = segment.cells[at];
                if found == 0 {
                    at += 1;
                    continue;
                }
                let hash = hash_of(found);
                if seen >= count {
                    return hash;
                }
                let mut leaves: SmallVec<[u32; 4]> = SmallVec::new();
                while at < segment.cells.len()
                    && segment.cells[at] != 0
                    && hash_of(segment.cells[at]) == hash
                {
                    let leaf = leaf_of(segment.cells[at]);
                    if !leaves.contains(&leaf) {
                        leaves.push(leaf);
                    }
                    at += 1;
                    seen += 1;
                }
                f(hash, &leaves);
            }
            match segment.next_prefix() {
                Some(next) => cursor = next,
                None => break,
            }
        }
        0
    }

    /// Frees one segment; false if there is none. The index is of no use afterwards.
    pub(crate) fn free_segment(&mut self) -> bool {
        match self.segments.len().checked_sub(1) {
            Some(last) => {
                let segment = self.segments.swap_remove(last);
                self.cell_bytes -= heap_bytes_of(&segment.cells);
                true
            }
            None => false,
        }
    }

    /// Bytes of all heap blocks of the index, O(1).
    pub(crate) fn heap_bytes(&self) -> usize {
        heap_bytes_of(&self.directory) + self.segments.heap_bytes() + self.cell_bytes
    }

    /// The same, recomputed by walking.
    pub(crate) fn heap_bytes_walked(&self) -> usize {
        let cells: usize = self.segments.iter().map(|segment| heap_bytes_of(&segment.cells)).sum();
        heap_bytes_of(&self.directory) + self.segments.heap_bytes_walked() + cells
    }

    #[inline]
    fn segment_of(&self, hash: u32) -> u32 {
        match self.depth {
            0 => 0,
            depth => self.directory[(hash >> (32 - depth)) as usize],
        }
    }

    fn may_split(&self, depth: u32) -> bool {
        depth < self.depth
            || (depth < 24
                && self.directory.len() <= self.segments.len() as usize * DIRECTORY_SHARE_MAX)
    }

    fn resize(&mut self, id: u32, wanted: usize) {
        let segment = &mut self.segments[id];
        self.cell_bytes -= heap_bytes_of(&segment.cells);
        let cells = std::mem::take(&mut segment.cells);
        segment.refill(&cells.iter().copied().filter(|&c| c != 0), wanted);
        self.cell_bytes += heap_bytes_of(&segment.cells);
    }

    fn split(&mut self, id: u32) {
        if self.segments[id].depth == self.depth {
            let doubled: Vec<u32> = match self.depth {
                0 => vec![id; 2],
                _ => self.directory.iter().flat_map(|&segment| [segment, segment]).collect(),
            };
            self.directory = doubled;
            self.depth += 1;
        }
        let segment = &mut self.segments[id];
        self.cell_bytes -= heap_bytes_of(&segment.cells);
        let depth = segment.depth + 1;
        let bit = 1u32 << (32 - depth);
        let cells = std::mem::take(&mut segment.cells);
        let (low, high): (Vec<u64>, Vec<u64>) =
            cells.into_iter().filter(|&c| c != 0).partition(|&c| hash_of(c) & bit == 0);
        segment.depth = depth;
        let mut right = Segment::new(segment.prefix | bit, depth, 0);
        segment.refill(&low.iter().copied(), low.len() * 5 / 4);
        right.refill(&high.iter().copied(), high.len() * 5 / 4);
        self.cell_bytes += heap_bytes_of(&segment.cells) + heap_bytes_of(&right.cells);
        let right = self.segments.push(right);
        self.point_to(right);
    }

    /// Joins a segment with the one that it was split from, as long as both are nearly empty.
    fn join(&mut self, mut id: u32) {
        loop {
            let segment = &self.segments[id];
            if segment.depth == 0 {
                break;
            }
            let bit = 1u32 << (32 - segment.depth);
            let other = self.segment_of(segment.prefix ^ bit);
            let total = segment.len + self.segments[other].len;
            if self.segments[other].depth != segment.depth || total as usize > JOINED_MAX {
                break;
            }
            let (low, high) = if segment.prefix & bit == 0 { (id, other) } else { (other, id) };
            let right = std::mem::take(&mut self.segments[high].cells);
            let left = &mut self.segments[low];
            self.cell_bytes -= heap_bytes_of(&left.cells) + heap_bytes_of(&right);
            let cells = std::mem::take(&mut left.cells);
            left.depth -= 1;
            let all = cells.iter().chain(&right).copied().filter(|&c| c != 0);
            left.refill(&all, total as usize * 4 / 3);
            self.cell_bytes += heap_bytes_of(&left.cells);
            self.point_to(low);
            self.segments.swap_remove(high);
            let moved = self.segments.len();
            if high < moved {
                self.point_to(high);
            }
            id = if low == moved { high } else { low };
        }
        self.halve_directory();
    }

    /// Lets the directory's cells of a segment's prefix name it.
    fn point_to(&mut self, id: u32) {
        if self.depth == 0 {
            return;
        }
        let segment = &self.segments[id];
        let first = (segment.prefix >> (32 - self.depth)) as usize;
        let cells = 1usize << (self.depth - segment.depth);
        self.directory[first..first + cells].fill(id);
    }

    /// Halves the directory while no segment needs all of its bits.
    fn halve_directory(&mut self) {
        // Looked at only where halving is likely, so that the check is paid for by removals.
        while self.depth > 0 && self.segments.len() as usize <= self.directory.len() / 2 {
            if self.directory.chunks_exact(2).any(|pair| pair[0] != pair[1]) {
                return;
            }
            self.depth -= 1;
            self.directory = match self.depth {
                0 => Vec::new(),
                _ => self.directory.iter().step_by(2).copied().collect(),
            };
        }
    }
}

impl Segment {
    fn new(prefix: u32, depth: u32, cells: usize) -> Segment {
        Segment { cells: vec![0; cells], len: 0, prefix, depth }
    }

    /// Position of the first cell that is not empty and whose hash is not below `hash`, or of
    /// the empty cell where it would be.
    #[inline]
    fn first_not_below(&self, hash: u32) -> usize {
        let mut at = self.home(hash);
        while at < self.cells.len() && self.cells[at] != 0 && hash_of(self.cells[at]) < hash {
            at += 1;
        }
        at
    }

    fn find(&self, wanted: u64) -> Option<usize> {
        let start = self.first_not_below(hash_of(wanted));
        let cells = self.cells[start..].iter().take_while(|&&c| hash_of(c) == hash_of(wanted));
        cells.clone().position(|&c| c == wanted).map(|at| start + at)
    }

    /// Adds a cell; fails if there is no empty one behind its place.
    fn insert(&mut self, new: u64) -> bool {
        let mut at = self.first_not_below(hash_of(new));
        let Some(empty) = self.cells[at..].iter().position(|&c| c == 0) else {
            return false;
        };
        let empty = at + empty;
        while at < empty && hash_of(self.cells[at]) == hash_of(new) {
            at += 1;
        }
        self.cells.copy_within(at..empty, at + 1);
        self.cells[at] = new;
        self.len += 1;
        true
    }

    fn remove_at(&mut self, mut at: usize) {
        while at + 1 < self.cells.len() {
            let next = self.cells[at + 1];
            if next == 0 || self.home(hash_of(next)) > at {
                break;
            }
            self.cells[at] = next;
            at += 1;
        }
        self.cells[at] = 0;
        self.len -= 1;
    }

    /// Where the cell of `hash` would be if no other were in its way.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        // The last cells are nobody's home: room for what is moved on at the end.
        let homes = self.cells.len() - self.cells.len() / 16;
        ((u64::from(hash << self.depth) * homes as u64) >> 32) as usize
    }

    fn has_room(&self) -> bool {
        (self.len as usize + 1) * 8 <= self.cells.len() * 7
    }

    /// Replaces all cells by `cells`, which are in hash order, with room for `wanted`.
    fn refill(&mut self, cells: &(impl Iterator<Item = u64> + Clone), wanted: usize) {
        let mut wanted = wanted.max(SEGMENT_CELLS_MIN);
        loop {
            let count = good_size(wanted * size_of::<u64>()) / size_of::<u64>();
            self.cells = Vec::new();
            self.cells.reserve_exact(count);
            self.cells.resize(count, 0);
            self.len = 0;
            let mut end = 0;
            let fits = cells.clone().all(|c| {
                let at = self.home(hash_of(c)).max(end);
                end = at + 1;
                self.len += 1;
                self.cells.get_mut(at).map(|cell| *cell = c).is_some()
            });
            if fits {
                return;
            }
            wanted = count + count / 8 + 1;
        }
    }

    /// The first hash behind those of this segment.
    fn next_prefix(&self) -> Option<u32> {
        match self.depth {
            0 => None,
            depth => self.prefix.checked_add(1 << (32 - depth)),
        }
    }
}

#[inline]
fn cell(hash: u32, leaf: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(leaf + 1)
}

#[inline]
fn hash_of(cell: u64) -> u32 {
    (cell >> 32) as u32
}

#[inline]
fn leaf_of(cell: u64) -> u32 {
    cell as u32 - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn check(index: &MemberIndex, model: &BTreeMap<(u32, u32), u32>) {
        assert_eq!(index.heap_bytes(), index.heap_bytes_walked());
        let mut scanned = Vec::new();
        let mut cursor = 0;
        loop {
            cursor = index.scan(cursor, 7, &mut |hash, leaves| {
                scanned.extend(leaves.iter().map(|&leaf| (hash, leaf)));
            });
            if cursor == 0 {
                break;
            }
        }
        scanned.sort_unstable();
        assert!(scanned.iter().eq(model.keys()));
        for &(hash, leaf) in model.keys() {
            assert!(index.candidates(hash).any(|candidate| candidate == leaf));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn equals_a_multiset(
            rounds in prop::collection::vec((any::<u8>(), 0usize..1500, any::<u64>()), 1..6),
        ) {
            let (mut index, mut model) = (MemberIndex::new(), BTreeMap::new());
            for (kind, steps, seed) in rounds {
                let mut state = seed | 1;
                for _ in 0..steps {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    let hash = (state >> if kind & 8 == 0 { 32 } else { 56 }) as u32;
                    let leaf = state as u32 & 3;
                    match kind % 3 {
                        0 | 1 => {
                            index.insert(hash, leaf);
                            *model.entry((hash, leaf)).or_insert(0) += 1;
                        }
                        _ => {
                            let from = model.range((hash, leaf)..).next().or(model.iter().next());
                            let Some((&(hash, leaf), _)) = from else { break };
                            if kind & 16 == 0 {
                                index.remove(hash, leaf);
                            } else {
                                index.relocate(hash, leaf, leaf ^ 1);
                                *model.entry((hash, leaf ^ 1)).or_insert(0) += 1;
                            }
                            let left = model.get_mut(&(hash, leaf)).unwrap();
                            *left -= 1;
                            if *left == 0 {
                                model.remove(&(hash, leaf));
                            }
                        }
                    }
                }
                check(&index, &model);
            }
            for ((hash, leaf), times) in std::mem::take(&mut model) {
                for _ in 0..times {
                    index.remove(hash, leaf);
                }
            }
            check(&index, &model);
            prop_assert!(index.heap_bytes() < 1024, "{} bytes left", index.heap_bytes());
        }
    }
}
