//! The one hash table: for keyspaces, large hashes and sets, and the dictionaries of sorted sets.
//!
//! A table maps key bytes to four tag bits, 24 bits of access information (only in tables made
//! for it), an optional expiry and a payload of any length. It grows by splitting bounded
//! segments, so no operation moves more than some 32 KiB, and it counts its bytes exactly.
//!
//! ```text
//! Table → (nodes of the directory) → segment: head, index, entries → blobs of long values
//! ```
//! It knows nothing of what the payload means and has no clock.
//!
//! Invariant: `heap_bytes` is the sum of the blocks of nodes, segments and blobs, each counted
//! at its [`good_size`](crate::memory::good_size); a table without entries holds no heap.

mod ahead;
mod blob;
mod cut;
mod directory;
mod entry;
mod iter;
mod segment;
#[cfg(test)]
mod tests;
mod view;

use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

use self::blob::Spare;
use self::directory::{Child, Place, first_segment};
use self::entry::{HEADER_AUX, HEADER_PLAIN, Kind, RawEntry, Shape};
use self::segment::{Full, RawSegment, SegmentCounts};

pub use self::ahead::Ahead;
pub use self::blob::BLOB_MAX;
pub use self::cut::Cut;
pub use self::entry::{INLINE_MAX, KEY_INLINE_MAX};
pub use self::iter::Iter;
pub use self::segment::Segment;
pub use self::view::{EntryMut, EntryRef, POINTER_LEN};

static HASH_KEYS: OnceLock<ahash::RandomState> = OnceLock::new();

/// The hash that all tables of the process use; its keys are random, so that clients cannot
/// choose colliding keys.
#[inline]
pub fn hash_key(key: &[u8]) -> u64 {
    let mut hasher = HASH_KEYS.get_or_init(hash_keys).build_hasher();
    hasher.write(key);
    hasher.finish()
}

#[cold]
fn hash_keys() -> ahash::RandomState {
    if cfg!(test) {
        // Failures of the property tests can be replayed.
        ahash::RandomState::with_seeds(1, 2, 3, 4)
    } else {
        ahash::RandomState::new()
    }
}

/// What the entries of a table have besides key and payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    header: u8,
}

impl Layout {
    /// Entries without access information.
    pub const PLAIN: Layout = Layout { header: HEADER_PLAIN };
    /// Entries with 24 bits for LRU or LFU.
    pub const WITH_AUX: Layout = Layout { header: HEADER_AUX };
}

/// What [`Table::upsert`] stores for a key.
#[derive(Debug, Clone, Copy)]
pub struct NewEntry<'a> {
    /// Four bits for the owner of the table.
    pub tag: u8,
    /// 24 bits of access information; dropped by tables without.
    pub aux: u32,
    /// Unix milliseconds.
    pub expiry: Option<i64>,
    /// The value, at most [`BLOB_MAX`] bytes together with the key.
    pub payload: &'a [u8],
}

/// A hash table whose every byte is accounted for. See the module's documentation.
///
/// All methods that take a `hash` want `hash_key(key)`.
pub struct Table {
    root: Child,
    heap_bytes: usize,
    /// Lower bound of all expiries.
    expiry_min: i64,
    /// The same for what the present walk of [`Table::expire`] has passed, and what came since.
    walked_min: i64,
    /// Where that walk goes on.
    expire_cursor: u64,
    len: u32,
    expiring: u32,
    layout: Layout,
    /// The parity of entries that no walk has to reach, and of new ones.
    parity: u8,
    /// What the owner calls the cut whose walk is not over; [`cut::NONE`] if there is none.
    cut: u8,
}

impl Table {
    /// A table without heap.
    pub const fn new(layout: Layout) -> Table {
        Table {
            root: Child::NONE,
            heap_bytes: 0,
            expiry_min: i64::MAX,
            walked_min: i64::MAX,
            expire_cursor: 0,
            len: 0,
            expiring: 0,
            layout,
            parity: 0,
            cut: cut::NONE,
        }
    }

    /// Number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are no entries.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of entries with an expiry.
    #[inline]
    pub fn expiring_len(&self) -> usize {
        self.expiring as usize
    }

    /// No entry expires before this; `i64::MAX` if none expires at all.
    #[inline]
    pub fn expiry_min(&self) -> i64 {
        self.expiry_min
    }

    /// Bytes on the heap: directory, segments and blobs. O(1).
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// Enters bytes of blocks that came and went.
    #[inline(always)]
    fn book(&mut self, came: usize, went: usize) {
        if crate::ACCOUNTS {
            self.heap_bytes = self.heap_bytes + came - went;
        }
    }

    /// The entry of a key.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<EntryRef<'_>> {
        debug_assert_eq!(hash, hash_key(key));
        // SAFETY: the table is borrowed.
        let segment = unsafe { self.root.find(hash) }?;
        let at = segment.locate(hash, key, self.layout.header).ok()?;
        // SAFETY: live and unchanged while `self` is borrowed.
        Some(unsafe { EntryRef::new(segment.entry(at, self.layout.header)) })
    }

    /// The entry of a key, for changes that keep its length.
    #[inline]
    pub fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<EntryMut<'_>> {
        debug_assert_eq!(hash, hash_key(key));
        // SAFETY: the table is borrowed.
        let segment = unsafe { self.root.find(hash) }?;
        let at = segment.locate(hash, key, self.layout.header).ok()?;
        // SAFETY: the only access while `self` is borrowed mutably.
        Some(unsafe { EntryMut::new(segment.entry(at, self.layout.header)) })
    }

    /// Stores an entry, replacing the key's old one; returns whether the key is new.
    #[inline]
    pub fn upsert(&mut self, hash: u64, key: &[u8], new: NewEntry<'_>) -> bool {
        self.upsert_with(hash, key, new, &mut |_| ())
    }

    /// As [`Table::upsert`]; `seen` is shown the old entry, possibly more than once.
    pub fn upsert_with(
        &mut self,
        hash: u64,
        key: &[u8],
        mut new: NewEntry<'_>,
        seen: &mut impl FnMut(EntryRef<'_>),
    ) -> bool {
        debug_assert_eq!(hash, hash_key(key));
        let header = self.layout.header;
        debug_assert!(new.tag <= entry::TAG_MASK);
        new.tag |= self.parity;
        let shape = Shape::of(header, new.expiry.is_some(), key.len(), new.payload.len());
        loop {
            // SAFETY: used until the table changes its segments, which then is asked again.
            let Some(segment) = (unsafe { self.root.find(hash) }) else {
                self.add_segment(hash, shape.size);
                continue;
            };
            let done = match segment.locate(hash, key, header) {
                Ok(at) => {
                    // SAFETY: unchanged until `seen` has returned.
                    seen(unsafe { EntryRef::new(segment.entry(at, header)) });
                    self.overwrite(segment, at, hash, shape, key, &new).map(|()| false)
                }
                Err(at) => self.insert(segment, at, hash, shape, key, &new).map(|()| true),
            };
            match done {
                Ok(is_new) => return is_new,
                Err(full) => self.make_room(hash, shape.size, full),
            }
        }
    }

    #[inline]
    fn insert(
        &mut self,
        segment: RawSegment<'_>,
        at: usize,
        hash: u64,
        shape: Shape,
        key: &[u8],
        new: &NewEntry<'_>,
    ) -> Result<(), Full> {
        assert!(self.len < u32::MAX, "a table holds less than 2^32 entries");
        // SAFETY: the table is held mutably; the segment sets `size` bytes aside for this entry.
        let entry = unsafe {
            let entry = segment.insert(at, hash, shape.size, self.layout.header)?;
            entry.write(shape, key, new, None);
            entry
        };
        self.book(entry.blob_bytes(), 0);
        self.len += 1;
        if new.expiry.is_some() {
            self.note_expiry(segment, None, new.expiry);
        }
        Ok(())
    }

    #[inline]
    fn overwrite(
        &mut self,
        segment: RawSegment<'_>,
        at: usize,
        hash: u64,
        shape: Shape,
        key: &[u8],
        new: &NewEntry<'_>,
    ) -> Result<(), Full> {
        let entry = segment.entry(at, self.layout.header);
        if entry.is_inline_of(new.payload.len()) && !entry.expires() && new.expiry.is_none() {
            // SAFETY: inline, of this length, and `self` is borrowed mutably.
            unsafe { entry.overwrite(new.tag, new.aux, new.payload) };
            return Ok(());
        }
        self.replace(segment, at, hash, shape, key, new)
    }

    fn replace(
        &mut self,
        segment: RawSegment<'_>,
        at: usize,
        hash: u64,
        shape: Shape,
        key: &[u8],
        new: &NewEntry<'_>,
    ) -> Result<(), Full> {
        let entry = segment.entry(at, self.layout.header);
        let (expiry, blob_bytes, size) = (entry.expiry(), entry.blob_bytes(), entry.size());
        let blob = entry.has_blob().then(|| entry.blob());
        // SAFETY: the table is held mutably, and the entry is written next.
        let entry = unsafe { segment.resize(at, size, shape.size, self.layout.header) }?;
        // SAFETY: the segment has set `size` bytes aside; the old blob belongs to this entry.
        unsafe { entry.write(shape, key, new, blob) };
        self.book(entry.blob_bytes(), blob_bytes);
        self.note_expiry(segment, expiry, new.expiry);
        if shape.size < size {
            self.shrink(segment, hash);
        }
        Ok(())
    }

    /// Sets or clears the expiry of a key; returns whether there is such a key.
    pub fn set_expiry(&mut self, hash: u64, key: &[u8], expiry: Option<i64>) -> bool {
        debug_assert_eq!(hash, hash_key(key));
        loop {
            let Some((segment, at)) = self.locate(hash, key) else { return false };
            let entry = segment.entry(at, self.layout.header);
            let old = entry.expiry();
            match (old, expiry) {
                // SAFETY: it has an expiry already, and the table is held mutably.
                (Some(_), Some(expiry)) => unsafe { entry.write_expiry(expiry) },
                (None, None) => {}
                _ => {
                    if let Err(full) = self.reshape_expiry(segment, at, expiry) {
                        self.make_room(hash, entry.size() + 8, full);
                        continue;
                    }
                }
            }
            self.note_expiry(segment, old, expiry);
            if expiry.is_none() {
                self.shrink(segment, hash);
            }
            return true;
        }
    }

    /// Adds or removes the eight bytes of the expiry.
    fn reshape_expiry(
        &mut self,
        segment: RawSegment<'_>,
        at: usize,
        expiry: Option<i64>,
    ) -> Result<(), Full> {
        let header = self.layout.header;
        let entry = segment.entry(at, header);
        let old = entry.size();
        let new = if expiry.is_some() { old + 8 } else { old - 8 };
        let image = entry.image();
        // SAFETY: the table is held mutably, and the entry is written next.
        let entry = unsafe { segment.resize(at, old, new, header) }?;
        // SAFETY: the segment has set `new` bytes aside for this entry.
        unsafe { entry.write_image(&image, expiry) };
        Ok(())
    }

    /// Changes the length of a key's payload, keeping what fits and filling with zeros, and
    /// returns the payload. A value that has a block and outgrows it gets spare capacity, as in
    /// sds; its first block is as long as asked for, since most values grow once.
    pub fn payload_resize(&mut self, hash: u64, key: &[u8], len: usize) -> Option<&mut [u8]> {
        debug_assert_eq!(hash, hash_key(key));
        let header = self.layout.header;
        let mut spare = Spare::ForMore;
        loop {
            let (segment, at) = self.locate(hash, key)?;
            let entry = segment.entry(at, header);
            let shape = Shape::of(header, entry.expires(), key.len(), len);
            if !entry.has_blob() {
                if let Err(full) = self.resize_inline(segment, at, shape, len) {
                    self.make_room(hash, shape.size, full);
                    continue;
                }
                spare = Spare::None;
            }
            let entry = segment.entry(at, header);
            if entry.has_blob() {
                let before = entry.blob_bytes();
                let skip = if entry.kind() == Kind::Far { key.len() } else { 0 };
                if entry.blob().len() == skip {
                    spare = Spare::None;
                }
                // SAFETY: the entry's blob, replaced at once.
                unsafe { entry.write_blob(entry.blob().resized(skip + len, spare)) };
                self.book(entry.blob_bytes(), before);
            }
            // SAFETY: the only access while `self` is borrowed mutably.
            return Some(unsafe { entry.payload_mut() });
        }
    }

    /// Gives an entry without blob the length `len`, or a blob of the old length if that is too
    /// long.
    fn resize_inline(
        &mut self,
        segment: RawSegment<'_>,
        at: usize,
        shape: Shape,
        len: usize,
    ) -> Result<(), Full> {
        let header = self.layout.header;
        let entry = segment.entry(at, header);
        let image = entry.image();
        let (key, payload) = image.inline_parts();
        let mut padded = [0; INLINE_MAX];
        let kept = payload.len().min(len);
        padded[..kept].copy_from_slice(&payload[..kept]);
        let payload = if shape.kind.has_blob() { payload } else { &padded[..len] };
        let view = EntryView::of(entry);
        // SAFETY: the table is held mutably, and the entry is written next.
        let entry = unsafe { segment.resize(at, entry.size(), shape.size, header) }?;
        let new = NewEntry { tag: view.tag, aux: view.aux, expiry: view.expiry, payload };
        // SAFETY: the segment has set `size` bytes aside for this entry.
        unsafe { entry.write(shape, key, &new, None) };
        self.book(entry.blob_bytes(), 0);
        Ok(())
    }

    /// Removes a key; `f` sees the entry before it goes.
    pub fn remove<R>(
        &mut self,
        hash: u64,
        key: &[u8],
        f: impl FnOnce(EntryRef<'_>) -> R,
    ) -> Option<R> {
        debug_assert_eq!(hash, hash_key(key));
        let (segment, at) = self.locate(hash, key)?;
        // SAFETY: unchanged until `f` has returned.
        let result = f(unsafe { EntryRef::new(segment.entry(at, self.layout.header)) });
        self.erase(segment, at);
        self.shrink(segment, hash);
        Some(result)
    }

    /// Takes an entry out, leaving the segment as large as it is.
    fn erase(&mut self, segment: RawSegment<'_>, at: usize) {
        let entry = segment.entry(at, self.layout.header);
        let expiry = entry.expiry();
        if entry.has_blob() {
            self.book(0, entry.blob_bytes());
            // SAFETY: the entry is erased next.
            unsafe { entry.blob().free() };
        }
        // SAFETY: the table is held mutably, and the entry's handle ends here.
        unsafe { segment.erase(at, entry.size()) };
        self.len -= 1;
        if expiry.is_some() {
            self.note_expiry(segment, expiry, None);
        }
    }

    /// Detaches one segment with all its entries; for freeing a table in slices. The others can
    /// still be read, and so on until there is none.
    pub fn take_segment(&mut self) -> Option<Segment> {
        let hash = first_segment(self.root)?;
        let place = Place::of(&mut self.root, hash);
        let segment = place.segment()?;
        place.clear(segment.depth());
        loop {
            let pruned = Place::of(&mut self.root, hash).prune();
            self.book(0, pruned);
            if pruned == 0 {
                break;
            }
        }
        // SAFETY: the directory no longer leads to it.
        let taken = unsafe { Segment::new(segment, self.layout.header) };
        self.book(0, taken.heap_bytes());
        self.len -= taken.len() as u32;
        self.expiring -= segment.expiring() as u32;
        if self.expiring == 0 {
            self.expiry_min = i64::MAX;
        }
        Some(taken)
    }

    /// The segment and the cell of a key, until the table changes its segments.
    fn locate<'t>(&self, hash: u64, key: &[u8]) -> Option<(RawSegment<'t>, usize)> {
        // SAFETY: the table is borrowed.
        let segment = unsafe { self.root.find(hash) }?;
        Some((segment, segment.locate(hash, key, self.layout.header).ok()?))
    }

    #[inline]
    fn note_expiry(&mut self, segment: RawSegment<'_>, old: Option<i64>, new: Option<i64>) {
        if old.is_none() && new.is_none() {
            return;
        }
        // SAFETY: the table is held mutably.
        unsafe { segment.note_expiry(old, new) };
        self.expiring -= u32::from(old.is_some());
        self.expiring += u32::from(new.is_some());
        if let Some(expiry) = new {
            self.expiry_min = self.expiry_min.min(expiry);
            self.walked_min = self.walked_min.min(expiry);
        }
        if self.expiring == 0 {
            self.expiry_min = i64::MAX;
        }
    }

    #[cold]
    fn add_segment(&mut self, hash: u64, bytes: usize) {
        let place = Place::of(&mut self.root, hash);
        let segment = RawSegment::empty(place.full_depth(), bytes);
        self.book(segment.size(), 0);
        place.replace(segment);
    }

    /// Rebuilds or splits the segment of a hash, so that `bytes` more fit into it (or nearly so:
    /// the caller tries again).
    #[cold]
    fn make_room(&mut self, hash: u64, bytes: usize, full: Full) {
        let header = self.layout.header;
        let place = Place::of(&mut self.root, hash);
        let segment = place.segment().expect("the segment of this hash is full");
        let before = segment.size();
        // SAFETY: the table is held mutably; the place takes the new segment at once.
        if let Some(rebuilt) = unsafe { segment.rebuilt(bytes, full, header) } {
            self.book(rebuilt.size(), before);
            place.replace(rebuilt);
            return;
        }
        self.split(hash);
    }

    /// Splits the segment of a hash, and its halves as long as one is too large: keys that come in
    /// the order of their hashes (those of another table) lie close together in a segment, so that
    /// all may go into one half, several times.
    fn split(&mut self, hash: u64) {
        let header = self.layout.header;
        let mut oversized = Some(hash);
        while let Some(hash) = oversized {
            let mut place = Place::of(&mut self.root, hash);
            let segment = place.segment().expect("the segment of this hash is too large");
            let before = segment.size();
            // SAFETY: the table is held mutably; the place takes the halves at once.
            let (low, high) = unsafe { segment.split(header, hash_of) };
            let (came, went) = place.split(low, high);
            self.book(low.size() + high.size() + came, before + went);
            // One at most: there is not enough for two.
            let half = [low, high].into_iter().find(|half| half.is_oversized());
            oversized = half.and_then(|half| half.entries(header).next()).map(hash_of);
        }
    }

    /// Gives memory back after `segment`, that of `hash`, has lost bytes.
    #[inline]
    fn shrink(&mut self, segment: RawSegment<'_>, hash: u64) {
        if segment.is_sparse() || segment.len() == 0 {
            self.shrink_sparse(segment, hash);
        }
    }

    #[cold]
    fn shrink_sparse(&mut self, segment: RawSegment<'_>, hash: u64) {
        let mut place = Place::of(&mut self.root, hash);
        if self.len == 0 {
            return self.release_all();
        }
        let before = segment.size();
        // SAFETY: the table is held mutably; the place takes the new segment at once.
        if let Some(shrunk) = unsafe { segment.shrunk(self.layout.header) } {
            self.book(shrunk.size(), before);
            place.replace(shrunk);
        } else if segment.len() > 0 {
            return;
        }
        while let Some((low, high)) = place.pair() {
            let before = low.size() + high.size();
            // SAFETY: the table is held mutably; the place takes the new segment at once.
            let merged = unsafe { low.merged(high, self.layout.header) };
            let Some(merged) = merged else { return };
            let (came, went) = place.merge(merged);
            self.book(merged.size() + came, before + went);
            place = Place::of(&mut self.root, hash);
        }
    }

    fn release_all(&mut self) {
        let (root, header) = (self.root, self.layout.header);
        self.root = Child::NONE;
        // SAFETY: the table no longer leads to any of them.
        unsafe {
            root.for_each_segment(&mut |segment| segment.free(header));
            root.free_nodes();
        }
        self.heap_bytes = 0;
    }

    /// [`Table::heap_bytes`] counted anew by walking everything, for the audit.
    ///
    /// # Panics
    /// If the structure or one of the counts is wrong.
    pub fn heap_bytes_walked(&self) -> usize {
        let mut sum = SegmentCounts { heap_bytes: self.root.node_bytes(), ..Default::default() };
        self.root.for_each_segment(&mut |segment| {
            let counts = segment.counts(self.layout.header);
            sum.entries += counts.entries;
            sum.expiring += counts.expiring;
            sum.heap_bytes += counts.heap_bytes;
            assert!(segment.expiring() == 0 || segment.expiry_min() >= self.expiry_min);
        });
        assert_eq!((sum.entries, sum.expiring), (self.len(), self.expiring_len()));
        sum.heap_bytes
    }
}

fn hash_of(entry: RawEntry<'_>) -> u64 {
    // SAFETY: the slice lives only inside this call.
    hash_key(unsafe { entry.key() })
}

/// The parts of an entry that are kept when its payload changes its length.
struct EntryView {
    tag: u8,
    aux: u32,
    expiry: Option<i64>,
}

impl EntryView {
    fn of(entry: RawEntry<'_>) -> EntryView {
        let tag = entry.tag_and_parity();
        EntryView { tag, aux: entry.aux(), expiry: entry.expiry() }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.release_all();
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (len, heap_bytes) = (self.len(), self.heap_bytes);
        f.debug_struct("Table").field("len", &len).field("heap_bytes", &heap_bytes).finish()
    }
}

// SAFETY: a table owns its blocks; nothing of them is shared or bound to a thread, and `&Table`
// only reads.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}
