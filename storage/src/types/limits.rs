//! The directives that decide which encoding a collection reports.
//!
//! They follow Redis 7.2 exactly and are apart from our own representation, which is packed while
//! a collection is within [`super::packed::PACKED_BYTES_MAX`].

use super::element::Element;

/// Limits up to which a collection reports its small encoding, one per directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `hash-max-listpack-entries`: fields.
    pub hash_listpack_entries_max: usize,
    /// `hash-max-listpack-value`: bytes of a field or a value.
    pub hash_listpack_value_max: usize,
    /// `set-max-intset-entries`: members.
    pub set_intset_entries_max: usize,
    /// `set-max-listpack-entries`: members.
    pub set_listpack_entries_max: usize,
    /// `set-max-listpack-value`: bytes of a member.
    pub set_listpack_value_max: usize,
    /// `zset-max-listpack-entries`: members.
    pub zset_listpack_entries_max: usize,
    /// `zset-max-listpack-value`: bytes of a member.
    pub zset_listpack_value_max: usize,
    /// `list-max-listpack-size`: elements if positive; -1 to -5 are 4, 8, 16, 32, 64 KiB.
    pub list_listpack_size_max: i64,
}

/// The defaults of Redis 7.2.
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            hash_listpack_entries_max: 512,
            hash_listpack_value_max: 64,
            set_intset_entries_max: 512,
            set_listpack_entries_max: 128,
            set_listpack_value_max: 64,
            zset_listpack_entries_max: 128,
            zset_listpack_value_max: 64,
            list_listpack_size_max: -2,
        }
    }
}

impl Limits {
    /// Whether a list of `count` elements that Redis would keep in a listpack of `bytes` is over
    /// the limit. `share` is 1 for a list that grows and 2 for one that shrinks: Redis goes back
    /// to the small encoding at half the limit only.
    pub(crate) fn list_exceeds(&self, bytes: usize, count: usize, share: usize) -> bool {
        // Lists limited by count are still limited to what Redis calls the safety limit.
        const SAFETY_BYTES_MAX: usize = 8192;
        match self.list_listpack_size_max {
            size @ ..=-1 => {
                let class = size.unsigned_abs().min(5) - 1;
                bytes > (4096usize << class) / share
            }
            count_max => bytes > SAFETY_BYTES_MAX || count > count_max.max(1) as usize / share,
        }
    }
}

/// Bytes of Redis's listpack without any element.
pub(crate) const LISTPACK_EMPTY_BYTES: usize = 7;

/// Bytes that `element` takes in Redis's listpack: header, content, back-length.
pub(crate) fn listpack_entry_bytes(element: Element<'_>) -> usize {
    let entry = match element {
        Element::Int(0..=127) => 1,
        Element::Int(-4096..=4095) => 2,
        Element::Int(-32_768..=32_767) => 3,
        Element::Int(-8_388_608..=8_388_607) => 4,
        Element::Int(-2_147_483_648..=2_147_483_647) => 5,
        Element::Int(_) => 9,
        Element::Bytes(bytes) if bytes.len() < 64 => 1 + bytes.len(),
        Element::Bytes(bytes) if bytes.len() < 4096 => 2 + bytes.len(),
        Element::Bytes(bytes) => 5 + bytes.len(),
    };
    let back_length = match entry {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    };
    entry + back_length
}
