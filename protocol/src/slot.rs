//! Hash slots: which of the 16,384 slots a key belongs to.
//!
//! The slot is CRC16 (XMODEM: polynomial 0x1021, start 0, most significant bit first) of the
//! key's hash tag, modulo the number of slots, as the Redis Cluster specification has it.

use memchr::memchr;

/// Number of hash slots.
pub const SLOTS: u16 = 16_384;

/// Bytes that one step of [`crc16`] takes.
const STEP: usize = 8;
const POLYNOMIAL: u16 = 0x1021;

/// `TABLES[k][b]` is the CRC of byte `b` followed by `k` zero bytes: CRC is linear, so the CRC
/// of eight bytes is the exclusive or of eight look-ups that do not wait for each other.
static TABLES: [[u16; 256]; STEP] = tables();

const fn tables() -> [[u16; 256]; STEP] {
    let mut tables = [[0; 256]; STEP];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { crc << 1 ^ POLYNOMIAL } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < STEP {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[zeros - 1][byte];
            tables[zeros][byte] = crc << 8 ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// The slot of a key, below [`SLOTS`].
///
/// Only the hash tag counts, if there is one: keys with the same tag share a slot.
#[inline(always)]
pub fn key_slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) % SLOTS
}

/// The part of a key that decides its slot: what stands between the first `{` and the first
/// `}` behind it, if that is not empty; otherwise the whole key.
#[inline(always)]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    if !may_hold_tag(key) {
        return key;
    }
    let Some(open) = memchr(b'{', key) else { return key };
    let tail = &key[open + 1..];
    match memchr(b'}', tail) {
        Some(close) if close > 0 => &tail[..close],
        _ => key,
    }
}

/// False if there is certainly no `{`; said of keys of the usual lengths and characters only, for
/// which this costs less than beginning a general search: eight bytes at a time, the last eight
/// overlapping.
#[inline(always)]
fn may_hold_tag(key: &[u8]) -> bool {
    let (Some(first), Some(last)) = (key.first_chunk::<8>(), key.last_chunk::<8>()) else {
        return key.contains(&b'{');
    };
    let mut high = high_bits(*first) | high_bits(*last);
    if key.len() > 16 {
        if key.len() > 64 {
            return true;
        }
        for word in key.as_chunks::<8>().0 {
            high |= high_bits(*word);
        }
    }
    high & (ONES << 7) != 0
}

/// One in each byte.
const ONES: u64 = u64::MAX / 255;

/// Has the highest bit of at least one byte set if one of them is `{` or larger: all of those are
/// rare in keys. Adding carries into a neighbour only from bytes that have that bit themselves.
#[inline(always)]
fn high_bits(word: [u8; 8]) -> u64 {
    let word = u64::from_le_bytes(word);
    word | word.wrapping_add(ONES * (0x80 - b'{') as u64)
}

/// CRC16/XMODEM of the bytes.
#[inline(always)]
pub fn crc16(bytes: &[u8]) -> u16 {
    let (steps, rest) = bytes.as_chunks::<STEP>();
    let mut crc = 0u16;
    for step in steps {
        let [high, low] = crc.to_be_bytes();
        let [a, b, c, d, e, f, g, h] = *step;
        crc = TABLES[7][usize::from(a ^ high)]
            ^ TABLES[6][usize::from(b ^ low)]
            ^ TABLES[5][usize::from(c)]
            ^ TABLES[4][usize::from(d)]
            ^ TABLES[3][usize::from(e)]
            ^ TABLES[2][usize::from(f)]
            ^ TABLES[1][usize::from(g)]
            ^ TABLES[0][usize::from(h)];
    }
    for &byte in rest {
        crc = crc << 8 ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, bit by bit.
    fn crc16_model(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |crc, &byte| {
            (0..8).fold(crc ^ u16::from(byte) << 8, |crc: u16, _| {
                if crc & 0x8000 != 0 { crc << 1 ^ POLYNOMIAL } else { crc << 1 }
            })
        })
    }

    proptest! {
        #[test]
        fn a_tag_is_found_wherever_it_stands(key in prop::collection::vec(
            prop_oneof![Just(b'{'), Just(b'}'), any::<u8>(), b'a'..=b'z'], 0..80,
        )) {
            let (may, does) = (may_hold_tag(&key), key.contains(&b'{'));
            prop_assert!(may || !does);
            let open = key.iter().position(|byte| *byte == b'{').map(|at| at + 1);
            let close = open.and_then(|at| key[at..].iter().position(|byte| *byte == b'}'));
            let tag = match (open, close) {
                (Some(at), Some(len @ 1..)) => &key[at..at + len],
                _ => &key,
            };
            prop_assert_eq!(hash_tag(&key), tag);
        }

        #[test]
        fn usual_keys_need_no_search(key in "[a-zA-Z0-9:._/-]{0,64}") {
            prop_assert!(!may_hold_tag(key.as_bytes()));
        }
    }

    #[test]
    fn known_values() {
        assert_eq!(crc16(b""), 0);
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(key_slot(b"foo"), 12_182);
        assert_eq!(key_slot(b"bar"), 5_061);
        assert_eq!(key_slot(b"hello"), 866);
        assert_eq!(key_slot(b"somekey"), 11_058);
        assert_eq!(key_slot(b"foo{hash_tag}"), 2_515);
    }

    #[test]
    fn the_first_tag_counts_unless_it_is_empty() {
        for (key, tag) in [
            ("plain", "plain"),
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("foo{bar", "foo{bar"),
            ("foo}bar{x}", "x"),
            ("{}", "{}"),
            ("", ""),
        ] {
            assert_eq!(hash_tag(key.as_bytes()), tag.as_bytes(), "{key}");
        }
    }

    proptest! {
        #[test]
        fn the_tables_agree_with_the_definition(bytes: Vec<u8>) {
            prop_assert_eq!(crc16(&bytes), crc16_model(&bytes));
            prop_assert!(key_slot(&bytes) < SLOTS);
        }

        #[test]
        fn keys_of_one_tag_share_a_slot(tag in "[a-z0-9]{1,20}", a in "[^{]*", b in "[^{]*") {
            let one = key_slot(format!("{a}{{{tag}}}{b}").as_bytes());
            prop_assert_eq!(one, key_slot(tag.as_bytes()));
        }
    }
}
