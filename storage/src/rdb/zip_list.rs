//! Ziplists: packed elements as Redis had them before 7.0.
//!
//! Four bytes with the length of all, four with the offset of the last element, two with the
//! number of elements (all ones: not known), little endian; the elements; a byte of all ones. An
//! element is the length of the one before it (a byte, or 254 and four bytes), a header, its
//! content.

use super::input::{Malformed, Text};
use super::listpack::integer;

const HEADER_BYTES: usize = 10;
const COUNT_UNKNOWN: u16 = u16::MAX;
const END: u8 = 0xff;
/// In place of the length of the element before: it is in the next four bytes.
const LONG: u8 = 0xfe;

/// The elements of a ziplist. Whatever contradicts itself ends it with an error.
pub(super) struct ZipList<'a> {
    blob_bytes: usize,
    /// From the next element on, with the end.
    rest: &'a [u8],
    /// `None`: not known.
    left: Option<u16>,
    /// Bytes of the element before the next.
    previous_bytes: usize,
    /// Where the element before the next began; without one, where the next begins.
    previous_at: usize,
    /// Where the last element is said to begin.
    last_at: usize,
}

impl<'a> ZipList<'a> {
    pub(super) fn new(blob: &'a [u8]) -> Result<ZipList<'a>, Malformed> {
        let (header, rest) = blob.split_first_chunk::<HEADER_BYTES>().ok_or(Malformed::Packed)?;
        let [a, b, c, d, e, f, g, h, count @ ..] = *header;
        if u32::from_le_bytes([a, b, c, d]) as usize != blob.len() {
            return Err(Malformed::Packed);
        }
        let count = u16::from_le_bytes(count);
        Ok(ZipList {
            blob_bytes: blob.len(),
            rest,
            left: (count != COUNT_UNKNOWN).then_some(count),
            previous_bytes: 0,
            previous_at: HEADER_BYTES,
            last_at: u32::from_le_bytes([e, f, g, h]) as usize,
        })
    }

    fn element(&mut self) -> Option<Text<'a>> {
        let entry = self.rest;
        let (previous_bytes, rest) = match *entry.first()? {
            END => return None,
            LONG => {
                let (len, rest) = entry[1..].split_first_chunk()?;
                (u32::from_le_bytes(*len) as usize, rest)
            }
            len => (usize::from(len), &entry[1..]),
        };
        if previous_bytes != self.previous_bytes {
            return None;
        }
        let (text, rest) = content(rest)?;
        self.rest = rest;
        self.previous_bytes = entry.len() - rest.len();
        self.previous_at = self.blob_bytes - entry.len();
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        Some(text)
    }
}

impl<'a> Iterator for ZipList<'a> {
    type Item = Result<Text<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let whole = self.previous_at == self.last_at && self.left.is_none_or(|left| left == 0);
        if self.rest == [END] && whole {
            return None;
        }
        Some(self.element().ok_or(Malformed::Packed))
    }
}

/// The element whose header begins `entry`, and what is behind it.
fn content(entry: &[u8]) -> Option<(Text<'_>, &[u8])> {
    let (&header, rest) = entry.split_first()?;
    let (len, rest) = match header {
        0x00..0x40 => (usize::from(header), rest),
        0x40..0x80 => {
            let (&next, rest) = rest.split_first()?;
            (usize::from(header & 0x3f) << 8 | usize::from(next), rest)
        }
        0x80 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u32::from_be_bytes(*len) as usize, rest)
        }
        0xc0 => return integer(rest, 2),
        0xd0 => return integer(rest, 4),
        0xe0 => return integer(rest, 8),
        0xf0 => return integer(rest, 3),
        0xfe => return integer(rest, 1),
        0xf1..=0xfd => return Some((Text::Int(i64::from(header & 0xf) - 1), rest)),
        _ => return None,
    };
    let (bytes, rest) = rest.split_at_checked(len)?;
    Some((Text::Plain(bytes), rest))
}
