//! Replies: appended to one buffer, in RESP2 or RESP3.
//!
//! A handler calls one method per value and never sees the difference between the two
//! protocols: where RESP2 lacks a type, the method writes what Redis writes to a RESP2 client.
//! Containers are a header followed by their elements; where the number of elements is known
//! only afterwards, [`Reply::deferred`] leaves a [`Mark`] and the header is inserted later.

use std::fmt::{self, Write as _};

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
    buf: Vec<u8>,
    protocol: Protocol,
}

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
        Self { buf: Vec::new(), protocol }
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
        self.buf.len()
    }

    /// Whether nothing is written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Bytes that the buffer keeps allocated.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    /// Takes back what was written after the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.buf.truncate(len);
    }

    /// What was written.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.buf
    }

    /// Empties the buffer and keeps its memory.
    pub fn clear(&mut self) {
        self.buf.clear();
    }

    /// Hands the buffer over and starts an empty one.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buf)
    }

    /// Gives an emptied buffer back, to be written to from here on; what it holds is discarded.
    pub fn reuse(&mut self, mut buf: Vec<u8>) {
        buf.clear();
        self.buf = buf;
    }

    /// Gives a buffer of replies back, to be continued behind what it holds.
    pub fn resume(&mut self, buf: Vec<u8>) {
        self.buf = buf;
    }

    /// Makes room for `bytes` more at once.
    pub fn reserve(&mut self, bytes: usize) {
        self.buf.reserve(bytes);
    }

    /// Appends what is encoded already.
    #[inline]
    pub fn raw(&mut self, encoded: &[u8]) {
        self.buf.extend_from_slice(encoded);
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.buf.extend_from_slice(b"+OK\r\n");
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
        if (0..SHORT_HEADERS as i64).contains(&value) {
            self.short_header(&INTEGERS[value as usize]);
        } else {
            self.long_header(b':', value);
        }
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, value: &[u8]) {
        self.buf.reserve(value.len() + HEADER_BYTES_MAX);
        self.bulk_header(value.len());
        self.buf.extend_from_slice(value);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// A bulk string of several parts that follow each other.
    pub fn bulk_parts(&mut self, parts: &[&[u8]]) {
        let len = parts.iter().map(|part| part.len()).sum();
        self.buf.reserve(len + HEADER_BYTES_MAX);
        self.bulk_header(len);
        for part in parts {
            self.buf.extend_from_slice(part);
        }
        self.buf.extend_from_slice(b"\r\n");
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
                self.buf.reserve(text.len() + HEADER_BYTES_MAX);
                self.long_header(b'=', (text.len() + format.len() + 1) as i64);
                self.buf.extend_from_slice(format.as_bytes());
                self.buf.push(b':');
                self.buf.extend_from_slice(text);
                self.buf.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Leaves room, in thought, for the header of a container whose length is known later.
    #[inline]
    pub fn deferred(&self) -> Mark {
        Mark(self.buf.len())
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
        self.buf.truncate(start);
    }

    fn finish(&mut self, Mark(start): Mark, write_header: impl FnOnce(&mut Self)) {
        debug_assert!(start <= self.buf.len(), "a mark of this reply, not truncated away");
        let end = self.buf.len();
        write_header(self);
        let header = self.buf.len() - end;
        if let Some(tail) = self.buf.get_mut(start..) {
            tail.rotate_right(header);
        }
    }

    #[inline]
    fn bulk_header(&mut self, len: usize) {
        match BULK_HEADERS.get(len) {
            Some(header) => self.short_header(header),
            None => self.long_header(b'$', len as i64),
        }
    }

    /// Copies eight bytes, whatever the length: one move instead of a call.
    #[inline]
    fn short_header(&mut self, header: &ShortHeader) {
        let len = self.buf.len() + header.len;
        self.buf.extend_from_slice(&header.bytes);
        self.buf.truncate(len);
    }

    fn long_header(&mut self, kind: u8, value: i64) {
        self.buf.reserve(HEADER_BYTES_MAX);
        self.buf.push(kind);
        self.buf.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.buf.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.buf.reserve(text.len() + 3);
        self.buf.push(kind);
        let start = self.buf.len();
        self.buf.extend_from_slice(text);
        blank_line_ends(&mut self.buf[start..]);
        self.buf.extend_from_slice(b"\r\n");
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
mod tests {
    use super::*;

    fn written(protocol: Protocol, write: impl Fn(&mut Reply)) -> String {
        let mut reply = Reply::new(protocol);
        write(&mut reply);
        reply.as_bytes().escape_ascii().to_string().replace("\\r\\n", "|")
    }

    /// What RESP2 and RESP3 clients read.
    fn both(write: impl Fn(&mut Reply)) -> (String, String) {
        (written(Protocol::Resp2, &write), written(Protocol::Resp3, &write))
    }

    fn assert_both(write: impl Fn(&mut Reply), resp2: &str, resp3: &str) {
        assert_eq!(both(write), (resp2.to_owned(), resp3.to_owned()));
    }

    #[test]
    fn values_that_both_protocols_write_alike() {
        let same = |write: fn(&mut Reply), text| assert_both(write, text, text);
        same(Reply::ok, "+OK|");
        same(|r| r.simple("QUEUED"), "+QUEUED|");
        same(|r| r.simple("a\r\nb"), "+a  b|");
        same(|r| r.error("ERR no such key"), "-ERR no such key|");
        same(|r| r.error("\r\nERR a\nb\r\n"), "-ERR a b|");
        same(|r| r.command_error(&CommandError::Syntax), "-ERR syntax error|");
        same(|r| r.bulk(b""), "$0||");
        same(|r| r.bulk_str("a\r\nb"), "$4|a|b|");
        same(|r| r.bulk_parts(&[b"ab", b"", b"c"]), "$3|abc|");
        same(|r| r.bulk_integer(-12), "$3|-12|");
        same(|r| r.raw(b"+x\r\n"), "+x|");
        same(|r| r.array(3), "*3|");
    }

    #[test]
    fn values_that_differ() {
        assert_both(Reply::null, "$-1|", "_|");
        assert_both(Reply::null_array, "*-1|", "_|");
        assert_both(|r| r.map(300), "*600|", "%300|");
        assert_both(|r| r.set(2), "*2|", "~2|");
        assert_both(|r| r.push(3), "*3|", ">3|");
        assert_both(|r| assert_eq!(r.attribute(1), r.protocol() == Protocol::Resp3), "", "|1|");
        assert_both(|r| r.boolean(true), ":1|", "#t|");
        assert_both(|r| r.boolean(false), ":0|", "#f|");
        assert_both(|r| r.big_number("123"), "$3|123|", "(123|");
        assert_both(|r| r.verbatim("txt", b"hi"), "$2|hi|", "=6|txt:hi|");
        assert_both(|r| r.double(0.1), "$19|0.10000000000000001|", ",0.10000000000000001|");
        assert_both(|r| r.double(3.0), "$1|3|", ",3|");
        assert_both(|r| r.double(f64::INFINITY), "$3|inf|", ",inf|");
        assert_both(|r| r.double(f64::NEG_INFINITY), "$4|-inf|", ",-inf|");
        assert_both(|r| r.double(f64::NAN), "$3|nan|", ",nan|");
    }

    #[test]
    fn headers_on_both_sides_of_the_table() {
        for len in [0, 9, 10, 99, 100, 255, 256, 1000, 65_536] {
            assert_eq!(written(Protocol::Resp2, |r| r.array(len)), format!("*{len}|"));
            let value = vec![b'x'; len];
            let bulk = written(Protocol::Resp2, |r| r.bulk(&value));
            assert_eq!(bulk, format!("${len}|{}|", "x".repeat(len)));
        }
        for value in [i64::MIN, -1, 0, 1, 10, 255, 256, i64::MAX] {
            assert_eq!(written(Protocol::Resp3, |r| r.integer(value)), format!(":{value}|"));
        }
    }

    #[test]
    fn a_deferred_header_lands_in_front_of_its_elements() {
        let nested = |reply: &mut Reply| {
            reply.ok();
            let outer = reply.deferred();
            reply.integer(1);
            let inner = reply.deferred();
            reply.bulk(b"k");
            reply.bulk(b"v");
            reply.finish_map(inner, 1);
            let gone = reply.deferred();
            reply.integer(7);
            reply.abandon(gone);
            let empty = reply.deferred();
            reply.finish_set(empty, 0);
            reply.finish_array(outer, 3);
        };
        assert_both(nested, "+OK|*3|:1|*2|$1|k|$1|v|*0|", "+OK|*3|:1|%1|$1|k|$1|v|~0|");
    }

    #[test]
    fn a_buffer_is_taken_and_given_back() {
        let mut reply = Reply::new(Protocol::Resp3);
        reply.ok();
        let len = reply.len();
        reply.null();
        reply.truncate(len);
        let buf = reply.take();
        assert_eq!(buf, b"+OK\r\n");
        assert!(reply.is_empty());
        reply.reuse(buf);
        assert_eq!(reply.as_bytes(), b"");
        assert!(reply.capacity() > 0);
        assert_eq!(reply.protocol(), Protocol::Resp3);
    }
}
