//! Where blocks come from in a build for AddressSanitizer or Miri (`--cfg ballast_system_alloc`):
//! the system's allocator, each block one of its own and exactly as long as was asked for, so that
//! whatever is read or written beside it, or after it has gone, is seen.
//!
//! Accounts stay what they are: a block is counted at the size that mimalloc would hand out.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::NonNull;

use super::{allocate as allocate_raw, release as release_raw};

/// As `INFO memory` calls it.
pub const NAME: &str = "libc";

/// A block for a layout, or null.
///
/// # Safety
/// As for `GlobalAlloc::alloc`.
pub(super) unsafe fn allocate(layout: Layout) -> *mut u8 {
    // SAFETY: passed on.
    unsafe { System.alloc(layout) }
}

/// [`allocate`] with every byte 0.
///
/// # Safety
/// As for `GlobalAlloc::alloc_zeroed`.
pub(super) unsafe fn allocate_zeroed(layout: Layout) -> *mut u8 {
    // SAFETY: passed on.
    unsafe { System.alloc_zeroed(layout) }
}

/// Gives a block back.
///
/// # Safety
/// As for `GlobalAlloc::dealloc`.
pub(super) unsafe fn release(block: *mut u8, layout: Layout) {
    // SAFETY: passed on.
    unsafe { System.dealloc(block, layout) }
}

/// Whether the block of one layout serves the other.
pub(super) fn same_block(one: Layout, other: Layout) -> bool {
    one == other
}

/// Does nothing: the system keeps what is free as it likes.
pub fn purge() {}

/// Does nothing, as [`purge`].
pub fn return_unused(_now_ms: u64) {}

/// A block for a segment.
pub(crate) fn allocate_segment(size: usize) -> NonNull<u8> {
    allocate_raw(size)
}

/// Gives the block of a segment back.
///
/// # Safety
/// `block` came from [`allocate_segment`] with this size and is not used afterwards.
pub(crate) unsafe fn release_segment(block: NonNull<u8>, size: usize) {
    // SAFETY: passed on.
    unsafe { release_raw(block, size) }
}
