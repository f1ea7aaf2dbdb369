//! Lists: elements in order, packed while small, a deque of packed chunks when large.

use super::chunk_list::{ChunkIter, ChunkList};
use super::element::Element;
use super::limits::{LISTPACK_EMPTY_BYTES, Limits, listpack_entry_bytes};
use super::packed::{self, Encoded, Items, PACKED_BYTES_MAX, body, has_marker, read, splice};
use super::sample::Either;

/// Largest packed list in bytes. Chunks take hardly more, and their ends are cheaper to change.
const LIST_BYTES_MAX: usize = PACKED_BYTES_MAX / 2;
/// A list of chunks that shrinks to this many bytes becomes packed again.
const LIST_BYTES_AGAIN: usize = LIST_BYTES_MAX / 2;

/// An owned list.
#[derive(Debug)]
pub enum List {
    /// Elements one after the other, see [`super::packed`].
    Packed(Vec<u8>),
    /// More than the packed form holds.
    Chunks(Box<ChunkList>),
}

/// A list to read.
#[derive(Clone, Copy, Debug)]
pub enum ListRef<'a> {
    /// Elements one after the other.
    Packed(&'a [u8]),
    /// More than the packed form holds.
    Chunks(&'a ChunkList),
}

/// Where LINSERT puts the new element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// In front of the pivot.
    Before,
    /// Behind the pivot.
    After,
}

impl List {
    /// A list without elements.
    pub const fn new() -> List {
        List::Packed(Vec::new())
    }

    /// The list to read.
    #[inline]
    pub fn as_ref(&self) -> ListRef<'_> {
        match self {
            List::Packed(bytes) => ListRef::Packed(bytes),
            List::Chunks(chunks) => ListRef::Chunks(chunks),
        }
    }

    /// Adds `value` in front of the first element.
    pub fn push_front(&mut self, value: &[u8], limits: &Limits) {
        self.before_growth(value.len(), limits);
        let new = Encoded::of(value);
        match self {
            List::Packed(bytes) => {
                let start = body(bytes);
                splice(bytes, start, 0, &[new.bytes()]);
                self.grow();
            }
            List::Chunks(chunks) => chunks.push_front(&new),
        }
    }

    /// Adds `value` behind the last element.
    pub fn push_back(&mut self, value: &[u8], limits: &Limits) {
        self.before_growth(value.len(), limits);
        let new = Encoded::of(value);
        match self {
            List::Packed(bytes) => {
                let end = bytes.len();
                splice(bytes, end, 0, &[new.bytes()]);
                self.grow();
            }
            List::Chunks(chunks) => chunks.push_back(&new),
        }
    }

    /// Removes and returns the first element.
    pub fn pop_front(&mut self, limits: &Limits) -> Option<Vec<u8>> {
        let popped = match self {
            List::Packed(bytes) => {
                let at = body(bytes);
                remove_at(bytes, at)
            }
            List::Chunks(chunks) => chunks.pop_front(),
        };
        self.after_removal(limits);
        popped
    }

    /// Removes and returns the last element.
    pub fn pop_back(&mut self, limits: &Limits) -> Option<Vec<u8>> {
        let popped = match self {
            List::Packed(bytes) => {
                let at = packed::offsets(bytes, body(bytes), 1).pop();
                at.and_then(|at| remove_at(bytes, at as usize))
            }
            List::Chunks(chunks) => chunks.pop_back(),
        };
        self.after_removal(limits);
        popped
    }

    /// Replaces the element at `index`, negative from the end; whether there is one.
    pub fn set(&mut self, index: i64, value: &[u8], limits: &Limits) -> bool {
        let Some(index) = self.as_ref().position_of(index) else {
            return false;
        };
        self.before_growth(value.len(), limits);
        let new = Encoded::of(value);
        match self {
            List::Packed(bytes) => {
                let at = packed::skip_many(bytes, body(bytes), index);
                let old = packed::skip(bytes, at) - at;
                splice(bytes, at, old, &[new.bytes()]);
                self.grow();
            }
            List::Chunks(chunks) => chunks.replace(index, &new),
        }
        self.after_removal(limits);
        true
    }

    /// Inserts `value` next to the first element equal to `pivot`; the new length, or `None`
    /// without such an element.
    pub fn insert(
        &mut self,
        side: Side,
        pivot: &[u8],
        value: &[u8],
        limits: &Limits,
    ) -> Option<usize> {
        let at = *self.as_ref().positions(pivot, 1, 1, 0).first()?;
        let at = if side == Side::After { at + 1 } else { at };
        self.before_growth(value.len(), limits);
        let new = Encoded::of(value);
        match self {
            List::Packed(bytes) => {
                let at = packed::skip_many(bytes, body(bytes), at);
                splice(bytes, at, 0, &[new.bytes()]);
                self.grow();
            }
            List::Chunks(chunks) => chunks.insert(at, &new),
        }
        Some(self.len())
    }

    /// Removes elements equal to `value`: the first `count`, the last `-count`, or all if 0; how
    /// many there were.
    pub fn remove(&mut self, count: i64, value: &[u8], limits: &Limits) -> usize {
        let wanted = match count {
            0 => usize::MAX,
            _ => usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX),
        };
        let value = Encoded::of(value);
        let removed = match self {
            List::Packed(bytes) => remove_equal(bytes, body(bytes), &value, wanted, count < 0),
            List::Chunks(chunks) if count < 0 => chunks.remove_last(&value, wanted),
            List::Chunks(chunks) => chunks.remove_first(&value, wanted),
        };
        if removed > 0 {
            self.after_removal(limits);
        }
        removed
    }

    /// Keeps the elements `start..=stop` only; negative indexes count from the end.
    pub fn trim(&mut self, start: i64, stop: i64, limits: &Limits) {
        let kept = super::index_range(start, stop, self.len());
        match self {
            List::Packed(bytes) => {
                let first = body(bytes);
                let from = packed::skip_many(bytes, first, kept.start);
                let to = packed::skip_many(bytes, from, kept.len());
                bytes.truncate(to);
                splice(bytes, first, from - first, &[]);
            }
            List::Chunks(chunks) => chunks.trim(kept),
        }
        self.after_removal(limits);
    }

    /// Frees the memory of about `count` elements of a list that nobody will read again; how
    /// many, 0 when all is freed.
    pub fn free_some(&mut self, count: usize) -> usize {
        let freed = match self {
            List::Packed(_) => self.len(),
            List::Chunks(chunks) => match chunks.free_some(count) {
                0 => 0,
                freed => return freed,
            },
        };
        *self = List::new();
        freed
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.as_ref().len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.as_ref().is_empty()
    }

    /// Bytes of owned heap blocks: see [`ListRef::heap_bytes`].
    pub fn heap_bytes(&self) -> usize {
        self.as_ref().heap_bytes()
    }

    /// The encoding that OBJECT ENCODING reports.
    pub fn encoding(&self) -> &'static str {
        self.as_ref().encoding()
    }

    /// Reports the large encoding from now on if another element of `bytes` is over the limit.
    fn before_growth(&mut self, bytes: usize, limits: &Limits) {
        // A packed form takes at most twice its bytes in a listpack: no need to count below this.
        const NEVER_OVER: usize = 3 * LIST_BYTES_MAX;
        match self {
            List::Packed(packed) => {
                let certain = limits.list_listpack_size_max < 0
                    && 2 * packed.len() + LISTPACK_EMPTY_BYTES + bytes <= NEVER_OVER;
                if !certain && !has_marker(packed) {
                    let (size, count) = listpack_size(Items::new(packed, 0));
                    if limits.list_exceeds(size + bytes, count + 1, 1) {
                        packed::mark(packed);
                    }
                }
            }
            List::Chunks(chunks) => chunks.before_growth(bytes, limits),
        }
    }

    /// Becomes a deque of chunks if the packed form is too long.
    fn grow(&mut self) {
        if let List::Packed(bytes) = self
            && bytes.len() > LIST_BYTES_MAX
        {
            let items = Items::new(bytes, body(bytes));
            let chunks = ChunkList::from_items(items, has_marker(bytes));
            *self = List::Chunks(Box::new(chunks));
        }
    }

    /// Becomes packed if little is left, and reports the small encoding again below half the
    /// limit.
    fn after_removal(&mut self, limits: &Limits) {
        if let List::Chunks(chunks) = self {
            chunks.after_removal(limits);
            if chunks.packed_bytes() <= LIST_BYTES_AGAIN {
                let mut bytes = Vec::new();
                if chunks.reports_quicklist() {
                    packed::mark(&mut bytes);
                }
                for chunk in chunks.runs() {
                    bytes.extend_from_slice(chunk);
                }
                *self = List::Packed(bytes);
            }
        }
        if let List::Packed(bytes) = self
            && has_marker(bytes)
        {
            let (size, count) = listpack_size(Items::new(bytes, 1));
            if !limits.list_exceeds(size, count, 2) {
                splice(bytes, 0, 1, &[]);
            }
        }
    }
}

impl Default for List {
    fn default() -> List {
        List::new()
    }
}

impl<'a> ListRef<'a> {
    /// Number of elements.
    pub fn len(self) -> usize {
        match self {
            ListRef::Packed(bytes) => packed::count(bytes, body(bytes)),
            ListRef::Chunks(chunks) => chunks.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(self) -> bool {
        match self {
            ListRef::Packed(bytes) => bytes.len() == body(bytes),
            ListRef::Chunks(chunks) => chunks.len() == 0,
        }
    }

    /// The element at `index`, negative from the end.
    pub fn get(self, index: i64) -> Option<Element<'a>> {
        let index = self.position_of(index)?;
        match self {
            ListRef::Packed(bytes) => Items::new(bytes, body(bytes)).nth(index),
            ListRef::Chunks(chunks) => chunks.iter_from(index).next(),
        }
    }

    /// What the first element has at most, in bytes, O(1): it is long only if this is.
    #[inline]
    pub fn first_bytes_max(self) -> usize {
        match self {
            ListRef::Packed(bytes) => bytes.len(),
            ListRef::Chunks(chunks) => chunks.first_run_bytes(),
        }
    }

    /// [`ListRef::first_bytes_max`] of the last element.
    #[inline]
    pub fn last_bytes_max(self) -> usize {
        match self {
            ListRef::Packed(bytes) => bytes.len(),
            ListRef::Chunks(chunks) => chunks.last_run_bytes(),
        }
    }

    /// The elements `start..=stop` in order; negative indexes count from the end.
    pub fn range(self, start: i64, stop: i64) -> impl Iterator<Item = Element<'a>> + use<'a> {
        let range = super::index_range(start, stop, self.len());
        self.iter_from(range.start).take(range.len())
    }

    /// All elements in order.
    pub fn iter(self) -> impl Iterator<Item = Element<'a>> + use<'a> {
        self.iter_from(0)
    }

    /// Positions of elements equal to `value` as LPOS finds them: from the `rank`-th match on
    /// (1 is the first, -1 the last, then towards the front), at most `count` of them (0: all),
    /// looking at `maxlen` elements at most (0: all).
    pub fn positions(self, value: &[u8], rank: i64, count: usize, maxlen: usize) -> Vec<usize> {
        let value = Encoded::of(value);
        let unlimited = |n: usize| if n == 0 { usize::MAX } else { n };
        let matches = Matches {
            skip: usize::try_from(rank.unsigned_abs()).unwrap_or(usize::MAX).saturating_sub(1),
            count: unlimited(count),
            maxlen: unlimited(maxlen),
        };
        if rank >= 0 {
            let runs = self.runs();
            return matches.forward(runs, &value);
        }
        matches.backward(self.runs_back(), self.len(), &value)
    }

    /// Bytes of owned heap blocks, O(1). A packed list has none: its bytes are its holder's.
    pub fn heap_bytes(self) -> usize {
        match self {
            ListRef::Packed(_) => 0,
            ListRef::Chunks(chunks) => chunks.heap_bytes(),
        }
    }

    /// The same as [`ListRef::heap_bytes`], recomputed by walking.
    pub fn heap_bytes_walked(self) -> usize {
        match self {
            ListRef::Packed(_) => 0,
            ListRef::Chunks(chunks) => chunks.heap_bytes_walked(),
        }
    }

    /// The encoding that OBJECT ENCODING reports.
    pub fn encoding(self) -> &'static str {
        let quicklist = match self {
            ListRef::Packed(bytes) => has_marker(bytes),
            ListRef::Chunks(chunks) => chunks.reports_quicklist(),
        };
        if quicklist { "quicklist" } else { "listpack" }
    }

    /// A copy that owns its memory.
    pub fn to_owned(self) -> List {
        match self {
            ListRef::Packed(bytes) => List::Packed(bytes.to_vec()),
            ListRef::Chunks(chunks) => List::Chunks(Box::new(chunks.clone())),
        }
    }

    /// The position that `index` names, if there is an element.
    fn position_of(self, index: i64) -> Option<usize> {
        let len = self.len();
        let position = match index {
            ..0 => len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
            _ => usize::try_from(index).ok()?,
        };
        (position < len).then_some(position)
    }

    fn iter_from(self, index: usize) -> Either<Items<'a>, ChunkIter<'a>> {
        match self {
            ListRef::Packed(bytes) => {
                let at = packed::skip_many(bytes, body(bytes), index);
                Either::Left(Items::new(bytes, at))
            }
            ListRef::Chunks(chunks) => Either::Right(chunks.iter_from(index)),
        }
    }

    /// The packed runs of elements in order.
    fn runs(self) -> impl Iterator<Item = &'a [u8]> {
        match self {
            ListRef::Packed(bytes) => Either::Left(std::iter::once(&bytes[body(bytes)..])),
            ListRef::Chunks(chunks) => Either::Right(chunks.runs()),
        }
    }

    /// The packed runs of elements, last first.
    fn runs_back(self) -> impl Iterator<Item = &'a [u8]> {
        match self {
            ListRef::Packed(bytes) => Either::Left(std::iter::once(&bytes[body(bytes)..])),
            ListRef::Chunks(chunks) => Either::Right(chunks.runs().rev()),
        }
    }
}

/// Which matches LPOS wants.
struct Matches {
    skip: usize,
    count: usize,
    maxlen: usize,
}

impl Matches {
    fn forward<'a>(mut self, runs: impl Iterator<Item = &'a [u8]>, value: &Encoded) -> Vec<usize> {
        let mut found = Vec::new();
        let mut position = 0;
        for run in runs {
            let mut at = 0;
            while at < run.len() {
                if position == self.maxlen {
                    return found;
                }
                if run[at..].starts_with(value.bytes()) && self.take(&mut found, position) {
                    return found;
                }
                at = packed::skip(run, at);
                position += 1;
            }
        }
        found
    }

    fn backward<'a>(
        mut self,
        runs: impl Iterator<Item = &'a [u8]>,
        len: usize,
        value: &Encoded,
    ) -> Vec<usize> {
        let mut found = Vec::new();
        let end = len.saturating_sub(self.maxlen);
        let mut position = len;
        for run in runs {
            for at in packed::offsets(run, 0, 1).into_iter().rev() {
                if position == end {
                    return found;
                }
                position -= 1;
                let equal = run[at as usize..].starts_with(value.bytes());
                if equal && self.take(&mut found, position) {
                    return found;
                }
            }
        }
        found
    }

    /// Counts a match; whether it was the last one wanted.
    fn take(&mut self, found: &mut Vec<usize>, position: usize) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        found.push(position);
        found.len() == self.count
    }
}

/// Removes and returns the element at offset `at`, if there is one.
fn remove_at(bytes: &mut Vec<u8>, at: usize) -> Option<Vec<u8>> {
    if at >= bytes.len() {
        return None;
    }
    let (element, next) = read(bytes, at);
    let value = element.to_vec();
    splice(bytes, at, next - at, &[]);
    Some(value)
}

/// Removes up to `wanted` elements equal to `value` from offset `start` on, the last ones if
/// `from_end`; how many.
pub(super) fn remove_equal(
    bytes: &mut Vec<u8>,
    start: usize,
    value: &Encoded,
    wanted: usize,
    from_end: bool,
) -> usize {
    let mut found: Vec<usize> = packed::offsets(bytes, start, 1)
        .into_iter()
        .map(|at| at as usize)
        .filter(|&at| bytes[at..].starts_with(value.bytes()))
        .collect();
    if from_end && found.len() > wanted {
        found.drain(..found.len() - wanted);
    }
    found.truncate(wanted);
    let width = value.bytes().len();
    let Some(&first) = found.first() else {
        return 0;
    };
    let mut to = first;
    for (index, &at) in found.iter().enumerate() {
        let from = at + width;
        let end = found.get(index + 1).copied().unwrap_or(bytes.len());
        bytes.copy_within(from..end, to);
        to += end - from;
    }
    bytes.truncate(to);
    found.len()
}

/// Bytes that Redis's listpack of these elements takes, and their number.
pub(super) fn listpack_size(items: Items<'_>) -> (usize, usize) {
    items.fold((LISTPACK_EMPTY_BYTES, 0), |(bytes, count), element| {
        (bytes + listpack_entry_bytes(element), count + 1)
    })
}
