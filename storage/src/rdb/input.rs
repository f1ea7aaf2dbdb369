//! What is read from: bytes from anyone, taken from the front, with the lengths and strings of
//! the format.

use std::borrow::Cow;

use thiserror::Error;

use super::compressed;
use crate::keyspace::STRING_MAX;
use crate::types::Element;

/// Compressed strings of one value may become this many bytes together. A compressed string may
/// be 88 times shorter than what it stands for, so that a payload could stand for much more than
/// there is memory.
pub const INFLATED_BYTES_MAX: u64 = 4 << 30;

/// Collections have at most this many elements.
const COUNT_MAX: u64 = u32::MAX as u64 - 1;

/// Why bytes are no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// They end too early, or a count in them is larger than they could hold.
    #[error("it is cut off")]
    Truncated,
    /// More bytes than the value takes.
    #[error("something follows the value")]
    Surplus,
    /// A value of a kind that is not kept here: a stream, or a module's.
    #[error("type {0} is not supported")]
    Unsupported(u8),
    /// No kind of value at all.
    #[error("type {0} does not exist")]
    UnknownType(u8),
    /// A length in none of the known forms.
    #[error("a length is invalid")]
    Length,
    /// A string or a collection beyond what can be kept.
    #[error("it is too large")]
    TooLarge,
    /// A compressed string that does not unfold to what it says.
    #[error("a compressed string is invalid")]
    Compressed,
    /// A blob of packed elements that contradicts itself.
    #[error("packed elements are invalid")]
    Packed,
    /// A field without a value, a member without a score.
    #[error("one of a pair is missing")]
    HalfPair,
    /// A score that is no number.
    #[error("a score is no number")]
    Score,
    /// A member or a field twice.
    #[error("an element is there twice")]
    Duplicate,
    /// A module's data, of whose parts one has no known type.
    #[error("data of a module has a part of an unknown type")]
    Module,
    /// A collection without elements, which cannot be kept.
    #[error("the collection is empty")]
    Empty,
}

/// Bytes that are taken from the front.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
    /// At most so many bytes follow that are not here yet.
    more_bytes: u64,
    /// So many bytes were missing when it was last found to be cut off.
    missing_bytes: u64,
    /// What compressed strings may still become.
    inflated_left: u64,
}

/// A string as it was written.
#[derive(Debug)]
pub(super) enum Text<'a> {
    /// As the integer that it is.
    Int(i64),
    /// As it is.
    Plain(&'a [u8]),
    /// Compressed.
    Inflated(Vec<u8>),
}

impl Text<'_> {
    /// As collections take it.
    pub(super) fn element(&self) -> Element<'_> {
        match self {
            Text::Int(value) => Element::Int(*value),
            Text::Plain(bytes) => Element::Bytes(bytes),
            Text::Inflated(bytes) => Element::Bytes(bytes),
        }
    }

    /// Runs `f` on its bytes.
    pub(super) fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        self.element().with_bytes(f)
    }
}

/// The first byte of a length says its form in its two highest bits.
const FORM: u8 = 0xc0;
const FORM_6_BITS: u8 = 0x00;
const FORM_14_BITS: u8 = 0x40;
/// The next four bytes; big endian, as all lengths.
const WHOLE_32_BITS: u8 = 0x80;
/// The next eight bytes.
const WHOLE_64_BITS: u8 = 0x81;
/// No length, but a string in one of these forms.
const INT_8: u8 = 0xc0;
const INT_16: u8 = 0xc1;
const INT_32: u8 = 0xc2;
pub(super) const COMPRESSED: u8 = 0xc3;

impl<'a> Input<'a> {
    /// All of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input::followed(bytes, 0)
    }

    /// `bytes`, which up to `more_bytes` follow that are still to be read.
    pub(super) fn followed(bytes: &'a [u8], more_bytes: u64) -> Input<'a> {
        Input { rest: bytes, more_bytes, missing_bytes: 0, inflated_left: INFLATED_BYTES_MAX }
    }

    /// Whether everything has been taken.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been taken yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// After [`Malformed::Truncated`]: how many of the bytes that follow are needed to go on.
    /// `None`: more than there are.
    pub(super) fn missing_bytes(&self) -> Option<u64> {
        Some(self.missing_bytes).filter(|missing| *missing <= self.more_bytes)
    }

    /// Takes what `f` takes, or nothing if that is cut off.
    pub(super) fn attempt<R>(
        &mut self,
        f: impl FnOnce(&mut Input<'a>) -> Result<R, Malformed>,
    ) -> Result<R, Malformed> {
        let (rest, inflated_left) = (self.rest, self.inflated_left);
        let result = f(self);
        if matches!(result, Err(Malformed::Truncated)) {
            self.rest = rest;
            self.inflated_left = inflated_left;
        }
        result
    }

    /// It is cut off: `wanted_bytes` should be here.
    fn cut_off(&mut self, wanted_bytes: usize) -> Malformed {
        self.missing_bytes = (wanted_bytes - self.rest.len()) as u64;
        Malformed::Truncated
    }

    /// Another value begins, with a limit of its own.
    pub(super) fn begin_value(&mut self) {
        self.inflated_left = INFLATED_BYTES_MAX;
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let Some((taken, rest)) = self.rest.split_first_chunk() else {
            return Err(self.cut_off(N));
        };
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.cut_off(len));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// A number in the form of a length.
    pub(super) fn length(&mut self) -> Result<u64, Malformed> {
        let first = self.byte()?;
        self.length_after(first)
    }

    fn length_after(&mut self, first: u8) -> Result<u64, Malformed> {
        let low = first & !FORM;
        match (first & FORM, first) {
            (FORM_6_BITS, _) => Ok(u64::from(low)),
            (FORM_14_BITS, _) => Ok(u64::from(u16::from_be_bytes([low, self.byte()?]))),
            (_, WHOLE_32_BITS) => self.array().map(u32::from_be_bytes).map(u64::from),
            (_, WHOLE_64_BITS) => self.array().map(u64::from_be_bytes),
            _ => Err(Malformed::Length),
        }
    }

    /// The number of items that follow, each in `bytes_min` bytes at least.
    pub(super) fn count(&mut self, bytes_min: usize) -> Result<usize, Malformed> {
        let count = self.length()?;
        if count == 0 {
            return Err(Malformed::Empty);
        }
        // None of what follows trusts the count, but with this a wrong one costs nothing.
        let bytes_left = (self.rest.len() as u64).saturating_add(self.more_bytes);
        if count > bytes_left / bytes_min as u64 {
            self.missing_bytes = u64::MAX;
            return Err(Malformed::Truncated);
        }
        usize::try_from(count).ok().filter(|_| count <= COUNT_MAX).ok_or(Malformed::TooLarge)
    }

    /// The length of a string.
    fn string_len(len: u64) -> Result<usize, Malformed> {
        let fits = usize::try_from(len).ok().filter(|len| *len <= STRING_MAX);
        fits.ok_or(Malformed::TooLarge)
    }

    /// A string in any of its forms.
    pub(super) fn text(&mut self) -> Result<Text<'a>, Malformed> {
        Ok(match self.byte()? {
            INT_8 => Text::Int(i64::from(i8::from_le_bytes(self.array()?))),
            INT_16 => Text::Int(i64::from(i16::from_le_bytes(self.array()?))),
            INT_32 => Text::Int(i64::from(i32::from_le_bytes(self.array()?))),
            COMPRESSED => Text::Inflated(self.inflated()?),
            first => {
                let len = self.length_after(first)?;
                Text::Plain(self.bytes(Self::string_len(len)?)?)
            }
        })
    }

    fn inflated(&mut self) -> Result<Vec<u8>, Malformed> {
        let (from, to) = (self.length()?, self.length()?);
        let bytes = self.bytes(Self::string_len(from)?)?;
        self.inflated_left = self.inflated_left.checked_sub(to).ok_or(Malformed::TooLarge)?;
        compressed::inflate(bytes, Self::string_len(to)?).ok_or(Malformed::Compressed)
    }

    /// A string that holds packed elements.
    pub(super) fn blob(&mut self) -> Result<Cow<'a, [u8]>, Malformed> {
        match self.text()? {
            Text::Plain(bytes) => Ok(Cow::Borrowed(bytes)),
            Text::Inflated(bytes) => Ok(Cow::Owned(bytes)),
            // The shortest blob has four bytes that are no digits.
            Text::Int(_) => Err(Malformed::Packed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(bytes: &[u8]) -> Result<u64, Malformed> {
        Input::new(bytes).length()
    }

    #[test]
    fn lengths_have_four_forms() {
        assert_eq!(length(&[0x3f]), Ok(63));
        assert_eq!(length(&[0x7f, 0xff]), Ok(16_383));
        assert_eq!(length(&[0x80, 0, 1, 0, 0]), Ok(65_536));
        assert_eq!(length(&[0x81, 0, 0, 0, 1, 0, 0, 0, 0]), Ok(1 << 32));
        for bytes in [&[][..], &[0x40], &[0x80, 0, 0, 0], &[0x81, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(length(bytes), Err(Malformed::Truncated), "{bytes:?}");
        }
        for first in [0x82, 0xbf, 0xc0, 0xff] {
            assert_eq!(length(&[first, 0, 0, 0, 0]), Err(Malformed::Length), "{first:x}");
        }
    }

    #[test]
    fn a_count_is_not_more_than_could_follow() {
        let count = |bytes: &[u8], bytes_min| Input::new(bytes).count(bytes_min);
        assert_eq!(count(&[2, 0, 0], 1), Ok(2));
        assert_eq!(count(&[2, 0, 0], 2), Err(Malformed::Truncated));
        assert_eq!(count(&[3, 0, 0], 1), Err(Malformed::Truncated));
        assert_eq!(count(&[0], 1), Err(Malformed::Empty));
        let claimed = [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(count(&claimed, 1), Err(Malformed::Truncated));
    }

    #[test]
    fn strings_have_five_forms() {
        let text = |bytes: &[u8]| Input::new(bytes).text().map(|text| text.element().to_vec());
        assert_eq!(text(b"\x03abc"), Ok(b"abc".to_vec()));
        assert_eq!(text(b"\xc0\xff"), Ok(b"-1".to_vec()));
        assert_eq!(text(b"\xc1\x00\x80"), Ok(b"-32768".to_vec()));
        assert_eq!(text(b"\xc2\xff\xff\xff\x7f"), Ok(b"2147483647".to_vec()));
        assert_eq!(text(b"\xc3\x04\x0a\x00a\xe0\x00\x00"), Err(Malformed::Compressed));
        assert_eq!(text(b"\xc3\x05\x0a\x00a\xe0\x00\x00"), Ok(vec![b'a'; 10]));
        assert_eq!(text(b"\xc4"), Err(Malformed::Length));
        assert_eq!(text(b"\x04abc"), Err(Malformed::Truncated));
    }

    #[test]
    fn what_compressed_strings_become_is_bounded() {
        let mut bomb = vec![0xc3, 0x05, 0x81];
        bomb.extend_from_slice(&(STRING_MAX as u64 + 1).to_be_bytes());
        bomb.extend_from_slice(b"\x00a\xe0\x00\x00");
        assert_eq!(Input::new(&bomb).text().err(), Some(Malformed::TooLarge));
        let mut input = Input::new(b"\xc3\x05\x0a\x00a\xe0\x00\x00");
        input.inflated_left = 9;
        assert_eq!(input.text().err(), Some(Malformed::TooLarge));
    }
}
