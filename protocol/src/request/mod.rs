//! Requests: from bytes to arguments, in place.
//!
//! A request is a RESP array of bulk strings or an inline line. The parser looks only at the
//! bytes it is given and remembers only offsets, so a buffer can be filled by reads split
//! anywhere: the result is the same as if all had come at once, and no byte is looked at twice
//! ([`RequestParser`]).
//!
//! As in Redis, the byte after a CR is skipped without a look, and so are the two bytes after
//! a bulk string. Deliberate differences: a NUL byte is a byte like any other (Redis's search
//! for a line end stops there and waits for more), and the line length limit does not depend on
//! how the line was split into reads.

mod inline;

use memchr::memchr;

pub use crate::args::{ArgRange, Args, ArgsBuf};
use crate::number::parse_i64;

/// Arguments that a client may send before it has authenticated.
pub const UNAUTHENTICATED_ARGUMENTS_MAX: usize = 10;
/// Bytes of one argument that a client may send before it has authenticated.
pub const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16_384;
/// Arguments that a usual request has, see [`parse_usual`].
const USUAL_ARGUMENTS_MAX: usize = 9;
/// Bytes that one of them has.
const USUAL_BYTES_MAX: usize = 9_999;
/// Argument slots reserved on the word of a header alone.
const RESERVED_ARGUMENTS_MAX: usize = 64;
/// Bytes of a line that announces a bulk string, unless it is padded.
const BULK_LINE_BYTES_MAX: usize = 32;

/// What a request may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest argument in bytes: `proto-max-bulk-len`. Arguments at 4 GiB or more, or a
    /// request that large in total, are refused whatever this says.
    pub bulk_bytes_max: usize,
    /// Most arguments in a request: 2³¹ − 1, as in Redis 7. Memory for them is taken as they come.
    pub arguments_max: usize,
    /// Longest inline request, and longest line that announces a length, in bytes.
    pub inline_bytes_max: usize,
    /// Whether the client has passed the password; when not, it may send only
    /// [`UNAUTHENTICATED_ARGUMENTS_MAX`] arguments of [`UNAUTHENTICATED_BULK_BYTES_MAX`] bytes.
    pub authenticated: bool,
}

impl Limits {
    /// The limits of a client that has not authenticated where that is required.
    pub const fn unauthenticated() -> Self {
        Self { authenticated: false, ..Self::DEFAULT }
    }

    /// Whether everything that [`parse_usual`] accepts is within them.
    #[inline]
    pub const fn allow_usual(&self) -> bool {
        self.bulk_bytes_max >= USUAL_BYTES_MAX
            && self.arguments_max >= USUAL_ARGUMENTS_MAX
            && self.authenticated
    }

    const DEFAULT: Self = Self {
        bulk_bytes_max: 512 * 1024 * 1024,
        arguments_max: i32::MAX as usize,
        inline_bytes_max: 64 * 1024,
        authenticated: true,
    };

    #[inline]
    fn check_count(&self, count: i64) -> Result<usize, ProtocolError> {
        let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
        if count > self.arguments_max {
            Err(ProtocolError::InvalidMultibulkLength)
        } else if !self.authenticated && count > UNAUTHENTICATED_ARGUMENTS_MAX {
            Err(ProtocolError::UnauthenticatedMultibulkLength)
        } else {
            Ok(count)
        }
    }

    #[inline]
    fn check_bulk(&self, bytes: i64) -> Result<usize, ProtocolError> {
        match usize::try_from(bytes) {
            Ok(bytes) if bytes > self.bulk_bytes_max => Err(ProtocolError::InvalidBulkLength),
            Ok(bytes) if !self.authenticated && bytes > UNAUTHENTICATED_BULK_BYTES_MAX => {
                Err(ProtocolError::UnauthenticatedBulkLength)
            }
            Ok(bytes) => Ok(bytes),
            Err(_) => Err(ProtocolError::InvalidBulkLength),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What the front of a buffer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A request of `consumed` bytes; its arguments are ranges of the buffer.
    Complete {
        /// Length of the request in bytes.
        consumed: usize,
    },
    /// An inline request of `consumed` bytes. Quoted arguments differ from the bytes that were
    /// sent, so the arguments are owned; there is at least one.
    Inline {
        /// Length of the line in bytes, its end included.
        consumed: usize,
        /// The arguments with quotes and escapes resolved.
        args: Vec<Vec<u8>>,
    },
    /// An empty line or an array of no elements: nothing to do, and nothing to reply.
    Empty {
        /// Length in bytes.
        consumed: usize,
    },
    /// The request goes on behind the end of the buffer.
    Incomplete {
        /// Bytes that the buffer must hold in total before anything more can be said. Exact for
        /// the end of a bulk string; it is what a client announced, so a caller should not
        /// allocate it blindly.
        needed: usize,
    },
}

/// Why the connection has to be closed. The text is Redis's, without the `-ERR ` in front.
///
/// One difference: a byte that is not ASCII is shown as the character of that number, where
/// Redis repeats the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The count of an array is no number, or too large.
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// The length of a bulk string is no number, negative, or too large.
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// An element of the array is not a bulk string; the byte found in place of `$`.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    ExpectedBulk(u8),
    /// The line with the count of an array does not end.
    #[error("Protocol error: too big mbulk count string")]
    TooBigMultibulkCount,
    /// The line with the length of a bulk string does not end.
    #[error("Protocol error: too big bulk count string")]
    TooBigBulkCount,
    /// An inline request does not end.
    #[error("Protocol error: too big inline request")]
    TooBigInline,
    /// An inline request has an open quote, or text right behind a closing one.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// More arguments than a client may send before it has authenticated.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// A longer argument than a client may send before it has authenticated.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
}

/// Parses the request at the front of `buf` and forgets it: for buffers that usually hold whole
/// requests. Where requests arrive in many reads, keep a [`RequestParser`].
///
/// `args` is cleared, then filled with the ranges of the arguments.
///
/// # Errors
/// The connection's protocol error; the bytes cannot be interpreted any further.
#[inline]
pub fn parse(
    buf: &[u8],
    limits: &Limits,
    args: &mut Vec<ArgRange>,
) -> Result<Parsed, ProtocolError> {
    RequestParser::default().parse(buf, limits, args)
}

/// Parses one request after another, and remembers how far it got in an incomplete one.
///
/// After [`Parsed::Incomplete`] the next call must get the same bytes again, followed by more
/// (they may have moved in memory), and the same `args`. After any other answer the parser is
/// at the start again: the next call gets the bytes behind the `consumed` ones.
#[derive(Clone, Debug, Default)]
pub struct RequestParser {
    /// First byte that is not parsed yet; 0 at the start of a request.
    position: usize,
    /// Arguments still to come; only meaningful inside an array.
    remaining: usize,
    /// No line end lies before this byte; only meaningful when beyond `position`.
    searched: usize,
    /// Bytes of the arguments so far; only meaningful inside an array.
    argument_bytes: usize,
}

impl RequestParser {
    /// A parser at the start of a request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether part of a request was parsed already.
    pub fn is_inside(&self) -> bool {
        self.position != 0
    }

    /// Bytes of the arguments of an incomplete request that are complete.
    pub fn argument_bytes(&self) -> usize {
        self.argument_bytes
    }

    /// How many bytes at the end of `buf`, which holds an incomplete request and nothing behind
    /// it, belong neither to a whole argument nor to a whole line in front of one. This is what
    /// Redis keeps in a client's query buffer.
    pub fn unread_bytes(&self, buf: &[u8]) -> usize {
        let rest = &buf[self.position..];
        let line = &rest[..rest.len().min(BULK_LINE_BYTES_MAX)];
        match memchr(b'\r', line) {
            Some(end) if self.is_inside() && end + 1 < rest.len() => rest.len() - end - 2,
            _ => rest.len(),
        }
    }

    /// Parses on.
    ///
    /// # Errors
    /// The connection's protocol error; the bytes cannot be interpreted any further.
    #[inline]
    pub fn parse(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        args: &mut Vec<ArgRange>,
    ) -> Result<Parsed, ProtocolError> {
        if self.position == 0 {
            args.clear();
            if limits.allow_usual()
                && let Some(consumed) = parse_usual(buf, args)
            {
                return Ok(Parsed::Complete { consumed });
            }
        }
        let (mut position, mut remaining) = if self.position != 0 {
            (self.position, self.remaining)
        } else {
            args.clear();
            match buf.first() {
                Some(b'*') => {}
                Some(_) => return self.parse_inline(buf, limits),
                None => return Ok(Parsed::Incomplete { needed: 1 }),
            }
            let Some((count, position)) = self.read_count(buf, limits)? else {
                return Ok(Parsed::Incomplete { needed: buf.len() + 1 });
            };
            if count == 0 {
                self.searched = 0;
                return Ok(Parsed::Empty { consumed: position });
            }
            args.reserve(count.min(RESERVED_ARGUMENTS_MAX));
            (position, count)
        };
        let first = args.len();
        while remaining > 0 {
            let Some((bytes, start)) = self.read_bulk_length(buf, position, limits)? else {
                self.pause(position, remaining, &args[first..]);
                return Ok(Parsed::Incomplete { needed: buf.len() + 1 });
            };
            // Both are below 2³² here, or the sum is refused: no overflow on 64 bits, and on
            // 32 bits a buffer cannot hold what would overflow.
            let end = start.saturating_add(bytes);
            let next = end.saturating_add(2);
            if next > u32::MAX as usize {
                return Err(ProtocolError::InvalidBulkLength);
            }
            if next > buf.len() {
                self.pause(position, remaining, &args[first..]);
                return Ok(Parsed::Incomplete { needed: next });
            }
            args.push(ArgRange { start: start as u32, end: end as u32 });
            position = next;
            remaining -= 1;
        }
        *self = Self::default();
        Ok(Parsed::Complete { consumed: position })
    }

    /// Remembers where it is, behind some more arguments.
    #[cold]
    fn pause(&mut self, position: usize, remaining: usize, parsed: &[ArgRange]) {
        self.position = position;
        self.remaining = remaining;
        self.argument_bytes += parsed.iter().map(|range| range.len()).sum::<usize>();
    }

    /// The count behind `*` and where its line ends; `None` when the line is not complete.
    #[inline]
    fn read_count(
        &mut self,
        buf: &[u8],
        limits: &Limits,
    ) -> Result<Option<(usize, usize)>, ProtocolError> {
        if let Some((count, next)) = read_short_length(buf, 1) {
            return Ok(Some((limits.check_count(count as i64)?, next)));
        }
        let too_big = ProtocolError::TooBigMultibulkCount;
        let Some(end) = self.find_line_end(buf, 0, limits, too_big)? else { return Ok(None) };
        let count = parse_i64(&buf[1..end]).ok_or(ProtocolError::InvalidMultibulkLength)?;
        Ok(Some((limits.check_count(count)?, end + 2)))
    }

    /// The length behind the `$` at `position` and where the bytes start; `None` when the line
    /// is not complete.
    #[inline]
    fn read_bulk_length(
        &mut self,
        buf: &[u8],
        position: usize,
        limits: &Limits,
    ) -> Result<Option<(usize, usize)>, ProtocolError> {
        if buf.get(position) == Some(&b'$')
            && let Some((bytes, next)) = read_short_length(buf, position + 1)
        {
            return Ok(Some((limits.check_bulk(bytes as i64)?, next)));
        }
        self.read_bulk_length_slowly(buf, position, limits)
    }

    #[cold]
    fn read_bulk_length_slowly(
        &mut self,
        buf: &[u8],
        position: usize,
        limits: &Limits,
    ) -> Result<Option<(usize, usize)>, ProtocolError> {
        let too_big = ProtocolError::TooBigBulkCount;
        let Some(end) = self.find_line_end(buf, position, limits, too_big)? else {
            return Ok(None);
        };
        if buf[position] != b'$' {
            return Err(ProtocolError::ExpectedBulk(buf[position]));
        }
        let bytes = parse_i64(&buf[position + 1..end]).ok_or(ProtocolError::InvalidBulkLength)?;
        Ok(Some((limits.check_bulk(bytes)?, end + 2)))
    }

    /// The CR of the line at `start`, once the byte behind it has arrived too.
    fn find_line_end(
        &mut self,
        buf: &[u8],
        start: usize,
        limits: &Limits,
        too_big: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let window_end = buf.len().min(start.saturating_add(limits.inline_bytes_max + 1));
        let from = self.searched.clamp(start, window_end);
        match memchr(b'\r', &buf[from..window_end]) {
            Some(at) if from + at + 1 < buf.len() => Ok(Some(from + at)),
            Some(at) => {
                self.searched = from + at;
                Ok(None)
            }
            None if buf.len() - start > limits.inline_bytes_max => Err(too_big),
            None => {
                self.searched = window_end;
                Ok(None)
            }
        }
    }

    #[cold]
    fn parse_inline(&mut self, buf: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        let window_end = buf.len().min(limits.inline_bytes_max + 1);
        let from = self.searched.min(window_end);
        let Some(at) = memchr(b'\n', &buf[from..window_end]) else {
            if buf.len() > limits.inline_bytes_max {
                return Err(ProtocolError::TooBigInline);
            }
            self.searched = window_end;
            return Ok(Parsed::Incomplete { needed: buf.len() + 1 });
        };
        self.searched = 0;
        let consumed = from + at + 1;
        let args = inline::split(&buf[..consumed - 1]).ok_or(ProtocolError::UnbalancedQuotes)?;
        if args.is_empty() {
            return Ok(Parsed::Empty { consumed });
        }
        Ok(Parsed::Inline { consumed, args })
    }
}

/// The usual request, all of which is there: up to nine arguments of up to 9,999 bytes. `None`
/// for everything else, complete or not, which is left to a [`RequestParser`]. It repeats in a
/// few instructions what the general parser does, and must never say anything else than that.
///
/// Returns the request's length in bytes; its arguments are appended to `args`, as ranges of
/// `buf`. After `None` what was appended means nothing.
///
/// The caller has asked [`Limits::allow_usual`].
#[inline(always)]
pub fn parse_usual(buf: &[u8], args: &mut Vec<ArgRange>) -> Option<usize> {
    let [b'*', count @ b'1'..=b'9', b'\r', _, ..] = buf else { return None };
    let count = usize::from(count - b'0');
    args.reserve(count);
    parse_usual_arguments(buf, 4, count, args)
}

/// The last `count` arguments of a usual request, from `at` on: the rest of [`parse_usual`] for
/// who knows what the request begins with.
#[inline(always)]
pub fn parse_usual_arguments(
    buf: &[u8],
    mut at: usize,
    count: usize,
    args: &mut Vec<ArgRange>,
) -> Option<usize> {
    if buf.len() > u32::MAX as usize {
        return None;
    }
    for _ in 0..count {
        // The shortest argument, an empty one, has six bytes.
        let [b'$', a, b, c, d, e] = *buf.get(at..)?.first_chunk::<6>()? else { return None };
        let digit = |byte: u8| usize::from(byte.wrapping_sub(b'0'));
        let (a, b_digit, c_digit, d_digit) = (digit(a), digit(b), digit(c), digit(d));
        let (bytes, start) = if b == b'\r' && a <= 9 {
            (a, at + 4)
        } else if a.wrapping_sub(1) > 8 || b_digit > 9 {
            return None;
        } else if c == b'\r' {
            (a * 10 + b_digit, at + 5)
        } else if c_digit > 9 {
            return None;
        } else if d == b'\r' {
            (a * 100 + b_digit * 10 + c_digit, at + 6)
        } else if d_digit > 9 || e != b'\r' {
            return None;
        } else {
            (a * 1000 + b_digit * 100 + c_digit * 10 + d_digit, at + 7)
        };
        let end = start + bytes;
        at = end + 2;
        if at > buf.len() {
            return None;
        }
        args.push(ArgRange { start: start as u32, end: end as u32 });
    }
    Some(at)
}

/// A length of one to nine digits and the offset behind its line; `None` for everything that
/// deserves a closer look.
#[inline(always)]
fn read_short_length(buf: &[u8], at: usize) -> Option<(usize, usize)> {
    // Nearly all lengths have one digit or two, and more bytes behind them.
    if let Some([first, second, third, _, ..]) = buf.get(at..) {
        let (tens, ones) = (first.wrapping_sub(b'0'), second.wrapping_sub(b'0'));
        if *second == b'\r' && tens <= 9 {
            return Some((usize::from(tens), at + 3));
        }
        if *third == b'\r' && tens.wrapping_sub(1) <= 8 && ones <= 9 {
            return Some((usize::from(tens) * 10 + usize::from(ones), at + 4));
        }
    }
    let digits = buf.get(at..)?;
    let first = digits.first()?.wrapping_sub(b'0');
    if first > 9 {
        return None;
    }
    let mut length = usize::from(first);
    // The byte behind the CR must be there as well, so one is kept back.
    let last = digits.len().saturating_sub(1).min(10);
    for (i, &byte) in digits[..last].iter().enumerate().skip(1) {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 && first != 0 {
            length = length * 10 + usize::from(digit);
        } else if byte == b'\r' {
            return Some((length, at + i + 2));
        } else {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests;
