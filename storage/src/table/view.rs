//! The views of an entry that the table hands out.

use std::marker::PhantomData;
use std::ptr::NonNull;

use super::entry::{AUX_MAX, RawEntry, TAG_MASK};

/// Bytes of a payload that is a pointer.
pub const POINTER_LEN: usize = size_of::<*mut ()>();

/// An entry of a table, for reading.
#[derive(Clone, Copy)]
pub struct EntryRef<'a> {
    pub(super) raw: RawEntry<'a>,
    table: PhantomData<&'a u8>,
}

impl<'a> EntryRef<'a> {
    /// # Safety
    /// The entry is live for `'a` and not changed meanwhile.
    #[inline]
    pub(super) unsafe fn new(raw: RawEntry<'a>) -> EntryRef<'a> {
        EntryRef { raw, table: PhantomData }
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        // SAFETY: live for `'a`, by construction.
        unsafe { self.raw.key() }
    }

    /// The four bits that the owner of the table chose.
    #[inline]
    pub fn tag(&self) -> u8 {
        self.raw.flags() & TAG_MASK
    }

    /// The 24 bits of access information; 0 in tables without.
    #[inline]
    pub fn aux(&self) -> u32 {
        self.raw.aux()
    }

    /// When the entry expires, in unix milliseconds.
    #[inline]
    pub fn expiry(&self) -> Option<i64> {
        self.raw.expiry()
    }

    /// The value's bytes.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        // SAFETY: live for `'a`, by construction.
        unsafe { self.raw.payload() }
    }

    /// The pointer that [`EntryMut::set_pointer`] has put into the payload.
    ///
    /// # Panics
    /// If the payload has not the length of a pointer.
    #[inline]
    pub fn pointer(&self) -> *mut () {
        let payload = self.payload();
        assert_eq!(payload.len(), POINTER_LEN);
        // SAFETY: so many bytes can be read, and any bytes are a pointer.
        unsafe { payload.as_ptr().cast::<*mut ()>().read_unaligned() }
    }

    /// Bytes that the entry takes in its segment, its index cell, and its own block if any.
    pub fn heap_bytes(&self) -> usize {
        self.raw.size() + super::segment::CELL_LEN + self.raw.blob_bytes()
    }
}

/// An entry of a table, for changes that keep its length.
pub struct EntryMut<'a> {
    raw: RawEntry<'a>,
    table: PhantomData<&'a mut u8>,
}

impl<'a> EntryMut<'a> {
    /// # Safety
    /// The entry is live for `'a` and the caller has the only access to it.
    #[inline]
    pub(super) unsafe fn new(raw: RawEntry<'a>) -> EntryMut<'a> {
        EntryMut { raw, table: PhantomData }
    }

    /// The entry for reading from now on.
    #[inline]
    pub fn into_ref(self) -> EntryRef<'a> {
        // SAFETY: nothing can change it through `self` any more.
        unsafe { EntryRef::new(self.raw) }
    }

    /// The entry for reading.
    #[inline]
    pub fn as_ref(&self) -> EntryRef<'_> {
        // SAFETY: borrowed from `self`, so not changed meanwhile.
        unsafe { EntryRef::new(self.raw) }
    }

    /// Sets the access information; nothing in tables without.
    #[inline]
    pub fn set_aux(&mut self, aux: u32) {
        // SAFETY: the only access, by construction.
        unsafe { self.raw.write_aux(aux & AUX_MAX) }
    }

    /// Sets the owner's four bits.
    #[inline]
    pub fn set_tag(&mut self, tag: u8) {
        // SAFETY: the only access, by construction.
        unsafe { self.raw.write_tag(tag & TAG_MASK) }
    }

    /// The value's bytes; their number stays.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        // SAFETY: the only access, by construction.
        unsafe { self.raw.payload_mut() }
    }

    /// Makes the payload a pointer, which stays one: as bytes it would lose its provenance.
    ///
    /// # Panics
    /// If the payload has not the length of a pointer.
    #[inline]
    pub fn set_pointer(&mut self, pointer: NonNull<()>) {
        let payload = self.payload_mut();
        assert_eq!(payload.len(), POINTER_LEN);
        // SAFETY: so many bytes can be written.
        unsafe { payload.as_mut_ptr().cast::<NonNull<()>>().write_unaligned(pointer) }
    }
}
