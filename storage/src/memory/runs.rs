//! Blocks of 2 to 64 KiB for segments: runs of units in chunks of 4 MiB, best fit, joined with
//! their free neighbours when they come back.
//!
//! A general allocator keeps a page for blocks of one size. Segments change their size as they
//! grow, those of all slots at about the same time, and leave such pages partly filled: resident
//! memory was 1.32 times what was in use at 1 GiB. Here one size uses what another has given
//! back, and what nobody has used for a second goes back to the system page by page. A block costs
//! more to take than from a general allocator; values, which come and go with each command, have
//! theirs there.
//!
//! Pages never go back from within a command: single calls for that were seen to take over two
//! milliseconds, and while a table grows, what it gives back now it takes again a moment later. So
//! the shards' periodic work decides: what was free *all* the time since it last looked goes back,
//! and sooner only what is far too much. The thread of [`pages`] does it, and makes the next chunk
//! of a large arena resident before it is needed.
//!
//! Each thread takes blocks from an arena of its own; a block returns to the arena it came from,
//! whichever thread frees it, since slots move between threads. So the lock of an arena is hardly
//! ever waited for, and it is taken once for a segment, not for a key.
//!
//! Invariant: a chunk is divided into runs without gaps, no two free ones side by side. `tags` has
//! the length of a free run at its first and at its last unit, and [`USED`] at those of a run in
//! use.

use std::collections::{BTreeMap, BTreeSet};
use std::ptr::{self, NonNull};

use parking_lot::Mutex;

use super::pages;

/// Block sizes are multiples of this; so are the allocator's size classes from [`BLOCK_MIN`] on.
const UNIT: usize = 512;
const CHUNK: usize = 4 << 20;
const UNITS: usize = CHUNK / UNIT;
pub(super) const PAGE: usize = 4096;
/// The smallest block that is taken from here.
const BLOCK_MIN: usize = 2 << 10;
/// The largest block that is taken from here.
const BLOCK_MAX: usize = 64 << 10;
/// Arenas; threads beyond that share.
pub(super) const ARENAS: usize = 64;
/// The first unit of a chunk says whose it is.
const HEADER_UNITS: usize = 1;
/// What is left of a chunk.
const CHUNK_RUN: u16 = (UNITS - HEADER_UNITS) as u16;

/// The tag of a run in use; free ones have their length.
const USED: u16 = 0;

/// Of free memory that nobody needs so much stays resident: a part of what is in use…
const RESIDENT_PART: usize = 32;
/// … and no less than this.
const RESIDENT_UNITS_MIN: usize = (1 << 20) / UNIT;
/// An arena with so much in use has its next chunk prepared, and keeps the one it cuts from.
const AHEAD_UNITS_MIN: usize = 4 * UNITS;
/// Beyond this multiple of that, free memory goes back even if it was in use a moment ago.
const RESIDENT_FACTOR_MAX: usize = 3;
/// How long memory must have been free to count as unused, in milliseconds.
pub(super) const UNUSED_MS: u64 = 1000;

static ALL: [Mutex<Arena>; ARENAS] = [const { Mutex::new(Arena::new()) }; ARENAS];

/// At the start of each chunk.
struct Header {
    arena: u32,
    chunk: u32,
}

/// Whether blocks of this size, which is one of the allocator's size classes, come from here.
#[inline]
pub(super) const fn serves(size: usize) -> bool {
    size >= BLOCK_MIN && size <= BLOCK_MAX
}

/// A block of `size` bytes for the calling thread, which is the `thread`th; none if the system
/// has no memory.
pub(super) fn allocate(size: usize, thread: usize) -> Option<NonNull<u8>> {
    debug_assert!(serves(size) && size.is_multiple_of(UNIT));
    let number = thread % ARENAS;
    let mut arena = ALL[number].lock();
    let chunks = arena.chunks.len();
    let block = arena.take(size / UNIT, number);
    if arena.chunks.len() > chunks && arena.is_large() {
        drop(arena);
        pages::prepare(number);
    }
    block
}

/// Gives an arena a chunk for when it next needs one, and makes it resident.
pub(super) fn place_ahead(number: usize) {
    let arena = &ALL[number];
    // Only the one thread that is here ever places one.
    if arena.lock().ahead.is_some() {
        return;
    }
    let Some(chunk) = super::mimalloc::index_apart(|| Chunk::map(number)) else { return };
    let (base, tags) = (chunk.base.as_ptr(), chunk.tags.as_ptr());
    // It can be taken at once: what is in it already stays as it is.
    arena.lock().ahead = Some(chunk);
    pages::populate(tags.cast(), UNITS * size_of::<u16>());
    pages::populate(base, CHUNK);
}

/// Gives a block back.
///
/// # Safety
/// It came from [`allocate`] with this size, and nothing uses it any more.
pub(super) unsafe fn release(block: NonNull<u8>, size: usize) {
    let start = block.as_ptr().map_addr(|at| at & !(CHUNK - 1));
    // SAFETY: the block lies in a chunk, which begins with its header and is never unmapped.
    let header = unsafe { &*start.cast::<Header>() };
    let unit = (block.as_ptr().addr() - start.addr()) / UNIT;
    ALL[header.arena as usize].lock().give(
        Run { chunk: header.chunk, start: unit as u16 },
        size / UNIT,
        size / UNIT,
    );
}

/// Gives all that is free back to the system (`MEMORY PURGE`): of every thread, since one that has
/// ended may have left blocks in slots of another.
pub(super) fn purge() {
    for arena in &ALL {
        let runs = {
            let mut arena = arena.lock();
            arena.take_in_ahead();
            arena.resident.len()
        };
        for _ in 0..runs {
            return_run(arena, Arena::longest);
        }
    }
}

/// Decides what is to go back to the system of the `thread`th thread's arena; whether there is
/// something.
pub(super) fn look(thread: usize, now_ms: u64) -> bool {
    let mut arena = ALL[thread % ARENAS].lock();
    arena.look(now_ms);
    arena.owed_units > 0
}

/// Gives the longest run that an arena owes back to the system; false if it owes nothing.
pub(super) fn return_longest(number: usize) -> bool {
    super::mimalloc::index_apart(|| return_run(&ALL[number], Arena::longest_owed))
}

/// Gives the pages of a free run back to the system: nobody waits for the arena's lock meanwhile.
fn return_run(arena: &Mutex<Arena>, choose: impl FnOnce(&mut Arena) -> Option<(u16, Run)>) -> bool {
    let taken = {
        let mut arena = arena.lock();
        choose(&mut arena).map(|(len, run)| arena.take_out(len, run))
    };
    let Some((run, units, Pages { start, bytes })) = taken else { return false };
    // SAFETY: inside a run that is taken out, whose contents nobody wants.
    unsafe { pages::discard(start.as_ptr(), bytes) };
    arena.lock().give(run, units, 0);
    true
}

/// Where a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    chunk: u32,
    start: u16,
}

/// What one thread allocates from.
struct Arena {
    chunks: Vec<Chunk>,
    /// The next chunk, which is resident or soon will be.
    ahead: Option<Chunk>,
    /// Free runs by length.
    free: BTreeSet<(u16, Run)>,
    /// Those that hold whole pages, some of which are resident: how many units may be.
    resident: BTreeMap<(u16, Run), u16>,
    resident_units: usize,
    used_units: usize,
    /// The fewest units that were resident and free since `looked_ms`: what nobody needed.
    unused_units: usize,
    looked_ms: u64,
    /// Units that are to go back to the system.
    owed_units: usize,
}

/// Whole pages of a chunk.
struct Pages {
    start: NonNull<u8>,
    bytes: usize,
}

struct Chunk {
    base: NonNull<u8>,
    tags: Box<[u16]>,
}

// SAFETY: a chunk is memory that belongs to its arena.
unsafe impl Send for Chunk {}

impl Arena {
    const fn new() -> Arena {
        Arena {
            chunks: Vec::new(),
            ahead: None,
            free: BTreeSet::new(),
            resident: BTreeMap::new(),
            resident_units: 0,
            used_units: 0,
            unused_units: 0,
            looked_ms: 0,
            owed_units: 0,
        }
    }

    /// The shortest free run of at least `units`, cut to them.
    fn take(&mut self, units: usize, arena: usize) -> Option<NonNull<u8>> {
        let shortest = (units as u16, Run { chunk: 0, start: 0 });
        let (len, run) = match self.free.range(shortest..).next() {
            Some(found) => *found,
            None => self.grow(arena)?,
        };
        let resident = self.forget(len, run);
        let rest = len - units as u16;
        if rest > 0 {
            let start = run.start + units as u16;
            self.note(rest, Run { start, ..run }, resident.saturating_sub(units as u16));
        }
        let chunk = &mut self.chunks[run.chunk as usize];
        chunk.mark(run.start, units as u16, USED);
        self.used_units += units;
        self.unused_units = self.unused_units.min(self.resident_units);
        // SAFETY: inside the chunk.
        Some(unsafe { chunk.base.add(usize::from(run.start) * UNIT) })
    }

    /// Takes a run back, of which `resident` units may be resident.
    fn give(&mut self, run: Run, units: usize, resident: usize) {
        self.used_units -= units;
        let (mut start, mut len) = (run.start, units as u16);
        let mut resident = resident as u16;
        let tags = &self.chunks[run.chunk as usize].tags;
        let before = tags[usize::from(start) - 1];
        let after = tags.get(usize::from(start + len)).copied().unwrap_or(USED);
        if after != USED {
            resident += self.forget(after, Run { start: start + len, ..run });
            len += after;
        }
        if before != USED {
            start -= before;
            resident += self.forget(before, Run { start, ..run });
            len += before;
        }
        self.note(len, Run { start, ..run }, resident);
    }

    /// Enters a free run.
    fn note(&mut self, len: u16, run: Run, resident: u16) {
        self.chunks[run.chunk as usize].mark(run.start, len, len);
        self.free.insert((len, run));
        if resident > 0 && pages_of(len, run).is_some() {
            self.resident.insert((len, run), resident);
            self.resident_units += usize::from(resident);
        }
    }

    /// Takes a free run out; answers how much of it may be resident.
    fn forget(&mut self, len: u16, run: Run) -> u16 {
        let known = self.free.remove(&(len, run));
        debug_assert!(known, "a free run is entered");
        let resident = self.resident.remove(&(len, run));
        self.resident_units -= usize::from(resident.unwrap_or(0));
        // What is too short for a whole page never goes back to the system by itself.
        resident.unwrap_or(if pages_of(len, run).is_none() { len } else { 0 })
    }

    /// Decides how much is to go back: what was unused since the last look, if that is long
    /// enough ago, and at once what is too much in any case.
    fn look(&mut self, now_ms: u64) {
        if !self.is_large() {
            // What was prepared for it goes the way of all that is free.
            self.take_in_ahead();
        }
        let least = if self.is_large() { UNITS } else { RESIDENT_UNITS_MIN };
        let kept = (self.used_units / RESIDENT_PART).max(least);
        if now_ms.abs_diff(self.looked_ms) >= UNUSED_MS {
            self.owed_units = self.unused_units.saturating_sub(kept);
            self.unused_units = self.resident_units;
            self.looked_ms = now_ms;
        }
        let too_much = self.resident_units.saturating_sub(kept * RESIDENT_FACTOR_MAX);
        self.owed_units = self.owed_units.max(too_much);
    }

    /// The longest run with pages to give back.
    fn longest(&mut self) -> Option<(u16, Run)> {
        self.resident.last_key_value().map(|(run, _)| *run)
    }

    /// The longest run with pages to give back, while some are owed. Of a large arena those in the
    /// newest chunk stay: they were prepared, and are needed next.
    fn longest_owed(&mut self) -> Option<(u16, Run)> {
        if self.owed_units == 0 {
            return None;
        }
        let newest = self.chunks.len().saturating_sub(1) as u32;
        let spared = self.is_large().then_some(newest);
        let mut longest_first = self.resident.keys().rev();
        let longest = longest_first.find(|(_, run)| Some(run.chunk) != spared).copied();
        if longest.is_none() {
            // What was free has been taken meanwhile, or is spared.
            self.owed_units = 0;
        }
        longest
    }

    /// Takes a free run out to give its pages back.
    fn take_out(&mut self, len: u16, run: Run) -> (Run, usize, Pages) {
        let resident = self.forget(len, run);
        self.owed_units = self.owed_units.saturating_sub(usize::from(resident));
        self.unused_units = self.unused_units.min(self.resident_units);
        self.used_units += usize::from(len);
        let chunk = &mut self.chunks[run.chunk as usize];
        chunk.mark(run.start, len, USED);
        let (first, count) = pages_of(len, run).expect("only such are entered");
        // SAFETY: inside the chunk.
        let start = unsafe { chunk.base.add(first * PAGE) };
        (run, usize::from(len), Pages { start, bytes: count * PAGE })
    }

    /// Enters the chunk that was prepared, or else a fresh one, as a free run.
    #[cold]
    fn grow(&mut self, arena: usize) -> Option<(u16, Run)> {
        self.take_in_ahead().or_else(|| self.add(Chunk::map(arena)?, 0))
    }

    fn take_in_ahead(&mut self) -> Option<(u16, Run)> {
        let chunk = self.ahead.take()?;
        self.add(chunk, CHUNK_RUN)
    }

    fn add(&mut self, chunk: Chunk, resident: u16) -> Option<(u16, Run)> {
        let number = u32::try_from(self.chunks.len()).ok()?;
        // SAFETY: a chunk begins with its header, which nobody else looks at before it is in use.
        unsafe { (*chunk.base.cast::<Header>().as_ptr()).chunk = number };
        self.chunks.push(chunk);
        let run = Run { chunk: number, start: HEADER_UNITS as u16 };
        self.note(CHUNK_RUN, run, resident);
        Some((CHUNK_RUN, run))
    }

    /// Whether it is worth its while to hold a chunk ready.
    fn is_large(&self) -> bool {
        self.used_units >= AHEAD_UNITS_MIN
    }
}

impl Chunk {
    fn map(arena: usize) -> Option<Chunk> {
        let base = map_chunk()?;
        // SAFETY: the chunk is ours, writable, and aligned to its size.
        unsafe { base.cast::<Header>().write(Header { arena: arena as u32, chunk: 0 }) };
        Some(Chunk { base, tags: vec![USED; UNITS].into() })
    }

    /// Tags the ends of a run.
    fn mark(&mut self, start: u16, len: u16, tag: u16) {
        self.tags[usize::from(start)] = tag;
        self.tags[usize::from(start + len) - 1] = tag;
    }
}

/// First and number of the pages that lie wholly inside a run.
fn pages_of(len: u16, run: Run) -> Option<(usize, usize)> {
    let start = usize::from(run.start) * UNIT;
    let end = start + usize::from(len) * UNIT;
    let (first, last) = (start.div_ceil(PAGE), end / PAGE);
    (last > first).then(|| (first, last - first))
}

/// A chunk of fresh memory, aligned to its size.
fn map_chunk() -> Option<NonNull<u8>> {
    // SAFETY: fresh memory, of which what is outside the aligned part goes back at once.
    unsafe {
        let start = libc::mmap(
            ptr::null_mut(),
            2 * CHUNK,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        );
        if start == libc::MAP_FAILED {
            return None;
        }
        let start: *mut u8 = start.cast();
        let skip = start.addr().next_multiple_of(CHUNK) - start.addr();
        let base = start.add(skip);
        if skip > 0 {
            libc::munmap(start.cast(), skip);
        }
        libc::munmap(base.add(CHUNK).cast(), CHUNK - skip);
        NonNull::new(base)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Arena {
        /// Walks all chunks and compares what is found with what is entered; `used` are the
        /// runs in use with their lengths, which the tags do not tell.
        fn check(&self, used: &BTreeMap<Run, usize>) {
            let (mut free, mut found) = (0, 0);
            for (chunk, at) in (0_u32..).zip(&self.chunks) {
                let mut start = HEADER_UNITS as u16;
                let mut last_free = false;
                while usize::from(start) < UNITS {
                    let run = Run { chunk, start };
                    if let Some(units) = used.get(&run) {
                        assert_eq!(at.tags[usize::from(start)], USED);
                        found += units;
                        (start, last_free) = (start + *units as u16, false);
                        continue;
                    }
                    let len = at.tags[usize::from(start)];
                    assert!(!last_free && len > 0, "free neighbours are joined");
                    assert_eq!(at.tags[usize::from(start + len) - 1], len);
                    assert!(self.free.contains(&(len, run)));
                    (start, free, last_free) = (start + len, free + 1, true);
                }
            }
            assert_eq!((free, found), (self.free.len(), self.used_units));
            let resident: usize = self.resident.values().map(|units| usize::from(*units)).sum();
            assert_eq!(resident, self.resident_units);
            assert!(self.resident.keys().all(|run| self.free.contains(run)));
        }
    }

    fn run_of(arena: &Arena, block: NonNull<u8>) -> Run {
        let at = block.as_ptr().addr();
        let chunk = arena.chunks.iter().position(|c| c.base.as_ptr().addr() == at & !(CHUNK - 1));
        let start = (at % CHUNK / UNIT) as u16;
        Run { chunk: chunk.expect("from this arena") as u32, start }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        #[test]
        fn blocks_never_overlap_and_everything_comes_back(
            steps in prop::collection::vec((any::<bool>(), 4_usize..=128, any::<usize>()), 1..600),
        ) {
            let mut arena = Arena::new();
            let mut blocks: Vec<(NonNull<u8>, usize, u8)> = Vec::new();
            for (number, (take, units, pick)) in steps.into_iter().enumerate() {
                if take || blocks.is_empty() {
                    let block = arena.take(units, 0).expect("memory");
                    let mark = number as u8;
                    // SAFETY: the block has so many bytes.
                    unsafe { block.write_bytes(mark, units * UNIT) };
                    blocks.push((block, units, mark));
                } else {
                    let (block, units, mark) = blocks.swap_remove(pick % blocks.len());
                    // SAFETY: a live block.
                    let bytes = unsafe {
                        std::slice::from_raw_parts(block.as_ptr(), units * UNIT)
                    };
                    prop_assert!(bytes.iter().all(|byte| *byte == mark), "nobody else wrote it");
                    let run = run_of(&arena, block);
                    arena.give(run, units, units);
                }
            }
            let used = blocks.iter().map(|(block, units, _)| (run_of(&arena, *block), *units));
            arena.check(&used.collect());
            for (block, units, _) in blocks {
                let run = run_of(&arena, block);
                arena.give(run, units, units);
            }
            arena.check(&BTreeMap::new());
            prop_assert_eq!((arena.used_units, arena.free.len()), (0, arena.chunks.len()));
            while return_in(&mut arena, Arena::longest) {}
            arena.check(&BTreeMap::new());
            prop_assert_eq!((arena.used_units, arena.resident_units), (0, 0));
        }
    }

    fn return_in(arena: &mut Arena, choose: impl FnOnce(&mut Arena) -> Option<(u16, Run)>) -> bool {
        let locked = Mutex::new(std::mem::replace(arena, Arena::new()));
        let returned = return_run(&locked, choose);
        *arena = locked.into_inner();
        returned
    }

    /// Blocks of 32 KiB.
    const LARGE: usize = (32 << 10) / UNIT;

    /// An arena that has just got this many large blocks back, and their pages.
    fn emptied(blocks: usize) -> Arena {
        let mut arena = Arena::new();
        let taken: Vec<_> = (0..blocks).map(|_| arena.take(LARGE, 0).expect("memory")).collect();
        arena.look(UNUSED_MS);
        for block in taken {
            let run = run_of(&arena, block);
            arena.give(run, LARGE, LARGE);
        }
        arena
    }

    #[test]
    fn what_was_free_for_a_second_goes_back() {
        let mut arena = emptied(80);
        let free = 80 * LARGE;
        assert_eq!(arena.resident_units, free);
        arena.look(UNUSED_MS + 100);
        assert!(!return_in(&mut arena, Arena::longest_owed), "it was in use a moment ago");
        // A second later all was free since then, but for what was needed in between.
        arena.look(2 * UNUSED_MS);
        assert!(!return_in(&mut arena, Arena::longest_owed));
        let block = arena.take(LARGE, 0).expect("memory");
        let run = run_of(&arena, block);
        arena.give(run, LARGE, LARGE);
        arena.look(3 * UNUSED_MS);
        while return_in(&mut arena, Arena::longest_owed) {}
        assert!(arena.resident_units < free);
        assert_eq!((arena.owed_units, arena.used_units), (0, 0));
        arena.check(&BTreeMap::new());
    }

    #[test]
    fn far_too_much_free_memory_goes_back_at_once() {
        let mut arena = emptied(1000);
        let mut before = arena.resident_units;
        assert_eq!(before, 1000 * LARGE);
        arena.look(UNUSED_MS + 100);
        while return_in(&mut arena, Arena::longest_owed) {
            assert!(arena.resident_units < before, "each step gets on");
            before = arena.resident_units;
        }
        assert!(arena.resident_units <= RESIDENT_UNITS_MIN * RESIDENT_FACTOR_MAX);
    }

    #[test]
    fn a_large_arena_takes_its_next_chunk_from_what_was_prepared_and_keeps_it() {
        let mut arena = Arena::new();
        let mut taken = Vec::new();
        while !arena.is_large() {
            taken.push(arena.take(LARGE, 0).expect("memory"));
        }
        arena.ahead = Chunk::map(0);
        let prepared = arena.ahead.as_ref().expect("memory").base;
        while arena.ahead.is_some() {
            taken.push(arena.take(LARGE, 0).expect("memory"));
        }
        assert_eq!(arena.chunks.last().map(|chunk| chunk.base), Some(prepared));
        let left = usize::from(CHUNK_RUN) - LARGE;
        assert_eq!(arena.resident_units, left, "as far as we know it is resident");
        for at in [1, 2, 3] {
            arena.look(at * UNUSED_MS);
            assert!(!return_in(&mut arena, Arena::longest_owed));
        }
        // An arena that has become small prepares nothing, and nothing is spared.
        arena.ahead = Chunk::map(0);
        for block in taken {
            let run = run_of(&arena, block);
            arena.give(run, LARGE, LARGE);
        }
        arena.look(4 * UNUSED_MS);
        assert!(arena.ahead.is_none());
        while return_in(&mut arena, Arena::longest_owed) {}
        assert!(arena.resident_units <= RESIDENT_UNITS_MIN * RESIDENT_FACTOR_MAX);
        arena.check(&BTreeMap::new());
    }

    #[test]
    fn a_block_returns_to_the_arena_of_another_thread() {
        let block = allocate(16 << 10, ARENAS + 7).expect("memory");
        let address = block.as_ptr().expose_provenance();
        std::thread::spawn(move || {
            let block = NonNull::new(ptr::with_exposed_provenance_mut(address)).expect("not null");
            // SAFETY: given back once.
            unsafe { release(block, 16 << 10) }
        })
        .join()
        .expect("no panic");
        assert!(ALL[7].lock().used_units < 32, "it came back");
    }

    #[test]
    fn a_purge_reaches_what_an_ended_thread_has_left() {
        // The last arena, which the threads of other tests do not come to.
        let block = allocate(64 << 10, ARENAS - 1).expect("memory");
        // SAFETY: given back once.
        unsafe { release(block, 64 << 10) }
        assert_eq!(ALL[ARENAS - 1].lock().resident_units, (64 << 10) / UNIT);
        purge();
        assert_eq!(ALL[ARENAS - 1].lock().resident_units, 0);
    }
}
