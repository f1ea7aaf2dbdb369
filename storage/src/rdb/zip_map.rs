//! Zipmaps: small hashes as Redis had them before 2.6.
//!
//! A byte with the number of pairs (254 and more: not known); the pairs; a byte of all ones. A
//! pair is the length of its field (a byte, or 254 and four bytes, little endian), the field, the
//! length of its value, a byte with how much is unused behind the value, the value, the unused
//! bytes.

use super::input::{Malformed, Text};

const COUNT_UNKNOWN: u8 = 0xfe;
const LONG: u8 = 0xfe;
const END: u8 = 0xff;

/// Fields and values in turn. Whatever contradicts itself ends it with an error.
pub(super) struct ZipMap<'a> {
    /// From the next length on, with the end.
    rest: &'a [u8],
    /// `None`: not known.
    pairs_left: Option<u8>,
    /// The value is next.
    within_pair: bool,
}

impl<'a> ZipMap<'a> {
    pub(super) fn new(blob: &'a [u8]) -> Result<ZipMap<'a>, Malformed> {
        let (&count, rest) = blob.split_first().ok_or(Malformed::Packed)?;
        let pairs_left = (count < COUNT_UNKNOWN).then_some(count);
        Ok(ZipMap { rest, pairs_left, within_pair: false })
    }

    fn element(&mut self) -> Option<Text<'a>> {
        let len = match *self.rest.split_off_first()? {
            END => return None,
            LONG => u32::from_le_bytes(*take_array(&mut self.rest)?) as usize,
            len => usize::from(len),
        };
        if !self.within_pair {
            if let Some(left) = &mut self.pairs_left {
                *left = left.checked_sub(1)?;
            }
            self.within_pair = true;
            return self.rest.split_off(..len).map(Text::Plain);
        }
        let unused = usize::from(*self.rest.split_off_first()?);
        let value = self.rest.split_off(..len)?;
        self.rest.split_off(..unused)?;
        self.within_pair = false;
        Some(Text::Plain(value))
    }
}

impl<'a> Iterator for ZipMap<'a> {
    type Item = Result<Text<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let whole = !self.within_pair && self.pairs_left.is_none_or(|left| left == 0);
        if self.rest == [END] && whole {
            return None;
        }
        Some(self.element().ok_or(Malformed::Packed))
    }
}

fn take_array<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(taken)
}
