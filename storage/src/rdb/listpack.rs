//! Listpacks: packed elements as Redis has them since 7.0.
//!
//! Four bytes with the length of all, two with the number of elements (all ones: not known),
//! little endian; the elements; a byte of all ones. An element is a header, its content, and its
//! length backwards: seven bits a byte, the highest first, all but the first marked.

use super::input::{Malformed, Text};

const HEADER_BYTES: usize = 6;
const COUNT_UNKNOWN: u16 = u16::MAX;
const END: u8 = 0xff;

/// The elements of a listpack. Whatever contradicts itself ends it with an error.
pub(super) struct Listpack<'a> {
    /// From the next element on, with the end.
    rest: &'a [u8],
    /// `None`: not known.
    left: Option<u16>,
}

impl<'a> Listpack<'a> {
    pub(super) fn new(blob: &'a [u8]) -> Result<Listpack<'a>, Malformed> {
        let (header, rest) = blob.split_first_chunk::<HEADER_BYTES>().ok_or(Malformed::Packed)?;
        let [a, b, c, d, count @ ..] = *header;
        if u32::from_le_bytes([a, b, c, d]) as usize != blob.len() {
            return Err(Malformed::Packed);
        }
        let count = u16::from_le_bytes(count);
        Ok(Listpack { rest, left: (count != COUNT_UNKNOWN).then_some(count) })
    }

    fn element(&mut self) -> Option<Text<'a>> {
        let entry = self.rest;
        let (text, rest) = content(entry)?;
        let len = entry.len() - rest.len();
        self.rest = after_back_length(rest, len)?;
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        Some(text)
    }
}

impl<'a> Iterator for Listpack<'a> {
    type Item = Result<Text<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest == [END] && self.left.is_none_or(|left| left == 0) {
            return None;
        }
        Some(self.element().ok_or(Malformed::Packed))
    }
}

/// The element that begins `entry`, and what is behind its content.
fn content(entry: &[u8]) -> Option<(Text<'_>, &[u8])> {
    let (&header, rest) = entry.split_first()?;
    let low = usize::from(header);
    match header {
        0x00..0x80 => Some((Text::Int(i64::from(header)), rest)),
        0x80..0xc0 => string(rest, low & 0x3f),
        0xc0..0xe0 => {
            let (&next, rest) = rest.split_first()?;
            let bits = i64::from(header & 0x1f) << 8 | i64::from(next);
            // 13 bits, the highest is the sign.
            Some((Text::Int(bits << 51 >> 51), rest))
        }
        0xe0..0xf0 => {
            let (&next, rest) = rest.split_first()?;
            string(rest, (low & 0xf) << 8 | usize::from(next))
        }
        0xf0 => {
            let (len, rest) = rest.split_first_chunk()?;
            string(rest, u32::from_le_bytes(*len) as usize)
        }
        0xf1 => integer(rest, 2),
        0xf2 => integer(rest, 3),
        0xf3 => integer(rest, 4),
        0xf4 => integer(rest, 8),
        0xf5.. => None,
    }
}

fn string(rest: &[u8], len: usize) -> Option<(Text<'_>, &[u8])> {
    let (bytes, rest) = rest.split_at_checked(len)?;
    Some((Text::Plain(bytes), rest))
}

/// An integer of so many bytes, little endian, with a sign.
pub(super) fn integer(rest: &[u8], width: usize) -> Option<(Text<'_>, &[u8])> {
    let (bytes, rest) = rest.split_at_checked(width)?;
    Some((Text::Int(signed(bytes)), rest))
}

/// One to eight bytes, little endian, the highest bit is the sign.
pub(super) fn signed(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|high| high & 0x80 != 0);
    let mut wide = if negative { [0xff; 8] } else { [0; 8] };
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}

/// What is behind the length backwards of an element of `len` bytes.
fn after_back_length(rest: &[u8], len: usize) -> Option<&[u8]> {
    let width = match len {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    };
    let (bytes, rest) = rest.split_at_checked(width)?;
    let marked = bytes.iter().skip(1).all(|byte| byte & 0x80 != 0);
    let said = bytes.iter().fold(0, |said, byte| said << 7 | usize::from(byte & 0x7f));
    (marked && bytes[0] & 0x80 == 0 && said == len).then_some(rest)
}
