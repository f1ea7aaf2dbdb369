//! A value's own heap block: for payloads and keys too long to lie in a segment.
//!
//! A `Blob` is a plain record that is copied in and out of entries; whoever removes the entry
//! frees the block.

use std::ptr::{self, NonNull};
use std::slice;

use crate::memory::{allocate, good_size, release};

/// The longest content of one block.
pub const BLOB_MAX: usize = 1 << 31;

/// Raw blocks are aligned to 16 bytes, so there are no smaller ones.
const CAPACITY_MIN: usize = 16;

/// From here on spare capacity grows by this much instead of doubling (as sds does).
const SPARE_MAX: usize = 1 << 20;

/// What a block that must grow gets beyond the length asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Spare {
    /// Nothing: this may be all that is ever written.
    None,
    /// As much again, up to 1 MiB: a value that has grown before goes on growing.
    ForMore,
}

/// `capacity` bytes at `block`, the first `len` of them in use.
///
/// Invariant: `capacity` is a size class, so it is exactly what the allocator set aside.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Blob {
    block: NonNull<u8>,
    len: u32,
    capacity: u32,
}

impl Blob {
    /// A block that holds the two parts one after the other, without spare capacity.
    pub(super) fn new(first: &[u8], second: &[u8]) -> Blob {
        let mut blob = Blob::with_capacity(first.len() + second.len());
        blob.fill(first, second);
        blob
    }

    fn with_capacity(capacity: usize) -> Blob {
        assert!(capacity <= BLOB_MAX, "a value is longer than {BLOB_MAX} bytes");
        let capacity = good_size(capacity.max(CAPACITY_MIN));
        Blob { block: allocate(capacity), len: 0, capacity: capacity as u32 }
    }

    fn fill(&mut self, first: &[u8], second: &[u8]) {
        debug_assert!(first.len() + second.len() <= self.capacity as usize);
        let at = self.block.as_ptr();
        // SAFETY: the block is ours alone and holds both parts.
        unsafe {
            ptr::copy_nonoverlapping(first.as_ptr(), at, first.len());
            ptr::copy_nonoverlapping(second.as_ptr(), at.add(first.len()), second.len());
        }
        self.len = (first.len() + second.len()) as u32;
    }

    /// Replaces the content, in place if the block has just the right size; frees the old block
    /// otherwise.
    ///
    /// # Safety
    /// `self` is live; only the result is used afterwards.
    pub(super) unsafe fn replaced(mut self, first: &[u8], second: &[u8]) -> Blob {
        if good_size((first.len() + second.len()).max(CAPACITY_MIN)) == self.capacity as usize {
            self.fill(first, second);
            return self;
        }
        // SAFETY: passed on from the caller.
        unsafe { self.free() };
        Blob::new(first, second)
    }

    /// Changes the length, keeps the content and fills with zeros.
    ///
    /// # Safety
    /// `self` is live; only the result is used afterwards.
    pub(super) unsafe fn resized(self, len: usize, spare: Spare) -> Blob {
        let old = self.len as usize;
        let mut blob = self;
        let fits = len <= self.capacity as usize && len >= self.capacity as usize / 4;
        if !fits {
            let grows_again = len > old && spare == Spare::ForMore;
            let spare = if grows_again { len.min(SPARE_MAX) } else { 0 };
            blob = Blob::with_capacity((len + spare).min(BLOB_MAX.max(len)));
            // SAFETY: both blocks hold that many bytes; the old one is freed once.
            unsafe {
                ptr::copy_nonoverlapping(self.block.as_ptr(), blob.block.as_ptr(), old.min(len));
                self.free();
            }
        }
        if len > old {
            // SAFETY: within the capacity.
            unsafe { blob.block.as_ptr().add(old).write_bytes(0, len - old) };
        }
        blob.len = len as u32;
        blob
    }

    /// # Safety
    /// `self` is live and not used afterwards.
    pub(super) unsafe fn free(self) {
        // SAFETY: allocated with exactly this size.
        unsafe { release(self.block, self.capacity as usize) }
    }

    /// # Safety
    /// `self` is live for `'a` and not changed meanwhile.
    pub(super) unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: `len` bytes are initialised.
        unsafe { slice::from_raw_parts(self.block.as_ptr(), self.len as usize) }
    }

    /// # Safety
    /// `self` is live for `'a` and the caller has the only access to it.
    pub(super) unsafe fn bytes_mut<'a>(self) -> &'a mut [u8] {
        // SAFETY: `len` bytes are initialised.
        unsafe { slice::from_raw_parts_mut(self.block.as_ptr(), self.len as usize) }
    }

    pub(super) fn len(self) -> usize {
        self.len as usize
    }

    pub(super) fn heap_bytes(self) -> usize {
        self.capacity as usize
    }
}
