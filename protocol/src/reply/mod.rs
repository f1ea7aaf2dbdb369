//! Replies: appended to one buffer, in RESP2 or RESP3. A long one goes on in further blocks, so
//! that it is never copied to make room, and takes little more memory than its bytes.
//!
//! A handler calls one method per value and never sees the difference between the two
//! protocols: where RESP2 lacks a type, the method writes what Redis writes to a RESP2 client.
//! Containers are a header followed by their elements; where the number of elements is known
//! only afterwards, [`Reply::deferred`] leaves a [`Mark`] and the header is inserted later.

mod blocks;

use std::fmt::{self, Write as _};

use self::blocks::Blocks;

use crate::error::CommandError;
use crate::number::DoubleText;

/// Version of the protocol that a client speaks; it starts with RESP2 and may say `HELLO 3`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The protocol of Redis 2 to 5, still the default.
    #[default]
    Resp2,
    /// The protocol of Redis 6, with maps, sets, doubles, booleans, nulls and pushes.
    Resp3,
}

/// A place in a [`Reply`] where a container's header will be inserted.
#[derive(Debug)]
#[must_use = "the reply lacks a header until the mark is finished"]
pub struct Mark(usize);

/// The replies of a connection, encoded.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// What was written last. It grows to [`BLOCK_BYTES`]; a longer value may get more at once.
    buf: Vec<u8>,
    /// What was written before it, if that did not fit.
    full: Blocks,
    protocol: Protocol,
}

/// Replies up to this length are in one block.
pub const BLOCK_BYTES: usize = 512 << 10;

/// Bytes that a header and the CR LF behind it can take: a type byte, 20 digits, two line ends.
const HEADER_BYTES_MAX: usize = 25;
/// Headers of lengths below this are copied from a table.
const SHORT_HEADERS: usize = 256;

/// A type byte, a length below [`SHORT_HEADERS`] and CR LF, padded to a size that one move
/// copies.
#[derive(Clone, Copy)]
struct ShortHeader {
    bytes: [u8; 8],
    len: usize,
}

const fn short_headers(kind: u8) -> [ShortHeader; SHORT_HEADERS] {
    let mut table = [ShortHeader { bytes: [0; 8], len: 0 }; SHORT_HEADERS];
    let mut value = 0;
    while value < SHORT_HEADERS {
        let digits = if value < 10 {
            1
        } else if value < 100 {
            2
        } else {
            3
        };
        let header = &mut table[value];
        header.bytes[0] = kind;
        let mut rest = value;
        let mut at = digits;
        while at > 0 {
            header.bytes[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            at -= 1;
        }
        header.bytes[digits + 1] = b'\r';
        header.bytes[digits + 2] = b'\n';
        header.len = digits + 3;
        value += 1;
    }
    table
}

static BULK_HEADERS: [ShortHeader; SHORT_HEADERS] = short_headers(b'$');
static ARRAY_HEADERS: [ShortHeader; SHORT_HEADERS] = short_headers(b'*');
static INTEGERS: [ShortHeader; SHORT_HEADERS] = short_headers(b':');

impl Reply {
    /// An empty buffer for a client of `protocol`.
    pub const fn new(protocol: Protocol) -> Self {
        Self { buf: Vec::new(), full: Blocks::new(), protocol }
    }

    /// The protocol that is written.
    #[inline]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Changes the protocol of what is written from here on.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Bytes written.
    #[inline]
    pub fn len(&self) -> usize {
        self.full.bytes() + self.buf.len()
    }

    /// Whether nothing is written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the last block, mostly the only one, keeps allocated.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    /// Takes back what was written after the first `len` bytes.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        match len.checked_sub(self.full.bytes()) {
            Some(len) => self.buf.truncate(len),
            None => self.buf = self.full.truncate(len),
        }
    }

    /// What was written, if that is in one block.
    #[inline]
    pub fn contiguous(&self) -> Option<&[u8]> {
        (self.full.bytes() == 0).then_some(&self.buf)
    }

    /// A copy of what was written.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        self.full.iter().for_each(|block| all.extend_from_slice(block));
        all.extend_from_slice(&self.buf);
        all
    }

    /// Hands over what was written, in one piece, and starts an empty buffer.
    pub fn take(&mut self) -> Vec<u8> {
        if self.full.bytes() == 0 {
            return std::mem::take(&mut self.buf);
        }
        let mut all = Vec::with_capacity(self.len());
        let rest = Reply { protocol: self.protocol, ..Reply::default() };
        for block in std::mem::replace(self, rest).into_blocks() {
            all.extend_from_slice(&block);
        }
        all
    }

    /// What was written, in order; no block is empty.
    pub fn into_blocks(self) -> Vec<Vec<u8>> {
        let mut blocks = self.full;
        blocks.push(self.buf);
        blocks.into_inner()
    }

    /// Gives an emptied buffer back, to be written to from here on; what it holds is discarded.
    ///
    /// # Panics
    /// In debug builds, when something is written that has not been taken.
    pub fn reuse(&mut self, mut buf: Vec<u8>) {
        debug_assert!(self.is_empty());
        buf.clear();
        self.buf = buf;
    }

    /// Gives a buffer of replies back, to be continued behind what it holds.
    ///
    /// # Panics
    /// In debug builds, when something is written that has not been taken.
    pub fn resume(&mut self, buf: Vec<u8>) {
        debug_assert!(self.is_empty());
        self.buf = buf;
    }

    /// Makes room for `bytes` more at once.
    pub fn reserve(&mut self, bytes: usize) {
        self.room(bytes);
    }

    /// Appends what is encoded already.
    #[inline]
    pub fn raw(&mut self, encoded: &[u8]) {
        if self.has_room(encoded.len()) {
            self.buf.extend_from_slice(encoded);
        } else {
            self.long_raw(encoded);
        }
    }

    /// Appends another reply, whose long blocks are not copied.
    pub fn append(&mut self, other: Reply) {
        match other.contiguous() {
            Some(encoded) if encoded.len() < BLOCK_BYTES / 2 => self.raw(encoded),
            _ => {
                self.full.push(std::mem::take(&mut self.buf));
                self.full.append(other.full);
                self.buf = other.buf;
            }
        }
    }

    /// Takes off what was written after the first `len` bytes.
    pub fn split_off(&mut self, len: usize) -> Reply {
        let protocol = self.protocol;
        match len.checked_sub(self.full.bytes()) {
            Some(len) => {
                let buf = self.buf.split_off(len.min(self.buf.len()));
                Reply { buf, full: Blocks::new(), protocol }
            }
            None => {
                let (full, buf) = self.full.split_off(len, std::mem::take(&mut self.buf));
                Reply { buf, full, protocol }
            }
        }
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A simple string. Line ends in it become spaces.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error; the text starts with its code (`ERR …`). Line ends at its edges are dropped,
    /// those inside become spaces, as in Redis.
    #[cold]
    pub fn error(&mut self, text: impl fmt::Display) {
        self.room(HEADER_BYTES_MAX);
        let start = self.buf.len();
        self.buf.push(b'-');
        let text_start = self.buf.len();
        // Writing to a vector does not fail; a `Display` that does leaves a shorter text.
        let _ = write!(TextSink(&mut self.buf), "{text}");
        self.finish_error(start, text_start);
    }

    /// An error of the command, byte for byte: names that are not UTF-8 are repeated as sent.
    #[cold]
    pub fn command_error(&mut self, error: &CommandError) {
        self.room(HEADER_BYTES_MAX);
        let start = self.buf.len();
        self.buf.push(b'-');
        let text_start = self.buf.len();
        error.write_to(&mut self.buf);
        self.finish_error(start, text_start);
    }

    fn finish_error(&mut self, start: usize, text_start: usize) {
        let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        while self.buf.len() > text_start && self.buf.last().is_some_and(is_line_end) {
            self.buf.pop();
        }
        let leading = self.buf[text_start..].iter().take_while(|byte| is_line_end(byte)).count();
        self.buf.drain(text_start..text_start + leading);
        blank_line_ends(&mut self.buf[start..]);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.room(HEADER_BYTES_MAX);
        if (0..SHORT_HEADERS as i64).contains(&value) {
            self.short_header(&INTEGERS[value as usize]);
        } else {
            self.long_header(b':', value);
        }
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, value: &[u8]) {
        if !self.has_room(value.len() + HEADER_BYTES_MAX) {
            return self.bulk_parts(&[value]);
        }
        self.bulk_header(value.len());
        self.buf.extend_from_slice(value);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// A bulk string of several parts that follow each other.
    pub fn bulk_parts(&mut self, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.room_up_to(len + HEADER_BYTES_MAX);
        self.bulk_header(len);
        parts.iter().for_each(|part| self.raw(part));
        self.raw(b"\r\n");
    }

    /// A bulk string.
    #[inline]
    pub fn bulk_str(&mut self, value: &str) {
        self.bulk(value.as_bytes());
    }

    /// An integer as a bulk string.
    #[inline]
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// No value: `$-1`, or `_` in RESP3.
    #[inline]
    pub fn null(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// No array: `*-1`, or `_` in RESP3.
    #[inline]
    pub fn null_array(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Opens an array of `len` values.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.room(HEADER_BYTES_MAX);
        match ARRAY_HEADERS.get(len) {
            Some(header) => self.short_header(header),
            None => self.long_header(b'*', len as i64),
        }
    }

    /// Opens a map of `pairs`, each a key and a value: in RESP2 an array of twice the length.
    #[inline]
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(pairs * 2),
            Protocol::Resp3 => self.long_header(b'%', pairs as i64),
        }
    }

    /// Opens a set of `len` values: in RESP2 an array.
    #[inline]
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(len),
            Protocol::Resp3 => self.long_header(b'~', len as i64),
        }
    }

    /// Opens a push message of `len` values: in RESP2 an array.
    #[inline]
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(len),
            Protocol::Resp3 => self.long_header(b'>', len as i64),
        }
    }

    /// Opens an attribute of `pairs` in front of the value it belongs to. RESP2 has none: what
    /// is written between must be left out there, so this says whether the header was written.
    #[must_use]
    pub fn attribute(&mut self, pairs: usize) -> bool {
        let exists = self.protocol == Protocol::Resp3;
        if exists {
            self.long_header(b'|', pairs as i64);
        }
        exists
    }

    /// A double with 17 significant digits: in RESP2 as a bulk string.
    pub fn double(&mut self, value: f64) {
        let text = DoubleText::new(value);
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// A boolean: in RESP2 the integer 1 or 0.
    #[inline]
    pub fn boolean(&mut self, value: bool) {
        self.raw(match (self.protocol, value) {
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
        });
    }

    /// A decimal number of any length: in RESP2 a bulk string.
    pub fn big_number(&mut self, digits: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk_str(digits),
            Protocol::Resp3 => self.line(b'(', digits.as_bytes()),
        }
    }

    /// Text with a format of three letters (`txt`, `mkd`): in RESP2 a bulk string without it.
    ///
    /// # Panics
    /// In debug builds, when the format has not three bytes.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        debug_assert_eq!(format.len(), 3);
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.room_up_to(text.len() + HEADER_BYTES_MAX);
                self.long_header(b'=', (text.len() + format.len() + 1) as i64);
                self.raw(format.as_bytes());
                self.raw(b":");
                self.raw(text);
                self.raw(b"\r\n");
            }
        }
    }

    /// Leaves room, in thought, for the header of a container whose length is known later.
    #[inline]
    pub fn deferred(&self) -> Mark {
        Mark(self.len())
    }

    /// Inserts the header of an array of `len` values at the mark.
    #[inline]
    pub fn finish_array(&mut self, mark: Mark, len: usize) {
        self.finish(mark, |reply| reply.array(len));
    }

    /// Inserts the header of a map of `pairs` at the mark.
    #[inline]
    pub fn finish_map(&mut self, mark: Mark, pairs: usize) {
        self.finish(mark, |reply| reply.map(pairs));
    }

    /// Inserts the header of a set of `len` values at the mark.
    #[inline]
    pub fn finish_set(&mut self, mark: Mark, len: usize) {
        self.finish(mark, |reply| reply.set(len));
    }

    /// Inserts the header of a push message of `len` values at the mark.
    #[inline]
    pub fn finish_push(&mut self, mark: Mark, len: usize) {
        self.finish(mark, |reply| reply.push(len));
    }

    /// Takes back what was written since the mark.
    pub fn abandon(&mut self, Mark(start): Mark) {
        self.truncate(start);
    }

    fn finish(&mut self, Mark(start): Mark, write_header: impl FnOnce(&mut Self)) {
        debug_assert!(start <= self.len(), "a mark of this reply, not truncated away");
        // The header is written to this block, though it may belong into another.
        self.room(HEADER_BYTES_MAX);
        let end = self.buf.len();
        write_header(self);
        let header = self.buf.len() - end;
        match start.checked_sub(self.full.bytes()) {
            Some(start) => {
                if let Some(tail) = self.buf.get_mut(start..) {
                    tail.rotate_right(header);
                }
            }
            None => {
                self.full.insert(start, &self.buf[end..]);
                self.buf.truncate(end);
            }
        }
    }

    #[inline(always)]
    fn has_room(&self, bytes: usize) -> bool {
        self.buf.capacity() - self.buf.len() >= bytes
    }

    /// Makes room for `bytes` in the block that is written to.
    #[inline(always)]
    fn room(&mut self, bytes: usize) {
        if !self.has_room(bytes) {
            self.grow(bytes);
        }
    }

    /// Makes room for `bytes`, or for what a header takes if a block would get long by them.
    fn room_up_to(&mut self, bytes: usize) {
        let fits = self.buf.len() + bytes <= BLOCK_BYTES;
        self.room(if fits { bytes } else { HEADER_BYTES_MAX });
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        let needed = self.buf.len() + bytes;
        if needed > BLOCK_BYTES {
            return self.begin_block(bytes);
        }
        let capacity = needed.max(2 * self.buf.capacity()).min(BLOCK_BYTES);
        self.buf.reserve_exact(capacity - self.buf.len());
    }

    /// Goes on in a new block, with room for `bytes` and for no more than an eighth of all beside.
    fn begin_block(&mut self, bytes: usize) {
        let share = (self.len() / 8).clamp(BLOCK_BYTES / 8, BLOCK_BYTES);
        let block = Vec::with_capacity(bytes.max(share));
        self.full.push(std::mem::replace(&mut self.buf, block));
    }

    /// Appends what does not fit the block: fills it, and puts the rest into one of its size.
    #[cold]
    fn long_raw(&mut self, encoded: &[u8]) {
        if self.buf.len() + encoded.len() <= BLOCK_BYTES {
            self.grow(encoded.len());
            return self.buf.extend_from_slice(encoded);
        }
        let (first, rest) = encoded.split_at(self.buf.capacity() - self.buf.len());
        self.buf.extend_from_slice(first);
        self.begin_block(rest.len() + HEADER_BYTES_MAX);
        self.buf.extend_from_slice(rest);
    }

    #[inline]
    fn bulk_header(&mut self, len: usize) {
        match BULK_HEADERS.get(len) {
            Some(header) => self.short_header(header),
            None => self.long_header(b'$', len as i64),
        }
    }

    /// Copies eight bytes, whatever the length: one move instead of a call. There is room.
    #[inline]
    fn short_header(&mut self, header: &ShortHeader) {
        let len = self.buf.len() + header.len;
        self.buf.extend_from_slice(&header.bytes);
        self.buf.truncate(len);
    }

    fn long_header(&mut self, kind: u8, value: i64) {
        self.room(HEADER_BYTES_MAX);
        self.buf.push(kind);
        self.buf.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.buf.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.room(text.len() + 3);
        self.buf.push(kind);
        let start = self.buf.len();
        self.buf.extend_from_slice(text);
        blank_line_ends(&mut self.buf[start..]);
        self.buf.extend_from_slice(b"\r\n");
    }
}

impl From<Vec<u8>> for Reply {
    /// What is encoded already.
    fn from(buf: Vec<u8>) -> Self {
        Self { buf, ..Self::default() }
    }
}

fn blank_line_ends(text: &mut [u8]) {
    for byte in text {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
}

/// Lets `write!` append to bytes.
struct TextSink<'a>(&'a mut Vec<u8>);

impl fmt::Write for TextSink<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
