//! Where blocks come from: mimalloc, and runs for segments.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use libmimalloc_sys::{
    mi_collect, mi_free, mi_malloc, mi_malloc_aligned, mi_zalloc, mi_zalloc_aligned,
};

use super::sizes::{aligned_request, good_size, real_size, request};
use super::{
    COUNTERS, INDEX, THREADS, allocate as allocate_raw, assigned_thread, block_layout, count,
    pages, release as release_raw, runs,
};

/// As `INFO memory` calls it.
pub const NAME: &str = "mimalloc";

/// When what is free outside of segments was last to go back, by the clock of who said so.
static COLLECTED_MS: AtomicU64 = AtomicU64::new(0);

/// A block for a layout, or null.
///
/// # Safety
/// As for `GlobalAlloc::alloc`.
#[inline]
pub(super) unsafe fn allocate(layout: Layout) -> *mut u8 {
    // SAFETY: plain calls; `request` and `aligned_request` only enlarge the size.
    let block = unsafe {
        if layout.align() <= 16 {
            mi_malloc(request(layout))
        } else {
            mi_malloc_aligned(aligned_request(layout), layout.align())
        }
    };
    block.cast()
}

/// [`allocate`] with every byte 0.
///
/// # Safety
/// As for `GlobalAlloc::alloc_zeroed`.
#[inline]
pub(super) unsafe fn allocate_zeroed(layout: Layout) -> *mut u8 {
    // SAFETY: as in `allocate`.
    let block = unsafe {
        if layout.align() <= 16 {
            mi_zalloc(request(layout))
        } else {
            mi_zalloc_aligned(aligned_request(layout), layout.align())
        }
    };
    block.cast()
}

/// Gives a block back.
///
/// # Safety
/// As for `GlobalAlloc::dealloc`.
#[inline]
pub(super) unsafe fn release(block: *mut u8, _layout: Layout) {
    // SAFETY: the caller gives back what `allocate` gave.
    unsafe { mi_free(block.cast()) }
}

/// Whether the block of one layout serves the other, and is counted as the same.
#[inline]
pub(super) fn same_block(one: Layout, other: Layout) -> bool {
    real_size(one) == real_size(other)
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

/// [`allocate_raw`] for what a table's segments lie in: from runs, unless it is small.
pub(crate) fn allocate_segment(size: usize) -> NonNull<u8> {
    let real = good_size(size);
    if !runs::serves(real) {
        return allocate_raw(size);
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
        return unsafe { release_raw(block, size) };
    }
    count(-(real as i64));
    // SAFETY: passed on; blocks of this size come from there.
    index_apart(|| unsafe { runs::release(block, real) });
}

/// Counts what `f` allocates for the index of runs there, and not as the thread's: that counts
/// what its structures hold, to the byte.
pub(super) fn index_apart<R>(f: impl FnOnce() -> R) -> R {
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

#[cfg(test)]
mod tests {
    use std::alloc::GlobalAlloc;

    use libmimalloc_sys::{mi_good_size, mi_usable_size};

    use super::super::CountingAllocator;
    use super::super::sizes::ALIGNED_MAX;
    use super::*;

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
}
