//! Intsets: sets of integers.
//!
//! Four bytes with the width of an integer (2, 4 or 8), four with their number, then the
//! integers in ascending order; all little endian.

use std::slice::ChunksExact;

use super::input::{Malformed, Text};
use super::listpack::signed;

const HEADER_BYTES: usize = 8;

/// The integers of an intset. Whatever contradicts itself ends it with an error.
pub(super) struct IntSet<'a> {
    values: ChunksExact<'a, u8>,
    previous: Option<i64>,
}

impl<'a> IntSet<'a> {
    pub(super) fn new(blob: &'a [u8]) -> Result<IntSet<'a>, Malformed> {
        let (header, rest) = blob.split_first_chunk::<HEADER_BYTES>().ok_or(Malformed::Packed)?;
        let [a, b, c, d, count @ ..] = *header;
        let width = match u32::from_le_bytes([a, b, c, d]) {
            width @ (2 | 4 | 8) => width as usize,
            _ => return Err(Malformed::Packed),
        };
        let bytes = (u32::from_le_bytes(count) as usize).checked_mul(width);
        if bytes != Some(rest.len()) {
            return Err(Malformed::Packed);
        }
        Ok(IntSet { values: rest.chunks_exact(width), previous: None })
    }
}

impl<'a> Iterator for IntSet<'a> {
    type Item = Result<Text<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let value = signed(self.values.next()?);
        let ascends = self.previous.is_none_or(|previous| previous < value);
        self.previous = Some(value);
        Some(if ascends { Ok(Text::Int(value)) } else { Err(Malformed::Packed) })
    }
}
