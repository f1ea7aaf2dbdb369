//! How an entry lies in a segment.
//!
//! ```text
//! flags 1 | key length 1 | payload length 1 | aux 3 (if the table has it) | expiry 8 (if set) |
//!   short:  key | payload
//!   medium: key | payload                              payload length is 256 more than its byte
//!   blob:   key | Blob of the payload (16)             payload longer than INLINE_MAX
//!   far:    Blob of key and payload (16) | key length 4   key longer than KEY_INLINE_MAX
//! ```
//! Entries are packed without alignment; all access is unaligned.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;
use std::slice;

use super::NewEntry;
use super::blob::Blob;

/// The longest payload that lies in the entry.
///
/// Blocks of their own are an eighth too large on average, by the allocator's size classes, and
/// take a pointer; inside a segment a payload takes its length. But each longer one costs as much
/// copying when it changes its length.
pub const INLINE_MAX: usize = 2 * SHORT_MAX + 1;
/// The longest payload of a short entry.
const SHORT_MAX: usize = 255;
/// The longest key that lies in the entry.
pub const KEY_INLINE_MAX: usize = 255;

pub(super) const TAG_MASK: u8 = 0x0f;
/// What it means is the table's: see `cut`.
pub(super) const PARITY: u8 = 0x10;
const TAG_AND_PARITY: u8 = TAG_MASK | PARITY;
const EXPIRES: u8 = 0x20;
const KIND_SHIFT: u32 = 6;
const BLOB_LEN: usize = size_of::<Blob>();
const FAR_LEN: usize = BLOB_LEN + 4;
pub(super) const AUX_MAX: u32 = 0xff_ffff;

/// Bytes before the optional expiry.
pub(super) const HEADER_PLAIN: u8 = 3;
pub(super) const HEADER_AUX: u8 = 6;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Short = 0,
    Blob = 1,
    Far = 2,
    Medium = 3,
}

impl Kind {
    /// Whether the payload has a block of its own.
    #[inline]
    pub(super) fn has_blob(self) -> bool {
        matches!(self, Kind::Blob | Kind::Far)
    }
}

/// The form that an entry takes: where its parts go and how many segment bytes it needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) size: usize,
}

impl Shape {
    #[inline]
    pub(super) fn of(header: u8, expires: bool, key: usize, payload: usize) -> Shape {
        let fixed = header as usize + if expires { 8 } else { 0 };
        if key > KEY_INLINE_MAX {
            Shape { kind: Kind::Far, size: fixed + FAR_LEN }
        } else if payload > INLINE_MAX {
            Shape { kind: Kind::Blob, size: fixed + key + BLOB_LEN }
        } else {
            let kind = if payload > SHORT_MAX { Kind::Medium } else { Kind::Short };
            Shape { kind, size: fixed + key + payload }
        }
    }
}

/// The place of an entry that lives for `'t`.
///
/// Invariant: made only for addresses of live entries (`unsafe fn new`), so its safe functions,
/// which read and keep no reference, are sound. There may be several for one entry: whoever writes
/// through one says that it has the only access.
#[derive(Clone, Copy)]
pub(super) struct RawEntry<'t> {
    at: *mut u8,
    header: u8,
    live: PhantomData<&'t u8>,
}

impl<'t> RawEntry<'t> {
    /// # Safety
    /// `at` is the first byte of an entry written by [`RawEntry::write`] (or about to be: then
    /// nothing is read before) in a table of this header length, and stays so for `'t`.
    #[inline]
    pub(super) unsafe fn new(at: *mut u8, header: u8) -> RawEntry<'t> {
        RawEntry { at, header, live: PhantomData }
    }

    #[inline]
    pub(super) fn flags(self) -> u8 {
        // SAFETY: by the type's invariant.
        unsafe { *self.at }
    }

    #[inline]
    pub(super) fn kind(self) -> Kind {
        match self.flags() >> KIND_SHIFT {
            0 => Kind::Short,
            1 => Kind::Blob,
            2 => Kind::Far,
            _ => Kind::Medium,
        }
    }

    /// Whether the payload has a block of its own.
    #[inline]
    pub(super) fn has_blob(self) -> bool {
        self.kind().has_blob()
    }

    #[inline]
    fn key_byte(self) -> usize {
        // SAFETY: by the type's invariant.
        unsafe { *self.at.add(1) as usize }
    }

    /// The length of a payload that lies in the entry.
    #[inline]
    fn inline_len(self) -> usize {
        let more = if self.kind() == Kind::Medium { SHORT_MAX + 1 } else { 0 };
        // SAFETY: by the type's invariant.
        more + unsafe { *self.at.add(2) as usize }
    }

    #[inline]
    pub(super) fn expires(self) -> bool {
        self.flags() & EXPIRES != 0
    }

    #[inline]
    fn body(self) -> *mut u8 {
        let skip = self.header as usize + (self.flags() & EXPIRES) as usize / 4;
        // SAFETY: inside the entry.
        unsafe { self.at.add(skip) }
    }

    #[inline]
    pub(super) fn size(self) -> usize {
        let fixed = self.header as usize + (self.flags() & EXPIRES) as usize / 4;
        match self.kind() {
            Kind::Short | Kind::Medium => fixed + self.key_byte() + self.inline_len(),
            Kind::Blob => fixed + self.key_byte() + BLOB_LEN,
            Kind::Far => fixed + FAR_LEN,
        }
    }

    #[inline]
    pub(super) fn expiry(self) -> Option<i64> {
        if !self.expires() {
            return None;
        }
        // SAFETY: the flag says that 8 bytes of expiry follow the header.
        Some(unsafe { ptr::read_unaligned(self.at.add(self.header as usize).cast()) })
    }

    /// Sets the expiry of an entry that has room for one.
    ///
    /// # Safety
    /// The caller has the only access to the entry, which has room.
    pub(super) unsafe fn write_expiry(self, expiry: i64) {
        debug_assert!(self.expires());
        // SAFETY: as in `expiry`, and by the caller's promise.
        unsafe { ptr::write_unaligned(self.at.add(self.header as usize).cast(), expiry) }
    }

    #[inline]
    pub(super) fn aux(self) -> u32 {
        if self.header != HEADER_AUX {
            return 0;
        }
        // SAFETY: three bytes of aux follow the lengths.
        let bytes = unsafe { [*self.at.add(3), *self.at.add(4), *self.at.add(5), 0] };
        u32::from_le_bytes(bytes)
    }

    /// # Safety
    /// The caller has the only access to the entry.
    #[inline]
    pub(super) unsafe fn write_aux(self, aux: u32) {
        debug_assert!(aux <= AUX_MAX);
        if self.header == HEADER_AUX {
            let bytes = aux.to_le_bytes();
            // SAFETY: as in `aux`, and by the caller's promise.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.at.add(3), 3) }
        }
    }

    /// # Safety
    /// The caller has the only access to the entry.
    pub(super) unsafe fn write_tag(self, tag: u8) {
        debug_assert!(tag <= TAG_MASK);
        // SAFETY: the first byte of the entry, and by the caller's promise.
        unsafe { *self.at = self.flags() & !TAG_MASK | tag }
    }

    /// Zero, or [`PARITY`].
    #[inline]
    pub(super) fn parity(self) -> u8 {
        self.flags() & PARITY
    }

    /// Tag and parity, as a [`NewEntry`] inside the table has them.
    #[inline]
    pub(super) fn tag_and_parity(self) -> u8 {
        self.flags() & TAG_AND_PARITY
    }

    /// # Safety
    /// The caller has the only access to the entry.
    #[inline]
    pub(super) unsafe fn write_parity(self, parity: u8) {
        debug_assert!(parity & !PARITY == 0);
        // SAFETY: the first byte of the entry, and by the caller's promise.
        unsafe { *self.at = self.flags() & !PARITY | parity }
    }

    /// The blob of a blob or far entry.
    #[inline]
    pub(super) fn blob(self) -> Blob {
        // SAFETY: the kind says where the record lies.
        unsafe { ptr::read_unaligned(self.blob_at().cast()) }
    }

    /// # Safety
    /// The caller has the only access to the entry, and nothing uses its old blob afterwards.
    pub(super) unsafe fn write_blob(self, blob: Blob) {
        // SAFETY: as in `blob`, and by the caller's promise.
        unsafe { ptr::write_unaligned(self.blob_at().cast(), blob) }
    }

    #[inline]
    fn blob_at(self) -> *mut u8 {
        debug_assert!(self.has_blob());
        let key = if self.kind() == Kind::Blob { self.key_byte() } else { 0 };
        // SAFETY: inside the entry.
        unsafe { self.body().add(key) }
    }

    #[inline]
    fn far_key_len(self) -> usize {
        // SAFETY: a far entry ends with the length of its key.
        let len: u32 = unsafe { ptr::read_unaligned(self.body().add(BLOB_LEN).cast()) };
        len as usize
    }

    /// # Safety
    /// The entry is live for `'a` and not changed meanwhile.
    #[inline]
    pub(super) unsafe fn key<'a>(self) -> &'a [u8] {
        // SAFETY: the lengths are those of initialised bytes.
        unsafe {
            match self.kind() {
                Kind::Far => &self.blob().bytes()[..self.far_key_len()],
                _ => slice::from_raw_parts(self.body(), self.key_byte()),
            }
        }
    }

    /// Whether the entry is that of `key`.
    #[inline]
    pub(super) fn has_key(self, key: &[u8]) -> bool {
        // A far entry has 0 as the length of its key.
        if self.key_byte() == key.len() && !key.is_empty() {
            // SAFETY: the entry has a key of this length.
            unsafe { same_bytes(self.body(), key.as_ptr(), key.len()) }
        } else {
            self.has_odd_key(key)
        }
    }

    /// [`Self::has_key`] where the lengths differ, or a length says nothing.
    #[cold]
    #[inline(never)]
    fn has_odd_key(self, key: &[u8]) -> bool {
        if key.is_empty() {
            return self.key_byte() == 0 && self.kind() != Kind::Far;
        }
        // SAFETY: the slice lives only inside this call.
        key.len() > KEY_INLINE_MAX && self.kind() == Kind::Far && unsafe { self.key() } == key
    }

    /// # Safety
    /// The entry is live for `'a` and not changed meanwhile.
    #[inline]
    pub(super) unsafe fn payload<'a>(self) -> &'a [u8] {
        // SAFETY: the lengths are those of initialised bytes.
        unsafe {
            match self.kind() {
                Kind::Short | Kind::Medium => {
                    slice::from_raw_parts(self.body().add(self.key_byte()), self.inline_len())
                }
                Kind::Blob => self.blob().bytes(),
                Kind::Far => &self.blob().bytes()[self.far_key_len()..],
            }
        }
    }

    /// # Safety
    /// The entry is live for `'a` and the caller has the only access to it.
    #[inline]
    pub(super) unsafe fn payload_mut<'a>(self) -> &'a mut [u8] {
        // SAFETY: the lengths are those of initialised bytes.
        unsafe {
            match self.kind() {
                Kind::Short | Kind::Medium => {
                    let at = self.body().add(self.key_byte());
                    slice::from_raw_parts_mut(at, self.inline_len())
                }
                Kind::Blob => self.blob().bytes_mut(),
                Kind::Far => &mut self.blob().bytes_mut()[self.far_key_len()..],
            }
        }
    }

    /// Bytes outside the segment.
    #[inline]
    pub(super) fn blob_bytes(self) -> usize {
        if self.has_blob() { self.blob().heap_bytes() } else { 0 }
    }

    /// Writes a whole entry; a blob given is reused or freed.
    ///
    /// # Safety
    /// `shape.size` bytes at the entry's place are writable and belong to nobody else; `shape` is
    /// that of these arguments; `old` is live and no other entry holds it.
    #[inline]
    pub(super) unsafe fn write(
        self,
        shape: Shape,
        key: &[u8],
        new: &NewEntry<'_>,
        old: Option<Blob>,
    ) {
        let expires = if new.expiry.is_some() { EXPIRES } else { 0 };
        let flags = new.tag & TAG_AND_PARITY | expires | (shape.kind as u8) << KIND_SHIFT;
        let key_byte = if shape.kind == Kind::Far { 0 } else { key.len() as u8 };
        let payload_byte = if shape.kind.has_blob() { 0 } else { new.payload.len() as u8 };
        let aux = new.aux.to_le_bytes();
        let start = [flags, key_byte, payload_byte, aux[0], aux[1], aux[2]];
        let skip = self.header as usize + expires as usize / 4;
        // SAFETY: all writes stay within `shape.size`, by the layout in the module's doc; key and
        // payload are borrowed from outside the table, so they do not overlap.
        unsafe {
            if self.header == HEADER_AUX {
                self.at.cast::<[u8; 6]>().write(start);
            } else {
                self.at.cast::<[u8; 3]>().write([start[0], start[1], start[2]]);
            }
            if let Some(expiry) = new.expiry {
                self.write_expiry(expiry);
            }
            let body = self.at.add(skip);
            if shape.kind.has_blob() {
                return self.write_blob_entry(shape, key, new.payload, old);
            }
            ptr::copy_nonoverlapping(key.as_ptr(), body, key.len());
            let at = body.add(key.len());
            ptr::copy_nonoverlapping(new.payload.as_ptr(), at, new.payload.len());
            if let Some(blob) = old {
                blob.free();
            }
        }
    }

    /// # Safety
    /// As [`RawEntry::write`], whose second half this is.
    unsafe fn write_blob_entry(self, shape: Shape, key: &[u8], payload: &[u8], old: Option<Blob>) {
        let first = if shape.kind == Kind::Far { key } else { &[] };
        if shape.kind == Kind::Blob {
            // SAFETY: a blob entry has the key before the blob.
            unsafe { ptr::copy_nonoverlapping(key.as_ptr(), self.body(), key.len()) };
        }
        let blob = match old {
            // SAFETY: live and ours, by the caller's promise.
            Some(blob) => unsafe { blob.replaced(first, payload) },
            None => Blob::new(first, payload),
        };
        // SAFETY: ours to write, by the caller's promise.
        unsafe { self.write_blob(blob) };
        if shape.kind == Kind::Far {
            // SAFETY: a far entry ends with the length of its key.
            unsafe {
                ptr::write_unaligned(self.body().add(BLOB_LEN).cast(), key.len() as u32);
            }
        }
    }

    /// Writes the same payload length in place; the tag comes with the parity.
    ///
    /// # Safety
    /// The caller has the only access; the payload lies in the entry and has this length.
    #[inline]
    pub(super) unsafe fn overwrite(self, tag: u8, aux: u32, payload: &[u8]) {
        // SAFETY: by the caller's promise; the first byte is the entry's.
        unsafe {
            *self.at = self.flags() & !TAG_AND_PARITY | tag;
            self.write_aux(aux);
            let at = self.body().add(self.key_byte());
            ptr::copy_nonoverlapping(payload.as_ptr(), at, payload.len());
        }
    }

    /// A copy of the entry's bytes.
    pub(super) fn image(self) -> Image {
        let mut bytes = [MaybeUninit::uninit(); SIZE_MAX];
        let len = self.size();
        // SAFETY: the entry has that many bytes, and no entry has more than `SIZE_MAX`.
        unsafe { ptr::copy_nonoverlapping(self.at.cast(), bytes.as_mut_ptr(), len) };
        Image { bytes, len, header: self.header }
    }

    /// Writes a copied entry with another expiry.
    ///
    /// # Safety
    /// The image's length, corrected by the bytes of the expiry, is writable here and belongs to
    /// nobody else.
    pub(super) unsafe fn write_image(self, image: &Image, expiry: Option<i64>) {
        let body = &image.bytes[image.body()..image.len];
        // SAFETY: by the caller's promise.
        unsafe {
            ptr::copy_nonoverlapping(image.bytes.as_ptr().cast(), self.at, self.header as usize);
            *self.at = image.flags() & !EXPIRES | if expiry.is_some() { EXPIRES } else { 0 };
            if let Some(expiry) = expiry {
                self.write_expiry(expiry);
            }
            ptr::copy_nonoverlapping(body.as_ptr().cast(), self.body(), body.len());
        }
    }

    #[inline]
    pub(super) fn is_inline_of(self, payload: usize) -> bool {
        !self.has_blob() && self.inline_len() == payload
    }

    #[inline]
    pub(super) fn as_ptr(self) -> *mut u8 {
        self.at
    }
}

/// Whether `len` bytes are the same; keys are mostly short, and then this is no call.
///
/// # Safety
/// Both addresses have `len` readable bytes.
#[inline]
unsafe fn same_bytes(a: *const u8, b: *const u8, len: usize) -> bool {
    // SAFETY: all words read lie inside the `len` bytes.
    unsafe {
        let differs = |at: usize| {
            let (a, b) = (a.add(at).cast::<u64>(), b.add(at).cast::<u64>());
            a.read_unaligned() ^ b.read_unaligned()
        };
        match len {
            8..=16 => differs(0) | differs(len - 8) == 0,
            17..=32 => differs(0) | differs(8) | differs(len - 16) | differs(len - 8) == 0,
            _ => same_slices(slice::from_raw_parts(a, len), slice::from_raw_parts(b, len)),
        }
    }
}

/// Kept out of the searches, which are copied into their callers.
#[inline(never)]
fn same_slices(a: &[u8], b: &[u8]) -> bool {
    a == b
}

/// The longest entry.
const SIZE_MAX: usize = HEADER_AUX as usize + 8 + KEY_INLINE_MAX + INLINE_MAX;

/// A copy of an entry, to be written to another place.
///
/// Invariant: the first `len` bytes are those of the entry. They may hold pointers (a [`Blob`], or
/// what the table's owner has put into the payload), which stay pointers only as long as they are
/// not read as integers: hence `MaybeUninit`.
pub(super) struct Image {
    bytes: [MaybeUninit<u8>; SIZE_MAX],
    len: usize,
    header: u8,
}

impl Image {
    /// The key and the payload of an entry without blob.
    pub(super) fn inline_parts(&self) -> (&[u8], &[u8]) {
        let body = &self.bytes[self.body()..self.len];
        // SAFETY: initialised, by the type's invariant.
        let body = unsafe { slice::from_raw_parts(body.as_ptr().cast::<u8>(), body.len()) };
        // SAFETY: as in `flags`.
        body.split_at(unsafe { self.bytes[1].assume_init() } as usize)
    }

    fn flags(&self) -> u8 {
        // SAFETY: an entry has a header, which holds no pointer.
        unsafe { self.bytes[0].assume_init() }
    }

    /// Where the key begins, or the blob of a far entry.
    fn body(&self) -> usize {
        self.header as usize + (self.flags() & EXPIRES) as usize / 4
    }
}
