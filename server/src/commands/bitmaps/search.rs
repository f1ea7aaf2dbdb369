//! `BITCOUNT` and `BITPOS`.

use std::ops::Range;

use ballast_protocol::number::parse_i64;
use ballast_protocol::{Args, CommandError, Reply};

use crate::commands::context::Data;
use crate::commands::strings::{clipped, reversed, text_of};
use crate::commands::table::CommandResult;

pub(super) fn bitcount(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let limits = match args.len() {
        2 => Limits { first: 0, last: -1, unit: Unit::Byte },
        4 | 5 => Limits::parse(args.from(2))?,
        _ => return Err(CommandError::Syntax),
    };
    let mut digits = itoa::Buffer::new();
    let text = text_of(cx.read(cx.key(1)?), &mut digits)?;
    let ones = match limits.bits(text) {
        _ if reversed(limits.first, limits.last) => 0,
        bits => count_ones(text, bits),
    };
    reply.integer(ones as i64);
    Ok(())
}

pub(super) fn bitpos(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let wanted = match parse_i64(args.at(2)).ok_or(CommandError::NotInteger)? {
        0 => Bit::Zero,
        1 => Bit::One,
        _ => return Err(CommandError::other("ERR The bit argument must be 1 or 0.")),
    };
    let limits = match args.len() {
        3 => Limits { first: 0, last: -1, unit: Unit::Byte },
        4..=6 => Limits::parse(args.from(3))?,
        _ => return Err(CommandError::Syntax),
    };
    let mut digits = itoa::Buffer::new();
    let found = cx.read(cx.key(1)?);
    let exists = found.is_some();
    let text = text_of(found, &mut digits)?;
    let bits = limits.bits(text);
    let position = if !exists {
        // A missing string is one of endless zeros.
        (wanted == Bit::Zero).then_some(0)
    } else {
        // So is what follows a string, unless the range has an end.
        let after = wanted == Bit::Zero && args.len() < 5 && !bits.is_empty();
        find(text, bits.clone(), wanted).or(after.then_some(bits.end))
    };
    reply.integer(position.map_or(-1, |position| position as i64));
    Ok(())
}

/// A range as the client gives it.
#[derive(Clone, Copy)]
struct Limits {
    first: i64,
    last: i64,
    unit: Unit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Byte,
    Bit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bit {
    Zero,
    One,
}

impl Limits {
    /// `first [last [BYTE | BIT]]`
    fn parse(args: Args<'_>) -> Result<Limits, CommandError> {
        let first = parse_i64(args.at(0)).ok_or(CommandError::NotInteger)?;
        let last = match args.get(1) {
            None => -1,
            Some(last) => parse_i64(last).ok_or(CommandError::NotInteger)?,
        };
        let unit = match args.get(2) {
            None => Unit::Byte,
            Some(word) if word.eq_ignore_ascii_case(b"byte") => Unit::Byte,
            Some(word) if word.eq_ignore_ascii_case(b"bit") => Unit::Bit,
            Some(_) => return Err(CommandError::Syntax),
        };
        Ok(Limits { first, last, unit })
    }

    /// The bits of `text` that are meant.
    fn bits(self, text: &[u8]) -> Range<u64> {
        let bytes = text.len() as u64;
        match self.unit {
            Unit::Bit => clipped(self.first, self.last, bytes * 8),
            Unit::Byte => {
                let range = clipped(self.first, self.last, bytes);
                range.start * 8..range.end * 8
            }
        }
    }
}

/// Ones among the bits of `text` in `bits`, which lie inside it.
fn count_ones(text: &[u8], bits: Range<u64>) -> u64 {
    let Some(parts) = Parts::new(text, bits) else { return 0 };
    let (words, rest) = parts.middle.as_chunks::<8>();
    let in_words: u64 =
        words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    let ends = [parts.head.0 & parts.head.1, parts.tail.0 & parts.tail.1];
    let in_bytes: u64 = rest.iter().chain(&ends).map(|byte| u64::from(byte.count_ones())).sum();
    in_words + in_bytes
}

/// The first bit of `text` in `bits`, which lie inside it, that is as wanted.
fn find(text: &[u8], bits: Range<u64>, wanted: Bit) -> Option<u64> {
    // With the others turned to zero the search is always for a one.
    let flip = if wanted == Bit::One { 0 } else { 0xff };
    let first_byte = bits.start / 8;
    let parts = Parts::new(text, bits)?;
    let in_end = |(byte, mask): (u8, u8)| (byte ^ flip) & mask;
    let head = in_end(parts.head);
    if head != 0 {
        return Some(first_byte * 8 + u64::from(head.leading_zeros()));
    }
    let skipped = u64::from_ne_bytes([flip; 8]);
    let (words, rest) = parts.middle.as_chunks::<8>();
    let full = words.iter().position(|word| u64::from_ne_bytes(*word) != skipped);
    let at = full.unwrap_or(words.len()) * 8;
    let byte = match full {
        Some(_) => parts.middle[at..].iter().position(|byte| *byte != flip),
        None => rest.iter().position(|byte| *byte != flip),
    };
    if let Some(more) = byte {
        let zeros = (parts.middle[at + more] ^ flip).leading_zeros();
        return Some((first_byte + 1 + (at + more) as u64) * 8 + u64::from(zeros));
    }
    let tail = in_end(parts.tail);
    let tail_byte = first_byte + 1 + parts.middle.len() as u64;
    (tail != 0).then(|| tail_byte * 8 + u64::from(tail.leading_zeros()))
}

/// A range of bits, cut into whole bytes and what stands before and after them.
struct Parts<'t> {
    /// The first byte and which of its bits count.
    head: (u8, u8),
    middle: &'t [u8],
    /// The last byte and which of its bits count: none if the first byte is the last one.
    tail: (u8, u8),
}

impl<'t> Parts<'t> {
    fn new(text: &'t [u8], bits: Range<u64>) -> Option<Parts<'t>> {
        let last = bits.end.checked_sub(1).filter(|last| *last >= bits.start)?;
        let (first_byte, last_byte) = ((bits.start / 8) as usize, (last / 8) as usize);
        let head_mask = 0xff >> (bits.start % 8);
        let tail_mask = 0xff << (7 - last % 8);
        Some(match text.get(first_byte..=last_byte)? {
            [] => return None,
            [only] => Parts { head: (*only, head_mask & tail_mask), middle: &[], tail: (0, 0) },
            [head, middle @ .., tail] => {
                Parts { head: (*head, head_mask), middle, tail: (*tail, tail_mask) }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_one(text: &[u8], bit: u64) -> bool {
        text[(bit / 8) as usize] >> (7 - bit % 8) & 1 == 1
    }

    proptest! {
        #[test]
        fn counts_and_finds_as_a_loop_over_the_bits(
            mut text in proptest::collection::vec(any::<u8>(), 0..40),
            fill: Option<bool>,
            from: u64,
            to: u64,
        ) {
            // Long runs of equal bits are what the words are for.
            if let (Some(fill), 3..) = (fill, text.len()) {
                let len = text.len();
                text[1..len - 1].fill(if fill { 0xff } else { 0 });
            }
            let bits = text.len() as u64 * 8;
            let (from, to) = (from % (bits + 1), to % (bits + 1));
            let ones = (from..to).filter(|bit| is_one(&text, *bit)).count() as u64;
            prop_assert_eq!(count_ones(&text, from..to), ones);
            for (wanted, one) in [(Bit::Zero, false), (Bit::One, true)] {
                let first = (from..to).find(|bit| is_one(&text, *bit) == one);
                let found = find(&text, from..to, wanted);
                prop_assert_eq!(found, first, "{:?} {}..{}", wanted, from, to);
            }
        }
    }
}
