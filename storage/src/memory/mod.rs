//! The allocator that counts, and the sizes it really hands out.
//!
//! Every account in Ballast is kept in *real* bytes: what mimalloc sets aside for a request, not
//! what was asked for. [`good_size`] computes that without a call; [`CountingAllocator`] applies
//! it to every allocation of the process, so the accounts of the tables can be checked against an
//! independent count.
//!
//! Invariant: the block behind a layout `l` has exactly `real_size(l)` bytes. `realloc` keeps it
//! true by moving whenever the size class changes (mimalloc alone would keep a block that is up
//! to twice too large).

mod pages;
mod runs;

use std::alloc::{GlobalAlloc, Layout, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use libmimalloc_sys::{
    mi_collect, mi_free, mi_malloc, mi_malloc_aligned, mi_zalloc, mi_zalloc_aligned,
};

/// Requests up to this size are looked up in a table.
const SMALL_MAX: usize = 1024;
/// Beyond this size a request gets its own pages.
const LARGE_MAX: usize = 512 * 1024;

static SMALL: [u16; SMALL_MAX / 8 + 1] = small_classes();

const fn small_classes() -> [u16; SMALL_MAX / 8 + 1] {
    let mut table = [0; SMALL_MAX / 8 + 1];
    let mut words = 1;
    while words < table.len() {
        table[words] = class_size(words * 8) as u16;
        words += 1;
    }
    table
}

/// mimalloc's classes: multiples of 16 bytes up to 128 (and 8), then four per doubling.
const fn class_size(n: usize) -> usize {
    if n <= 8 {
        return 8;
    }
    if n <= 128 {
        return (n + 15) & !15;
    }
    let top = usize::BITS - 1 - (n - 1).leading_zeros();
    let step = 1 << (top - 2);
    (n + step - 1) & !(step - 1)
}

/// Requests of their own pages are rounded so that they can be reused.
const fn huge_size(n: usize) -> usize {
    let step = if n < 2 << 20 {
        64 << 10
    } else if n < 8 << 20 {
        256 << 10
    } else if n < 32 << 20 {
        1 << 20
    } else {
        4 << 20
    };
    match n.checked_next_multiple_of(step) {
        Some(size) => size,
        None => n,
    }
}

/// The bytes of the block that the allocator hands out for a request of `n` bytes; 0 for none.
#[inline]
pub const fn good_size(n: usize) -> usize {
    if n <= SMALL_MAX {
        SMALL[n.div_ceil(8)] as usize
    } else if n <= LARGE_MAX {
        class_size(n)
    } else {
        huge_size(n)
    }
}

/// Up to this size a power of two is aligned by itself.
const ALIGNED_MAX: usize = 4096;

/// What to ask for where more than 16 bytes of alignment are wanted.
const fn aligned_request(layout: Layout) -> usize {
    let (size, align) = (layout.size(), layout.align());
    let larger = if size > align { size } else { align };
    if larger <= ALIGNED_MAX { larger.next_power_of_two() } else { size }
}

/// The bytes that stand behind an allocation of this layout.
#[inline]
fn real_size(layout: Layout) -> usize {
    if layout.align() <= 16 { good_size(request(layout)) } else { aligned_size(layout) }
}

#[cold]
fn aligned_size(layout: Layout) -> usize {
    let request = aligned_request(layout);
    if request.max(layout.align()) <= ALIGNED_MAX {
        good_size(request)
    } else {
        // mimalloc takes enough for an aligned part to be inside.
        good_size(request.max(16) + layout.align() - 1)
    }
}

/// A block of 8 bytes is aligned to 8 only, all others to 16.
#[inline]
fn request(layout: Layout) -> usize {
    layout.size().max(layout.align())
}

/// mimalloc, with every byte it hands out counted per thread.
#[derive(Debug, Default, Clone, Copy)]
pub struct CountingAllocator;

// SAFETY: blocks come from mimalloc with at least the size and alignment asked for (`request` and
// `aligned_request` only enlarge the size), and go back to it once.
unsafe impl GlobalAlloc for CountingAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: plain calls; a null result is passed on as the trait wants it.
        let block = unsafe {
            if layout.align() <= 16 {
                mi_malloc(request(layout))
            } else {
                mi_malloc_aligned(aligned_request(layout), layout.align())
            }
        };
        if !block.is_null() {
            count(real_size(layout) as i64);
        }
        block.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(real_size(layout) as i64));
        // SAFETY: the caller gives back what `alloc` gave.
        unsafe { mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let block = unsafe {
            if layout.align() <= 16 {
                mi_zalloc(request(layout))
            } else {
                mi_zalloc_aligned(aligned_request(layout), layout.align())
            }
        };
        if !block.is_null() {
            count(real_size(layout) as i64);
        }
        block.cast()
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size` is valid for this alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if real_size(wanted) == real_size(layout) {
            return block;
        }
        // SAFETY: the new block is fresh, so it does not overlap the old one, and both hold the
        // bytes copied.
        unsafe {
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

/// Threads with a counter of their own; later ones share the last counter.
const COUNTERS: usize = 512;

/// One cache line each, so that counting threads do not disturb one another.
#[repr(align(128))]
struct Counter(AtomicI64);

static THREADS: [Counter; COUNTERS] = [const { Counter(AtomicI64::new(0)) }; COUNTERS];
static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);
/// What the runs' index takes, in no thread's counter.
static INDEX: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);
/// When what is free outside of segments was last to go back, by the clock of who said so.
static COLLECTED_MS: AtomicU64 = AtomicU64::new(0);

const UNASSIGNED: usize = usize::MAX;

thread_local! {
    static THREAD: Cell<usize> = const { Cell::new(UNASSIGNED) };
}

#[inline]
fn count(bytes: i64) {
    if !crate::ACCOUNTS {
        return;
    }
    let thread = THREAD.get();
    if thread < COUNTERS - 1 {
        // Only this thread writes its counter, so no read-modify-write is needed.
        let counter = &THREADS[thread].0;
        counter.store(counter.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    } else {
        count_elsewhere(bytes);
    }
}

#[cold]
fn count_elsewhere(bytes: i64) {
    THREADS[assigned_thread()].0.fetch_add(bytes, Ordering::Relaxed);
}

fn assigned_thread() -> usize {
    if THREAD.get() == UNASSIGNED {
        THREAD.set(NEXT_THREAD.fetch_add(1, Ordering::Relaxed).min(COUNTERS - 1));
    }
    THREAD.get()
}

/// All bytes that the process holds through [`CountingAllocator`] now.
pub fn used_bytes() -> u64 {
    let threads = (NEXT_THREAD.load(Ordering::Relaxed) + 1).min(COUNTERS);
    let sum: i64 = THREADS[..threads].iter().map(|c| c.0.load(Ordering::Relaxed)).sum();
    let sum = sum + INDEX.load(Ordering::Relaxed);
    // A block freed by another thread than its allocator's makes one counter negative; the sum of
    // a racing read may be off by what moved meanwhile.
    let used = sum.max(0) as u64;
    PEAK.fetch_max(used, Ordering::Relaxed);
    used
}

/// What this thread allocated minus what it freed; negative when it frees others' blocks. Threads
/// beyond the 511th share one counter.
pub fn thread_used_bytes() -> i64 {
    THREADS[assigned_thread()].0.load(Ordering::Relaxed)
}

/// The largest value that [`used_bytes`] has returned (it is sampled, not tracked).
pub fn peak_bytes() -> u64 {
    used_bytes().max(PEAK.load(Ordering::Relaxed))
}

/// Forgets the peak (CONFIG RESETSTAT keeps it, as in Redis; tests and demos do not).
pub fn reset_peak() {
    PEAK.store(0, Ordering::Relaxed);
}

/// Gives pages back to the system (`MEMORY PURGE`): those that this thread has freed, and those of
/// all threads' segments.
pub fn purge() {
    // SAFETY: touches only free memory of the calling thread's heap.
    unsafe { mi_collect(true) }
    index_apart(runs::purge);
}

/// Has memory that was left unused for a second go back to the system: what this thread's segments
/// have left, and what is free elsewhere. For the periodic work of a thread whose tables come and
/// go; `now_ms` is the time by its clock in milliseconds. A thread that gives way to all others
/// does it, and from the first call on nothing else but [`purge`] gives pages back.
pub fn return_unused(now_ms: u64) {
    let thread = assigned_thread();
    if index_apart(|| runs::look(thread, now_ms)) {
        pages::give_back(thread % runs::ARENAS);
    }
    if now_ms.abs_diff(COLLECTED_MS.load(Ordering::Relaxed)) >= runs::UNUSED_MS {
        COLLECTED_MS.store(now_ms, Ordering::Relaxed);
        pages::collect();
    }
}

/// Bytes of [`used_bytes`] that the allocator itself needs to know where segments are.
pub fn index_bytes() -> u64 {
    INDEX.load(Ordering::Relaxed).max(0) as u64
}

/// Counts what `f` allocates for the index of runs there, and not as the thread's: that counts
/// what its structures hold, to the byte.
fn index_apart<R>(f: impl FnOnce() -> R) -> R {
    let thread = assigned_thread();
    if thread == COUNTERS - 1 {
        // Counted together with others, whose part cannot be told.
        return f();
    }
    let counted = || THREADS[thread].0.load(Ordering::Relaxed);
    let before = counted();
    let result = f();
    let grown = counted() - before;
    if grown != 0 {
        count(-grown);
        INDEX.fetch_add(grown, Ordering::Relaxed);
    }
    result
}

/// Tells the system not to back this process with huge pages, for a program to call first: of
/// each, a small heap touches little, and pages that are given back one by one would break them
/// up anyway. Without effect where the system has none.
pub fn refuse_huge_pages() {
    #[cfg(target_os = "linux")]
    // SAFETY: changes a property of the process only; an error changes nothing.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
}

/// Alignment of raw blocks: their address leaves four low bits free.
const BLOCK_ALIGN: usize = 16;

/// A raw block of `size` ≥ 16 bytes, uninitialised, aligned to 16.
pub(crate) fn allocate(size: usize) -> NonNull<u8> {
    let layout = block_layout(size);
    // SAFETY: the size is not zero.
    let block = unsafe { std::alloc::alloc(layout) };
    NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Gives a raw block back.
///
/// # Safety
/// `block` came from [`allocate`] with this size and is not used afterwards.
pub(crate) unsafe fn release(block: NonNull<u8>, size: usize) {
    // SAFETY: the same layout as at allocation, by the caller's promise.
    unsafe { std::alloc::dealloc(block.as_ptr(), block_layout(size)) }
}

/// [`allocate`] for what a table's segments lie in: from runs, unless it is small.
pub(crate) fn allocate_segment(size: usize) -> NonNull<u8> {
    let real = good_size(size);
    if !runs::serves(real) {
        return allocate(size);
    }
    let block = index_apart(|| runs::allocate(real, assigned_thread()));
    count(real as i64);
    block.unwrap_or_else(|| handle_alloc_error(block_layout(size)))
}

/// Gives the block of a segment back.
///
/// # Safety
/// `block` came from [`allocate_segment`] with this size and is not used afterwards.
pub(crate) unsafe fn release_segment(block: NonNull<u8>, size: usize) {
    let real = good_size(size);
    if !runs::serves(real) {
        // SAFETY: passed on; blocks of this size come from there.
        return unsafe { release(block, size) };
    }
    count(-(real as i64));
    // SAFETY: passed on; blocks of this size come from there.
    index_apart(|| unsafe { runs::release(block, real) });
}

/// Asks the processor to load the first `lines` cache lines of a value.
#[inline(always)]
pub fn prefetch_value<T>(value: &T, lines: usize) {
    let start: *const u8 = std::ptr::from_ref(value).cast();
    for line in 0..lines.min(size_of::<T>().div_ceil(64)) {
        prefetch(start.wrapping_add(line * 64));
    }
}

/// Asks the processor to load the cache line at an address; any address is allowed.
#[inline(always)]
pub(crate) fn prefetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint that reads nothing the program could see.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

fn block_layout(size: usize) -> Layout {
    debug_assert!(size >= BLOCK_ALIGN, "a smaller block would be counted wrongly");
    Layout::from_size_align(size, BLOCK_ALIGN).expect("a block fits the address space")
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmimalloc_sys::{mi_good_size, mi_usable_size};

    fn usable(n: usize) -> usize {
        // SAFETY: the block is freed once and not used in between.
        unsafe {
            let block = mi_malloc(n);
            let size = mi_usable_size(block);
            mi_free(block);
            size
        }
    }

    #[test]
    fn good_size_is_what_the_allocator_hands_out() {
        assert_eq!(good_size(0), 0);
        for n in 1..=66_000 {
            // SAFETY: a pure function.
            assert_eq!(good_size(n), unsafe { mi_good_size(n) }, "of {n}");
        }
        let around = |n: usize| [n - 1, n, n + 1];
        let quarters = (12..23).flat_map(|b| (4..8).map(move |q| q << (b - 2)));
        for n in (1..3000).chain(quarters.flat_map(around)) {
            assert_eq!(good_size(n), usable(n), "of {n}");
        }
        for n in (1..200).map(|i| i * 77_777).chain([33 << 20, (33 << 20) + 1]) {
            assert_eq!(good_size(n), usable(n), "of {n}");
        }
    }

    #[test]
    fn aligned_requests_are_aligned_without_hidden_waste() {
        for align in (0..=14).map(|b| 1 << b) {
            for size in [1, 8, 17, 100, 128, 129, 1000, 4096, 5000, 17_000, 70_000, 600_000] {
                let layout = Layout::from_size_align(size, align).expect("valid");
                // SAFETY: freed with its layout.
                unsafe {
                    let block = CountingAllocator.alloc(layout);
                    assert_eq!(block as usize % align, 0, "{layout:?}");
                    let real = mi_usable_size(block.cast());
                    assert!(real <= real_size(layout), "{layout:?}: {real}");
                    if size.max(align) <= ALIGNED_MAX {
                        assert_eq!(real, real_size(layout), "{layout:?}");
                    }
                    CountingAllocator.dealloc(block, layout);
                }
            }
        }
    }

    #[test]
    fn reallocation_keeps_content_and_count() {
        let before = thread_used_bytes();
        let mut layout = Layout::from_size_align(10, 1).expect("valid");
        // SAFETY: each block is used within its size and freed once.
        unsafe {
            let mut block = CountingAllocator.alloc(layout);
            block.write_bytes(7, 10);
            for size in [12, 100, 5000, 700_000, 2500, 13] {
                block = CountingAllocator.realloc(block, layout, size);
                layout = Layout::from_size_align(size, 1).expect("valid");
                assert_eq!(thread_used_bytes() - before, good_size(size) as i64);
                assert_eq!(mi_usable_size(block.cast()), good_size(size));
                assert_eq!(std::slice::from_raw_parts(block, 10), [7; 10]);
            }
            CountingAllocator.dealloc(block, layout);
        }
        assert_eq!(thread_used_bytes(), before);
    }

    #[test]
    fn the_sum_covers_other_threads() {
        let layout = Layout::from_size_align(1 << 24, 8).expect("valid");
        let address = std::thread::spawn(move || {
            // SAFETY: freed below by the other thread.
            (unsafe { CountingAllocator.alloc(layout) }) as usize
        })
        .join()
        .expect("no panic");
        assert!(used_bytes() >= 1 << 24 && peak_bytes() >= 1 << 24);
        let before = thread_used_bytes();
        // SAFETY: allocated above with the same layout.
        unsafe { CountingAllocator.dealloc(address as *mut u8, layout) };
        assert_eq!(thread_used_bytes(), before - (1 << 24));
    }
}
