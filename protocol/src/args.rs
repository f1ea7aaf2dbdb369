//! The arguments of one command, as a view that copies nothing.
//!
//! A parsed request is ranges into the buffer it arrived in; [`Args`] joins the two. A command
//! that does not come from a connection (a script, a replayed effect, a test) owns its bytes in
//! an [`ArgsBuf`] and hands out the same view.

use std::fmt;
use std::ops::{Index, Range};

/// Where one argument lies in its buffer: byte offsets, `end` exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArgRange {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl ArgRange {
    /// A range of the bytes `start..end`.
    #[inline]
    pub const fn new(start: u32, end: u32) -> Self {
        Self { start, end }
    }

    /// Length of the argument in bytes.
    #[inline(always)]
    pub const fn len(self) -> usize {
        self.end as usize - self.start as usize
    }

    /// Whether the argument is the empty string.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The same range as offsets for slicing.
    #[inline]
    pub const fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The same range `by` bytes further on, for a view over a larger buffer.
    ///
    /// # Panics
    /// When the end would not fit 32 bits.
    #[inline]
    pub const fn shifted(self, by: u32) -> Self {
        Self { start: self.start + by, end: self.end + by }
    }
}

/// A copyable view of a command's arguments; the command's name is argument 0.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buf: &'a [u8],
    ranges: &'a [ArgRange],
}

impl<'a> Args<'a> {
    /// Joins a buffer with the ranges that were parsed out of it.
    #[inline]
    pub fn new(buf: &'a [u8], ranges: &'a [ArgRange]) -> Self {
        debug_assert!(ranges.iter().all(|r| r.start <= r.end && r.end as usize <= buf.len()));
        Self { buf, ranges }
    }

    /// Number of arguments, the command's name included.
    #[inline(always)]
    pub const fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is no argument at all.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Argument `i`, if there is one.
    #[inline(always)]
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        self.ranges.get(i).map(|range| &self.buf[range.range()])
    }

    /// Argument `i`.
    ///
    /// # Panics
    /// When there is none: the caller has checked the arity.
    #[inline(always)]
    pub fn at(&self, i: usize) -> &'a [u8] {
        &self.buf[self.ranges[i].range()]
    }

    /// The last argument, if there is one.
    #[inline]
    pub fn last(&self) -> Option<&'a [u8]> {
        self.ranges.last().map(|range| &self.buf[range.range()])
    }

    /// The view without its first `i` arguments; empty when there are not more than `i`.
    #[inline]
    pub fn from(&self, i: usize) -> Args<'a> {
        Args { buf: self.buf, ranges: self.ranges.get(i..).unwrap_or(&[]) }
    }

    /// The view of the first `n` arguments, or of all when there are fewer.
    #[inline]
    pub fn first(&self, n: usize) -> Args<'a> {
        Args { buf: self.buf, ranges: &self.ranges[..n.min(self.ranges.len())] }
    }

    /// The arguments in order.
    #[inline]
    pub fn iter(&self) -> ArgsIter<'a> {
        ArgsIter { buf: self.buf, ranges: self.ranges.iter() }
    }

    /// The buffer that the ranges point into.
    #[inline]
    pub const fn buffer(&self) -> &'a [u8] {
        self.buf
    }

    /// The ranges of the arguments in [`Args::buffer`].
    #[inline]
    pub const fn ranges(&self) -> &'a [ArgRange] {
        self.ranges
    }

    /// Where all arguments lie in [`Args::buffer`], with what is between them.
    #[inline]
    pub fn span(&self) -> ArgRange {
        match self.ranges {
            [first, .., last] => ArgRange::new(first.start, last.end),
            [only] => *only,
            [] => ArgRange::default(),
        }
    }

    /// Bytes of the arguments, without what is between them.
    pub fn bytes(&self) -> usize {
        self.ranges.iter().map(|range| range.len()).sum()
    }

    /// A copy that owns its bytes, and no memory beyond them.
    pub fn to_owned(&self) -> ArgsBuf {
        let buf = Vec::with_capacity(self.bytes());
        let mut owned = ArgsBuf { buf, ranges: Vec::with_capacity(self.len()) };
        self.iter().for_each(|arg| owned.push(arg));
        owned
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    #[inline]
    fn index(&self, i: usize) -> &[u8] {
        self.at(i)
    }
}

impl<'a> IntoIterator for Args<'a> {
    type Item = &'a [u8];
    type IntoIter = ArgsIter<'a>;

    #[inline]
    fn into_iter(self) -> ArgsIter<'a> {
        self.iter()
    }
}

impl PartialEq for Args<'_> {
    fn eq(&self, other: &Args<'_>) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Args<'_> {}

impl fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|arg| arg.escape_ascii().to_string())).finish()
    }
}

/// Iterator over [`Args`].
#[derive(Clone, Debug)]
pub struct ArgsIter<'a> {
    buf: &'a [u8],
    ranges: std::slice::Iter<'a, ArgRange>,
}

impl<'a> Iterator for ArgsIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.ranges.next().map(|range| &self.buf[range.range()])
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ranges.size_hint()
    }
}

impl DoubleEndedIterator for ArgsIter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.ranges.next_back().map(|range| &self.buf[range.range()])
    }
}

impl ExactSizeIterator for ArgsIter<'_> {}

/// Arguments that own their bytes, in one buffer.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ArgsBuf {
    buf: Vec<u8>,
    ranges: Vec<ArgRange>,
}

impl ArgsBuf {
    /// Copies the arguments into one buffer.
    ///
    /// # Panics
    /// When they hold 4 GiB or more together.
    pub fn new<I>(args: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut owned = Self::default();
        for arg in args {
            owned.push(arg);
        }
        owned
    }

    /// Appends one argument.
    ///
    /// # Panics
    /// When the arguments would hold 4 GiB or more together.
    pub fn push(&mut self, arg: impl AsRef<[u8]>) {
        let start = self.buf.len();
        self.buf.extend_from_slice(arg.as_ref());
        let end = u32::try_from(self.buf.len()).expect("arguments of less than 4 GiB");
        self.ranges.push(ArgRange { start: start as u32, end });
    }

    /// Removes all arguments and keeps the memory.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.ranges.clear();
    }

    /// The arguments.
    #[inline]
    pub fn view(&self) -> Args<'_> {
        Args { buf: &self.buf, ranges: &self.ranges }
    }

    /// Capacities in bytes of its two blocks on the heap.
    pub fn capacities(&self) -> [usize; 2] {
        [self.buf.capacity(), self.ranges.capacity() * size_of::<ArgRange>()]
    }

    /// Number of arguments.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is no argument.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

impl<A: AsRef<[u8]>> FromIterator<A> for ArgsBuf {
    fn from_iter<I: IntoIterator<Item = A>>(args: I) -> Self {
        Self::new(args)
    }
}

impl fmt::Debug for ArgsBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_reads_what_was_put_in() {
        let owned = ArgsBuf::new(["SET", "", "value"]);
        let args = owned.view();
        assert_eq!(args.len(), 3);
        assert_eq!(args.at(0), b"SET");
        assert_eq!(&args[2], b"value");
        assert_eq!(args.get(1), Some(&b""[..]));
        assert_eq!(args.get(3), None);
        assert_eq!(args.last(), Some(&b"value"[..]));
        assert_eq!(args.iter().next_back(), Some(&b"value"[..]));
        assert_eq!(args.iter().len(), 3);
        assert_eq!(format!("{args:?}"), r#"["SET", "", "value"]"#);
    }

    #[test]
    fn tails_and_heads_never_leave_the_view() {
        let owned = ArgsBuf::new([b"a".to_vec(), b"b".to_vec()]);
        let args = owned.view();
        assert_eq!(args.from(1).at(0), b"b");
        assert!(args.from(2).is_empty());
        assert!(args.from(9).is_empty());
        assert_eq!(args.first(1), ArgsBuf::new(["a"]).view());
        assert_eq!(args.first(9), args);
        assert_eq!(args.from(0).to_owned(), owned);
    }

    #[test]
    fn ranges_move_with_their_buffer() {
        let range = ArgRange::new(2, 5).shifted(10);
        assert_eq!(range.range(), 12..15);
        assert_eq!(range.len(), 3);
        assert!(!range.is_empty());
    }
}
