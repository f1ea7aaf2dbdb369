//! The sizes of the blocks that mimalloc hands out, computed without asking it.

use std::alloc::Layout;

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
pub(super) const ALIGNED_MAX: usize = 4096;

/// What to ask for where more than 16 bytes of alignment are wanted.
pub(super) const fn aligned_request(layout: Layout) -> usize {
    let (size, align) = (layout.size(), layout.align());
    let larger = if size > align { size } else { align };
    if larger <= ALIGNED_MAX { larger.next_power_of_two() } else { size }
}

/// The bytes that stand behind an allocation of this layout.
#[inline]
pub(super) fn real_size(layout: Layout) -> usize {
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
pub(super) fn request(layout: Layout) -> usize {
    layout.size().max(layout.align())
}
