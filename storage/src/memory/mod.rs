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

#[cfg(not(ballast_system_alloc))]
mod mimalloc;
#[cfg(not(ballast_system_alloc))]
mod pages;
#[cfg(not(ballast_system_alloc))]
mod runs;
mod scheduling;
mod sizes;
#[cfg(ballast_system_alloc)]
mod system;

use std::alloc::{GlobalAlloc, Layout, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

#[cfg(not(ballast_system_alloc))]
use self::mimalloc as heap;
use self::sizes::real_size;
#[cfg(ballast_system_alloc)]
use self::system as heap;
use crate::work;

pub use self::heap::{NAME as ALLOCATOR, purge, return_unused};
pub(crate) use self::heap::{allocate_segment, release_segment};
pub use self::scheduling::give_way;
pub use self::sizes::good_size;

/// mimalloc, with every byte it hands out counted per thread.
#[derive(Debug, Default, Clone, Copy)]
pub struct CountingAllocator;

// SAFETY: blocks come from the heap with at least the size and alignment asked for, and go back to
// it once.
unsafe impl GlobalAlloc for CountingAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        let block = unsafe { heap::allocate(layout) };
        work::allocated(layout.size());
        if !block.is_null() {
            count(real_size(layout) as i64);
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        work::step();
        count(-(real_size(layout) as i64));
        // SAFETY: passed on; the caller gives back what `alloc` gave.
        unsafe { heap::release(block, layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        let block = unsafe { heap::allocate_zeroed(layout) };
        work::allocated(layout.size());
        if !block.is_null() {
            count(real_size(layout) as i64);
        }
        block
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size` is valid for this alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if heap::same_block(layout, wanted) {
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
const COUNTERS: usize = 8192;

/// One cache line each, so that counting threads do not disturb one another.
#[repr(align(128))]
struct Counter(AtomicI64);

static THREADS: [Counter; COUNTERS] = [const { Counter(AtomicI64::new(0)) }; COUNTERS];
static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);
/// What the runs' index takes, in no thread's counter.
static INDEX: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

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
/// beyond the 8,191st share one counter.
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

/// Bytes of [`used_bytes`] that the allocator itself needs to know where segments are.
pub fn index_bytes() -> u64 {
    INDEX.load(Ordering::Relaxed).max(0) as u64
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
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a hint that reads nothing the program could see.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = at;
}

fn block_layout(size: usize) -> Layout {
    debug_assert!(size >= BLOCK_ALIGN, "a smaller block would be counted wrongly");
    Layout::from_size_align(size, BLOCK_ALIGN).expect("a block fits the address space")
}

#[cfg(test)]
mod tests {
    use super::*;

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
                #[cfg(not(ballast_system_alloc))]
                assert_eq!(libmimalloc_sys::mi_usable_size(block.cast()), good_size(size));
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
