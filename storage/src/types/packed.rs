//! Packed byte strings: a sequence of elements back to back, the form of every small collection
//! and of the runs inside large ones.
//!
//! Each element is one header byte, what the header asks for, and its content. There is exactly
//! one encoding of an element, so that looking for one is comparing bytes:
//!
//! | header        | element                                                        |
//! |---------------|----------------------------------------------------------------|
//! | `0x00..=0x3f` | string of that many bytes                                      |
//! | `0x40..=0x5f` | integer −4096..=4095, high 5 bits here, one byte follows       |
//! | `0x60..=0x6f` | string of 64..=4159 bytes, high 4 bits here, one byte follows  |
//! | `0x70..=0x76` | integer in 2..=8 bytes, little endian                          |
//! | `0x77`        | string, length in 4 bytes                                      |
//! | `0x78`, `0x79`| `f32`, `f64`: scores only                                      |
//! | `0x7f`        | in front of all: the large encoding is reported                |
//! | `0x80..=0xff` | integer 0..=127                                                |
//!
//! There is no length of the whole and no back-length: a packed string is at most a few KiB.

use smallvec::SmallVec;

use super::element::Element;
use crate::memory::good_size;
use crate::work;

/// Largest packed form that a collection keeps before it becomes an owned structure, in bytes:
/// what one update walks and copies at most. Redis walks up to 128 pairs of 64 bytes; below this
/// limit a sorted set of 128 usual members stays packed and takes half of what a tree would.
pub const PACKED_BYTES_MAX: usize = 2048;

/// An owned structure that shrinks to this many packed bytes becomes packed again.
pub(crate) const PACKED_BYTES_AGAIN: usize = PACKED_BYTES_MAX / 2;

/// First byte of a packed collection that reports its large encoding (`hashtable`, `skiplist`,
/// `quicklist`): Redis never goes back from those, whatever our own representation is.
pub(crate) const MARKER: u8 = 0x7f;

const SHORT_STRING_MAX: usize = 0x3f;
const MEDIUM_STRING_MAX: usize = SHORT_STRING_MAX + 1 + 0xfff;
const INT_13: u8 = 0x40;
const STRING_12: u8 = 0x60;
const INT_WIDE: u8 = 0x70;
const INT_64: u8 = 0x76;
const STRING_32: u8 = 0x77;
const FLOAT_32: u8 = 0x78;
const FLOAT_64: u8 = 0x79;
const INT_7: u8 = 0x80;

/// Elements of a packed string, in order.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Items<'a> {
    /// The elements of `bytes` from the offset `at` on.
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Items<'a> {
        Items { bytes, at }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let (element, next) = read(self.bytes, self.at);
        self.at = next;
        Some(element)
    }
}

/// The encoding of one element, ready to be searched for or inserted.
#[derive(Clone, Debug)]
pub(crate) struct Encoded(SmallVec<[u8; 96]>);

impl Encoded {
    /// Encodes the canonical form of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Encoded {
        Encoded::element(Element::parse(bytes))
    }

    /// Encodes `element`, which must be canonical: no `Bytes` that are the text of an integer.
    pub(crate) fn element(element: Element<'_>) -> Encoded {
        let mut out = SmallVec::new();
        match element {
            Element::Int(value) => encode_int(value, &mut out),
            Element::Bytes(bytes) => encode_string(bytes, &mut out),
        }
        Encoded(out)
    }

    /// Encodes a score: as an integer where that is exact, else in the shorter exact float.
    pub(crate) fn score(score: f64) -> Encoded {
        // Integers of more than 53 bits and -0.0 would not come back the same.
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        let mut out = SmallVec::new();
        let narrow = score as f32;
        let negative_zero = score == 0.0 && score.is_sign_negative();
        if score.abs() <= EXACT_MAX && score.trunc() == score && !negative_zero {
            encode_int(score as i64, &mut out);
        } else if f64::from(narrow).to_bits() == score.to_bits() {
            out.push(FLOAT_32);
            out.extend_from_slice(&narrow.to_le_bytes());
        } else {
            out.push(FLOAT_64);
            out.extend_from_slice(&score.to_le_bytes());
        }
        Encoded(out)
    }

    /// The encoded bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn encode_int(value: i64, out: &mut SmallVec<[u8; 96]>) {
    match value {
        0..=127 => out.push(INT_7 | value as u8),
        -4096..=4095 => {
            let biased = (value + 4096) as u16;
            out.extend_from_slice(&[INT_13 | (biased >> 8) as u8, biased as u8]);
        }
        _ => {
            let width = int_width(value).max(2);
            out.push(INT_WIDE + (width as u8 - 2));
            out.extend_from_slice(&value.to_le_bytes()[..width]);
        }
    }
}

fn encode_string(bytes: &[u8], out: &mut SmallVec<[u8; 96]>) {
    match bytes.len() {
        len @ 0..=SHORT_STRING_MAX => out.push(len as u8),
        len @ ..=MEDIUM_STRING_MAX => {
            let over = len - SHORT_STRING_MAX - 1;
            out.extend_from_slice(&[STRING_12 | (over >> 8) as u8, over as u8]);
        }
        len => {
            let len = u32::try_from(len).expect("an element is at most 4 GiB");
            out.push(STRING_32);
            out.extend_from_slice(&len.to_le_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

/// Bytes of the shortest two's complement form of `value`, 1 to 8.
pub(crate) fn int_width(value: i64) -> usize {
    let magnitude = if value < 0 { !value } else { value };
    let bits = 65 - magnitude.leading_zeros() as usize;
    bits.div_ceil(8)
}

/// The integer whose shortest little-endian two's complement form is `bytes` (1 to 8 of them).
#[inline]
pub(crate) fn int_from_le(bytes: &[u8]) -> i64 {
    let mut wide = [0u8; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let unused = 64 - 8 * bytes.len() as u32;
    (i64::from_le_bytes(wide) << unused) >> unused
}

/// The element at offset `at`, and the offset of the next one.
#[inline]
pub(crate) fn read(bytes: &[u8], at: usize) -> (Element<'_>, usize) {
    let header = bytes[at];
    let next = skip(bytes, at);
    let element = match header {
        0..INT_13 => Element::Bytes(&bytes[at + 1..next]),
        INT_7.. => Element::Int(i64::from(header & 0x7f)),
        INT_13..STRING_12 => {
            let biased = i64::from(header & 0x1f) << 8 | i64::from(bytes[at + 1]);
            Element::Int(biased - 4096)
        }
        STRING_12..INT_WIDE => Element::Bytes(&bytes[at + 2..next]),
        INT_WIDE..STRING_32 => Element::Int(read_wide(bytes, at)),
        _ => Element::Bytes(&bytes[at + 5..next]),
    };
    (element, next)
}

/// The integer of 2 to 8 bytes whose header is at offset `at`.
#[inline]
fn read_wide(bytes: &[u8], at: usize) -> i64 {
    let width = (bytes[at] - INT_WIDE) as usize + 2;
    match bytes.get(at + 1..at + 9) {
        // One load, where a copy of this many bytes would be a call.
        Some(wide) => {
            let unused = 64 - 8 * width as u32;
            let wide = i64::from_le_bytes(wide.try_into().expect("8 bytes"));
            (wide << unused) >> unused
        }
        None => int_from_le(&bytes[at + 1..at + 1 + width]),
    }
}

/// The score at offset `at`, and the offset of what follows.
#[inline]
pub(crate) fn read_score(bytes: &[u8], at: usize) -> (f64, usize) {
    let header = bytes[at];
    match header {
        INT_7.. => (f64::from(header & 0x7f), at + 1),
        INT_WIDE..=INT_64 => (read_wide(bytes, at) as f64, at + 3 + (header - INT_WIDE) as usize),
        FLOAT_32 => {
            let raw = bytes[at + 1..at + 5].try_into().expect("4 bytes");
            (f64::from(f32::from_le_bytes(raw)), at + 5)
        }
        FLOAT_64 => {
            let raw = bytes[at + 1..at + 9].try_into().expect("8 bytes");
            (f64::from_le_bytes(raw), at + 9)
        }
        _ => match read(bytes, at) {
            (Element::Int(value), next) => (value as f64, next),
            (Element::Bytes(_), next) => {
                debug_assert!(false, "a string where a score is expected");
                (0.0, next)
            }
        },
    }
}

/// Offset of the element after the one at `at`.
#[inline]
pub(crate) fn skip(bytes: &[u8], at: usize) -> usize {
    work::step();
    let header = bytes[at];
    match header {
        0..INT_13 => at + 1 + header as usize,
        INT_7.. => at + 1,
        INT_13..STRING_12 => at + 2,
        STRING_12..INT_WIDE => {
            let over = (header as usize & 0xf) << 8 | bytes[at + 1] as usize;
            at + 2 + SHORT_STRING_MAX + 1 + over
        }
        INT_WIDE..STRING_32 => at + 3 + (header - INT_WIDE) as usize,
        STRING_32 => {
            let raw = bytes[at + 1..at + 5].try_into().expect("4 bytes");
            at + 5 + u32::from_le_bytes(raw) as usize
        }
        FLOAT_32 => at + 5,
        _ => at + 9,
    }
}

/// Offset after `count` elements from `at` (or the end, if there are fewer).
pub(crate) fn skip_many(bytes: &[u8], mut at: usize, count: usize) -> usize {
    for _ in 0..count {
        if at >= bytes.len() {
            break;
        }
        at = skip(bytes, at);
    }
    at
}

/// Number of elements from offset `at` to the end.
pub(crate) fn count(bytes: &[u8], mut at: usize) -> usize {
    let mut count = 0;
    while at < bytes.len() {
        at = skip(bytes, at);
        count += 1;
    }
    count
}

/// Offset of the first element equal to `needle` among every `stride`-th from `at`; without one,
/// the number of elements looked at.
pub(crate) fn find(
    bytes: &[u8],
    mut at: usize,
    stride: usize,
    needle: &Encoded,
) -> Result<usize, usize> {
    let needle = needle.bytes();
    let (first, last) = (needle[0], needle[needle.len() - 1]);
    let mut seen = 0;
    while at < bytes.len() {
        // Names often share their length and their beginning, but seldom their end.
        if bytes[at] == first
            && bytes.get(at + needle.len() - 1) == Some(&last)
            && bytes[at..].starts_with(needle)
        {
            return Ok(at);
        }
        for _ in 0..stride {
            at = skip(bytes, at);
        }
        seen += 1;
    }
    Err(seen)
}

/// Offsets of every `stride`-th element from `at` to the end.
pub(crate) fn offsets(bytes: &[u8], mut at: usize, stride: usize) -> SmallVec<[u32; 64]> {
    let mut offsets = SmallVec::new();
    while at < bytes.len() {
        offsets.push(at as u32);
        for _ in 0..stride {
            at = skip(bytes, at);
        }
    }
    offsets
}

/// Replaces the `old` bytes at offset `at` by `parts` put together.
pub(crate) fn splice(buffer: &mut Vec<u8>, at: usize, old: usize, parts: &[&[u8]]) {
    let new: usize = parts.iter().map(|part| part.len()).sum();
    let len = buffer.len();
    if new > old {
        reserve(buffer, len + new - old);
        buffer.resize(len + new - old, 0);
    }
    buffer.copy_within(at + old..len, at + new);
    buffer.truncate(len + new - old);
    let mut to = at;
    for part in parts {
        buffer[to..to + part.len()].copy_from_slice(part);
        to += part.len();
    }
}

/// Makes room for `len` bytes in all, taking the whole of the block that the allocator gives.
pub(crate) fn reserve(buffer: &mut Vec<u8>, len: usize) {
    if len > buffer.capacity() {
        buffer.reserve_exact(good_size(len) - buffer.len());
    }
}

/// Gives back what is no longer used, once that is a quarter of the block.
pub(crate) fn shrink(buffer: &mut Vec<u8>) {
    let fit = good_size(buffer.len());
    if fit < buffer.capacity() / 4 * 3 {
        buffer.shrink_to(fit);
    }
}

/// Offset of the first element of a packed collection: behind the [`MARKER`], if there is one.
#[inline]
pub(crate) fn body(bytes: &[u8]) -> usize {
    usize::from(has_marker(bytes))
}

/// Whether a packed collection reports its large encoding.
#[inline]
pub(crate) fn has_marker(bytes: &[u8]) -> bool {
    bytes.first() == Some(&MARKER)
}

/// Makes a packed collection report its large encoding from now on.
pub(crate) fn mark(buffer: &mut Vec<u8>) {
    if !has_marker(buffer) {
        splice(buffer, 0, 0, &[&[MARKER]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<i64>().prop_map(|v| v.to_string().into_bytes()),
            (-5000i64..5000).prop_map(|v| v.to_string().into_bytes()),
            prop::collection::vec(any::<u8>(), 0..80),
            (4000usize..4300).prop_map(|len| vec![b'x'; len]),
        ]
    }

    proptest! {
        #[test]
        fn elements_come_back(texts in prop::collection::vec(text(), 0..40)) {
            let mut buffer = Vec::new();
            for text in &texts {
                let end = buffer.len();
                splice(&mut buffer, end, 0, &[Encoded::of(text).bytes()]);
            }
            let back: Vec<_> = Items::new(&buffer, 0).map(Element::to_vec).collect();
            prop_assert_eq!(&back, &texts);
            prop_assert_eq!(count(&buffer, 0), texts.len());
            for text in &texts {
                let at = find(&buffer, 0, 1, &Encoded::of(text)).unwrap();
                prop_assert!(read(&buffer, at).0.eq_bytes(text));
            }
            prop_assert_eq!(find(&buffer, 0, 1, &Encoded::of(b"absent!")), Err(texts.len()));
        }

        #[test]
        fn scores_come_back_bit_by_bit(bits: u64, whole: i32, half: i16) {
            for score in [f64::from_bits(bits), f64::from(whole), f64::from(half) / 2.0, -0.0] {
                if score.is_nan() {
                    continue;
                }
                let encoded = Encoded::score(score);
                let (back, next) = read_score(encoded.bytes(), 0);
                prop_assert_eq!(back.to_bits(), score.to_bits());
                prop_assert_eq!(next, encoded.bytes().len());
                prop_assert_eq!(skip(encoded.bytes(), 0), next);
            }
        }

        #[test]
        fn splicing_equals_vec_splice(
            mut buffer in prop::collection::vec(any::<u8>(), 0..50),
            at: prop::sample::Index,
            old: prop::sample::Index,
            new in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let at = at.index(buffer.len() + 1);
            let old = old.index(buffer.len() - at + 1);
            let mut expected = buffer.clone();
            expected.splice(at..at + old, new.iter().copied());
            splice(&mut buffer, at, old, &[&new]);
            prop_assert_eq!(buffer, expected);
        }
    }

    #[test]
    fn sizes_are_as_documented() {
        let size = |text: &[u8]| Encoded::of(text).bytes().len();
        assert_eq!([size(b""), size(b"abc"), size(&[b'x'; 63]), size(&[b'x'; 64])], [1, 4, 64, 66]);
        assert_eq!([size(b"0"), size(b"127"), size(b"128"), size(b"-1")], [1, 1, 2, 2]);
        assert_eq!([size(b"4095"), size(b"4096"), size(b"-4097"), size(b"999999")], [2, 3, 3, 4]);
        assert_eq!(size(b"1700000000000"), 7);
        assert_eq!(size(i64::MIN.to_string().as_bytes()), 9);
        assert_eq!(Encoded::score(f64::INFINITY).bytes().len(), 5);
        assert_eq!(Encoded::score(0.1).bytes().len(), 9);
    }
}
