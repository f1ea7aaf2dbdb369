//! One element of a collection as reads return it: an integer or a byte string.
//!
//! Canonical decimal integers (`-?[1-9][0-9]*` or `0`, within `i64`) may be kept in binary; both
//! forms of the same text compare equal, so nothing above this module needs to know which one it
//! holds.

use std::cmp::Ordering;

/// An element of a collection: borrowed bytes, or an integer kept in binary.
#[derive(Clone, Copy, Debug)]
pub enum Element<'a> {
    /// The text of this integer in decimal.
    Int(i64),
    /// These bytes.
    Bytes(&'a [u8]),
}

impl<'a> Element<'a> {
    /// The canonical form of `bytes`: an integer where the text is one, else the bytes.
    pub fn parse(bytes: &'a [u8]) -> Element<'a> {
        match canonical_int(bytes) {
            Some(value) => Element::Int(value),
            None => Element::Bytes(bytes),
        }
    }

    /// Runs `f` on the element's text.
    #[inline]
    pub fn with_bytes<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Element::Int(value) => f(itoa::Buffer::new().format(value).as_bytes()),
            Element::Bytes(bytes) => f(bytes),
        }
    }

    /// Length of the text in bytes.
    pub fn len(self) -> usize {
        match self {
            Element::Int(value) => int_text_len(value),
            Element::Bytes(bytes) => bytes.len(),
        }
    }

    /// Whether the text is empty.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The text, owned.
    pub fn to_vec(self) -> Vec<u8> {
        self.with_bytes(<[u8]>::to_vec)
    }

    /// Appends the text to `out`.
    pub fn append_to(self, out: &mut Vec<u8>) {
        self.with_bytes(|bytes| out.extend_from_slice(bytes));
    }

    /// Whether the text equals `bytes`.
    pub fn eq_bytes(self, bytes: &[u8]) -> bool {
        self.with_bytes(|own| own == bytes)
    }

    /// Byte-wise order of the texts (Redis's `memcmp` order of members).
    pub fn cmp_text(self, other: Element<'_>) -> Ordering {
        self.with_bytes(|own| other.with_bytes(|other| own.cmp(other)))
    }

    /// The integer that the text is, if it is a canonical one.
    pub fn as_int(self) -> Option<i64> {
        match self {
            Element::Int(value) => Some(value),
            Element::Bytes(bytes) => canonical_int(bytes),
        }
    }
}

impl PartialEq for Element<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Element::Int(a), Element::Int(b)) => a == b,
            (Element::Bytes(a), Element::Bytes(b)) => a == b,
            (Element::Int(_), Element::Bytes(b)) => self.eq_bytes(b),
            (Element::Bytes(a), Element::Int(_)) => other.eq_bytes(a),
        }
    }
}

impl Eq for Element<'_> {}

/// The integer that `bytes` is the shortest decimal text of, if there is one.
pub fn canonical_int(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    // 19 digits are below 10^19 < 2^64, so the sum cannot overflow.
    let mut magnitude = 0u64;
    for &digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Length of the decimal text of `value` in bytes.
pub(crate) fn int_text_len(value: i64) -> usize {
    let digits = value.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
    digits + usize::from(value < 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_shortest_text_is_an_integer() {
        for text in ["", "-", "-0", "00", "01", "+1", "1 ", " 1", "1.0", "9223372036854775808"] {
            assert_eq!(canonical_int(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(canonical_int(b"-9223372036854775809"), None);
        assert_eq!(canonical_int(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(canonical_int(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(canonical_int(b"0"), Some(0));
    }

    proptest! {
        #[test]
        fn text_and_integer_are_the_same_element(value: i64) {
            let text = value.to_string();
            let element = Element::parse(text.as_bytes());
            prop_assert!(matches!(element, Element::Int(v) if v == value));
            prop_assert_eq!(element, Element::Bytes(text.as_bytes()));
            prop_assert_eq!(element.len(), text.len());
            prop_assert_eq!(element.to_vec(), text.as_bytes());
        }

        #[test]
        fn parsing_keeps_the_text(text in "[-+0-9]{0,21}") {
            prop_assert_eq!(Element::parse(text.as_bytes()).to_vec(), text.as_bytes());
        }
    }
}
